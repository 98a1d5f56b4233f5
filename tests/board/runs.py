"""Run folders as training leaves them, written in a second: predictions are drawn, networks have random weights."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from rsna.config.schema import Config
from rsna.config.settings import from_mapping
from rsna.dataset.folds import write_folds
from rsna.evaluation.evaluate import evaluate
from rsna.files import write_json
from rsna.model.network import build_model
from rsna.prepare.image import preprocessing_hash
from rsna.runs.run_directory import CONFIG, FOLDS, RUN, write_config

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
    folds: str = "f" * 12,
    networks: bool = False,
    **config,
) -> Path:
    """A run folder in the files that training writes."""
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
    hashes = {"preprocessing": preprocessing_hash(settings.preprocess), "folds": folds, "dataset": dataset}
    record = {
        "name": settings.name,
        "data": {"name": "demo", "sampling": "enriched", "images": len(oof)},
        "hashes": hashes,
        "targets": ["cancer"],
        "n_folds": 2,
        "created": "2026-01-01T00:00:00+00:00",
        "commit": {"hash": "0123456789ab", "dirty": True},
        "versions": {},
    }
    folder.mkdir(parents=True)
    write_folds(oof[["patient_id", "image_id", "fold"]], folder / FOLDS)
    write_json(folder / RUN, record)
    for fold in trained:
        (folder / f"fold{fold}").mkdir()
        part = oof[oof["fold"] == fold]
        part.to_parquet(folder / f"fold{fold}" / "oof.parquet")
        about = {**_metrics(part), "hardware": "2 × T4", "seconds": 1800.0, "fold": fold}
        write_json(folder / f"fold{fold}" / "metrics.json", about)
        if networks:
            save_file(random_network(settings, fold).state_dict(), folder / f"fold{fold}" / "model.safetensors")
    if len(trained) == 2:
        (folder / "cv").mkdir()
        oof.to_parquet(folder / "cv" / "oof.parquet")
        write_json(folder / "cv" / "metrics.json", {**_metrics(oof), "hashes": hashes})
    write_config(settings, folder / CONFIG)
    return folder


def random_network(settings: Config, seed: int):
    """Untrained, with a classifier that is not zero, as it starts."""
    torch.manual_seed(seed)
    network = build_model(settings.model, 1)
    torch.nn.init.normal_(network.classifier.weight)
    return network


def _metrics(oof: pd.DataFrame) -> dict:
    if not oof["cancer"].any():
        return {}
    return {"breasts": evaluate(oof, "mean", sampling="enriched", resamples=100).to_dict()}
