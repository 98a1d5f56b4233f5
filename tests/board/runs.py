"""Run folders as training leaves them, written in a second: predictions are drawn, networks have random weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rsna.config.schema import Config
from rsna.config.settings import from_mapping
from rsna.dataset.folds import folds_hash
from rsna.dataset.table import ImageTable
from rsna.dataset.targets import get_targets
from rsna.evaluation.evaluate import evaluate
from rsna.files import sha256
from rsna.model.network import build_model
from rsna.prepare.hashing import preprocessing_hash
from rsna.runs.record_file import checksum
from rsna.runs.run_directory import bind_run, fold_folder, write_results
from rsna.runs.schema import CV, METRICS, WEIGHTS, Commit, RunRecord
from rsna.runs.weights import write_weights

BACKBONE = "test_efficientnet"
"""timm's smallest."""
SIZE = (64, 32)


def drawn(patients: int = 120, seed: int = 0, signal: float = 2.0, n_folds: int = 2) -> pd.DataFrame:
    """Out-of-fold predictions of made-up patients: four images each, every fifth left breast positive."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(patients), 4)
    side = np.tile(np.array(["L", "L", "R", "R"]), patients)
    cancer = ((number % 5 == 0) & (side == "L")).astype(int)
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(number.size)],
            "patient_id": [f"p{n}" for n in number],
            "prediction_id": [f"p{n}_{s}" for n, s in zip(number, side, strict=True)],
            "laterality": side,
            "view": np.tile(np.array(["CC", "MLO"]), 2 * patients),
            "age": 40.0 + number % 40,
            "site_id": 1 + number % 2,
            "cancer": cancer,
            "probability": 1 / (1 + np.exp(-rng.normal(signal * cancer - 1.5, 1.0))),
            "fold": number % n_folds,
        }
    )


def write_run(
    folder: Path,
    oof: pd.DataFrame,
    *,
    trained: tuple[int, ...] = (0, 1),
    dataset: str = "d" * 12,
    networks: bool = False,
    split: pd.DataFrame | None = None,
    **config,
) -> Path:
    """A run folder in the files that training writes; its split is that of the predictions, or of another table."""
    settings = from_mapping(
        Config,
        {
            "name": folder.name,
            "data": {"root": "nowhere", "name": "demo", "sampling": "enriched"},
            "preprocess": {"size": list(SIZE)},
            "model": {"backbone": BACKBONE, "pretrained": False},
            "folds": {"n_folds": 2},
            **config,
        },
    )
    folds = (oof if split is None else split)[["patient_id", "image_id", "fold"]]
    return bind_and_write(folder, settings, folds, oof, trained, dataset, networks)


def bind_and_write(
    folder, settings, folds, oof, trained, dataset="d" * 12, networks=True, network=None, inputs=()
) -> Path:
    """Binds a run of these settings and writes the results of the trained folds, as the flow of training does."""
    n_folds = settings.folds.n_folds
    hashes = {
        "preprocessing": preprocessing_hash(settings.preprocess), "folds": folds_hash(folds), "dataset": dataset,
    }  # fmt: skip
    table = ImageTable(settings.data_name, Path("nowhere"), oof, settings.data.sampling)
    record = RunRecord.of(settings, table, hashes, get_targets(settings.targets), inputs, n_folds)
    record = record.model_copy(update={"commit": Commit(hash="0123456789ab", dirty=True)})
    bind_run(folder, settings, folds, record)
    scored = "cancer" in settings.targets
    shared = {"checkpoint": settings.checkpoint, "data": settings.data_name, "hashes": hashes}
    for fold in trained:
        part = oof[oof["fold"] == fold]
        metrics = {
            **(_metrics(part) if scored else {}),
            **shared,
            "hardware": "2 × T4",
            "seconds": 1800.0,
            "fold": fold,
        }
        if networks:
            write_weights((network or random_network)(settings, fold).state_dict(), fold_folder(folder, fold) / WEIGHTS)
        write_results(fold_folder(folder, fold), part, metrics)
    if len(trained) == n_folds:
        write_results(folder / CV, oof, {**(_metrics(oof) if scored else {}), **shared})
    return folder


def put_weights(run: Path, fold: int, state: dict) -> None:
    """Puts other weights into a fold, and records them as training would have."""
    folder = fold_folder(run, fold)
    write_weights(state, folder / WEIGHTS)
    rewrite(folder / METRICS, weights=sha256(folder / WEIGHTS))


def rewrite(file: Path, **values) -> None:
    """Changes values of a record as the version that wrote it would have."""
    known = json.loads(file.read_text(encoding="utf-8"))
    known.pop("checksum")
    known |= values
    file.write_text(json.dumps(known | {"checksum": checksum(known)}), encoding="utf-8")


def random_network(settings: Config, seed: int):
    """Untrained, with a classifier that is not zero, as it starts."""
    torch.manual_seed(seed)
    network = build_model(replace(settings.model, pretrained=False, weights=""), 1)
    torch.nn.init.normal_(network.classifier.weight)
    return network


def _metrics(oof: pd.DataFrame) -> dict:
    if not oof["cancer"].any():
        return {}
    return {"breasts": evaluate(oof, "mean", sampling="enriched", resamples=100).to_dict()}
