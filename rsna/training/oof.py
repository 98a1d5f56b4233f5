"""Out-of-fold predictions: every example by the fold whose training set lacks its patient."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors.torch import load_file

from rsna.config.schema import Config
from rsna.dataset.examples import Examples
from rsna.dataset.targets import Target
from rsna.evaluation.breasts import ATTRIBUTES
from rsna.inference.networks import TorchNetworks, stack_examples
from rsna.inference.pass_plan import PassPlan
from rsna.model.heads import output_count, probabilities
from rsna.model.network import build_model
from rsna.prepare.cache import Cache
from rsna.prepare.image import Prepared
from rsna.runs.schema import WEIGHTS
from rsna.training.data.module import FoldData
from rsna.training.hardware import choose_accelerator

_KEPT = (
    "image_id", "patient_id", "prediction_id", "laterality", "view", "views", *ATTRIBUTES,
    "cancer", "biopsy", "invasive",
)  # fmt: skip


def predict_fold(config: Config, fold: int, folder: Path, data: FoldData) -> pd.DataFrame:
    """Predicts the validation examples of a fold once each.

    In one process, whatever number of devices trained: no sampler pads here, so nothing is predicted twice.

    Returns:
        A row an example: ids, labels, fold, probability (of cancer, where it is a target), and one column
        ``p_<target>`` a target, or ``p_<target>_<class>`` a class where there are more than two. Breasts have
        ``views``, the number of their images, in place of image_id and view.
    """
    settings = replace(config.model, pretrained=False, weights="", gradient_checkpointing=False)
    network = build_model(settings, output_count(data.targets))
    network.load_state_dict(load_file(folder / WEIGHTS))
    device = torch.device(choose_accelerator(config.trainer))
    networks = TorchNetworks([network], device, config.trainer.precision)
    plan = PassPlan(1, config.evaluation.flip_tta)
    logits = predict_cached(networks, data.cache, data.validation, config.batch_size_per_device * 2, plan).mean(axis=0)
    return with_probabilities(data.validation.table, logits, data.targets).assign(fold=fold)


def predict_cached(
    networks: TorchNetworks, cache: Cache, examples: Examples, batch_size: int, plan: PassPlan
) -> npt.NDArray[np.float32]:
    """(passes, n, outputs) float32 logits of examples; reading overlaps with the network."""
    image_ids = examples.images["image_id"].tolist()
    predicted = []
    with ThreadPoolExecutor(4) as readers:

        def read_batch(start: int) -> list[list[Future[Prepared]]]:
            batch = examples.rows[start : start + batch_size]
            return [[readers.submit(cache.read, image_ids[row]) for row in rows.tolist()] for rows in batch]

        pending = read_batch(0)
        for start in range(0, len(examples), batch_size):
            images, example = stack_examples([[future.result() for future in futures] for futures in pending])
            pending = read_batch(start + batch_size)  # while the network works
            predicted.append(networks.logits(images, plan, example))
    return np.concatenate(predicted, axis=1)


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
