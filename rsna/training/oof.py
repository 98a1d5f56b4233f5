"""Out-of-fold predictions: every image by the fold whose training set lacks its patient."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors.torch import load_file

from rsna.config.schema import Config
from rsna.dataset.targets import Target
from rsna.evaluation.breasts import ATTRIBUTES
from rsna.inference.pass_plan import PassPlan
from rsna.inference.torch_networks import TorchNetworks
from rsna.model.heads import output_count, probabilities
from rsna.model.network import build_model
from rsna.prepare.cache import Cache
from rsna.runs.schema import WEIGHTS
from rsna.training.data.fold import FoldData
from rsna.training.hardware import choose_accelerator

_KEPT = ("image_id", "patient_id", "prediction_id", "laterality", "view", *ATTRIBUTES, "cancer", "biopsy", "invasive")


def predict_fold(config: Config, fold: int, folder: Path, data: FoldData) -> pd.DataFrame:
    """Predicts the validation images of a fold once each.

    In one process, whatever number of devices trained: no sampler pads here, so nothing is predicted twice.

    Returns:
        A row an image: ids, labels, fold, probability (of cancer, where it is a target), and one column
        ``p_<target>`` a target, or ``p_<target>_<class>`` a class where there are more than two.
    """
    settings = replace(config.model, pretrained=False, weights="", gradient_checkpointing=False)
    network = build_model(settings, output_count(data.targets))
    network.load_state_dict(load_file(folder / WEIGHTS))
    device = torch.device(choose_accelerator(config.trainer))
    networks = TorchNetworks([network], device, config.trainer.precision)
    image_ids = data.validation["image_id"].tolist()
    plan = PassPlan(1, config.evaluation.flip_tta)
    logits = predict_cached(networks, data.cache, image_ids, config.batch_size_per_device * 2, plan).mean(axis=0)
    return with_probabilities(data.validation, logits, data.targets).assign(fold=fold)


def predict_cached(
    networks: TorchNetworks, cache: Cache, image_ids: list[str], batch_size: int, plan: PassPlan
) -> npt.NDArray[np.float32]:
    """(passes, N, outputs) float32 logits of prepared images; reading overlaps with the network."""
    starts = range(0, len(image_ids), batch_size)
    predicted = []
    with ThreadPoolExecutor(4) as readers:

        def batch(start: int) -> list[Any]:
            return [readers.submit(cache.read, image_id) for image_id in image_ids[start : start + batch_size]]

        pending = batch(0)
        for start in starts:
            images = np.stack([future.result() for future in pending])
            pending = batch(start + batch_size)
            predicted.append(networks.logits(images, plan))
    return np.concatenate(predicted, axis=1)


def with_probabilities(
    frame: pd.DataFrame, logits: npt.NDArray[np.float32], targets: tuple[Target, ...]
) -> pd.DataFrame:
    """Adds the columns that :func:`predict_fold` describes to the rows that were predicted."""
    result = frame[[column for column in _KEPT if column in frame.columns]].copy()
    for target, p in zip(targets, probabilities(logits, targets).values(), strict=True):
        if p.ndim == 1:
            result[f"p_{target.name}"] = p
        else:
            for i, name in enumerate(target.classes):
                result[f"p_{target.name}_{name}"] = p[:, i]
    if "p_cancer" in result:
        result["probability"] = result["p_cancer"]
    return result
