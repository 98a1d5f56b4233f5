"""Out-of-fold predictions: every example by the fold whose training set lacks its patient."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from rsna.config.schema import Config
from rsna.dataset.exams import EXAM
from rsna.dataset.targets import Target
from rsna.evaluation.breasts import ATTRIBUTES
from rsna.inference.batch import ImageFacts, stack_batch
from rsna.inference.devices import choose_precision
from rsna.inference.networks import TorchNetworks
from rsna.inference.pass_plan import PassPlan
from rsna.model.heads import output_count, probabilities
from rsna.model.network import build_model, listening
from rsna.parallel.progress import Progress
from rsna.prepare.image import Prepared
from rsna.runs.schema import WEIGHTS
from rsna.runs.weights import read_weights
from rsna.training.data.module import FoldData
from rsna.training.hardware import choose_accelerator

_KEPT = (
    "image_id", "patient_id", "prediction_id", *EXAM, "laterality", "view", "views", *ATTRIBUTES,
    "cancer", "biopsy", "invasive",
)  # fmt: skip


def predict_fold(config: Config, fold: int, folder: Path, data: FoldData) -> pd.DataFrame:
    """Predicts the validation examples of a fold once each.

    In one process, whatever number of devices trained: no sampler pads here, so nothing is predicted twice.

    Returns:
        A row an example: ids, labels, fold, probability (of cancer, where it is a target), and one column
        ``p_<target>`` a target, or ``p_<target>_<class>`` a class where there are more than two. Breasts have
        ``views``, the number of their images, in place of image_id and view, and lists ``image_ids``, ``image_views``
        and ``image_weights``: which image weighs how much in the breast.
    """
    settings = replace(config.model, pretrained=False, weights="", gradient_checkpointing=False)
    network = build_model(settings, output_count(data.targets), data.spec)
    network.load_state_dict(read_weights(folder / WEIGHTS))
    device = torch.device(choose_accelerator(config.trainer))
    networks = TorchNetworks([network], device, choose_precision(device, config.trainer.precision))
    plan = PassPlan(1, config.evaluation.flip_tta)
    with listening(network) as heard:
        logits, weights = predict_cached(networks, data, config.batch_size_per_device * 2, plan, heard)
    found = with_probabilities(data.validation.table, logits.mean(axis=0), data.targets)
    if data.spec.unit == "breast":
        for column, name in (("image_id", "image_ids"), ("view", "image_views")):
            values = data.validation.images[column].to_numpy()
            found[name] = [values[rows].tolist() for rows in data.validation.rows]
        found["image_weights"] = [own.tolist() for own in weights]
    return found.assign(fold=fold)


def predict_cached(
    networks: TorchNetworks, data: FoldData, batch_size: int, plan: PassPlan, heard: Sequence[Tensor] = ()
) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
    """Predicts the validation examples of a fold; reading overlaps with the network.

    Args:
        networks: On one device.
        data: The fold.
        batch_size: Examples at once.
        plan: How many passes.
        heard: Where weights of images are heard, see :func:`rsna.model.network.listening`.

    Returns:
        (passes, n, outputs) float32 logits; of every example the weights of its images, mean over the passes, where
        they were heard.
    """
    examples = data.validation
    image_ids = examples.images["image_id"].tolist()
    facts = ImageFacts.of(data.spec, examples) or []
    predicted, weights = [], list[npt.NDArray[np.float32]]()
    with Progress("predict", len(examples), f"{examples.unit}s") as progress, ThreadPoolExecutor(4) as readers:

        def read_batch(start: int) -> list[list[Future[Prepared]]]:
            batch, _ = examples.with_others(slice(start, start + batch_size))
            return [[readers.submit(data.prepared.read, image_ids[row]) for row in rows.tolist()] for rows in batch]

        pending = read_batch(0)
        for start in range(0, len(examples), batch_size):
            part = slice(start, start + batch_size)
            batch = stack_batch([[future.result() for future in futures] for futures in pending], facts[part])
            pending = read_batch(start + batch_size)  # while the network works
            predicted.append(networks.logits(batch, plan))
            progress.step(len(batch))
            if heard:
                mean = torch.stack(list(heard[-plan.passes :])).mean(dim=0).cpu().numpy()  # (N,)
                ends = np.cumsum([len(own) for own in examples.rows[part]])
                weights += np.split(mean[~batch.others], ends[:-1])
    return np.concatenate(predicted, axis=1), weights


def with_probabilities(
    table: pd.DataFrame, logits: npt.NDArray[np.float32], targets: tuple[Target, ...]
) -> pd.DataFrame:
    """The columns that :func:`predict_fold` describes, of examples that were predicted: (n, outputs) logits."""
    result = table[[column for column in _KEPT if column in table.columns]].copy()
    for target, p in zip(targets, probabilities(logits, targets).values(), strict=True):
        if p.ndim == 1:
            result[f"p_{target.name}"] = p
        else:
            for i, name in enumerate(target.classes):
                result[f"p_{target.name}_{name}"] = p[:, i]
    if "p_cancer" in result:
        result["probability"] = result["p_cancer"]
    return result
