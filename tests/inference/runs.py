"""Run folders with random weights, and folders to predict, for the tests of this room."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rsna.config.schema import Config
from rsna.config.settings import from_mapping
from rsna.dataset.examples import ExampleSpec
from rsna.dataset.table_inputs import TableInput
from rsna.model.network import build_model
from tests.board.runs import bind_and_write
from tests.prepare import phantoms
from tests.prepare.files import write_dicom

SIZE = (64, 32)


def write_run(
    folder: Path,
    n_folds: int = 2,
    trained: tuple[int, ...] = (0, 1),
    inputs: tuple[TableInput, ...] = (),
    **config,
) -> Path:
    """A run folder of tiny networks with random weights, in the files that training writes."""
    settings = from_mapping(
        Config,
        {
            "name": "tiny",
            "data": {"root": "data/tiny", "name": "tiny", "sampling": "enriched"},
            "preprocess": {"size": list(SIZE)},
            "model": {"backbone": "efficientnet_b0", "pretrained": False},
            "folds": {"n_folds": n_folds},
            "table_inputs": [one.name for one in inputs],
            **config,
        },
    )
    oof = _out_of_fold(n_folds)
    folds = oof[["patient_id", "image_id", "fold"]]
    network = partial(_random_network, inputs=inputs)
    return bind_and_write(folder, settings, folds, oof, trained, network=network, inputs=inputs)


def write_exams(root: Path, patients: int = 2, **elements) -> pd.DataFrame:
    """A test set in the competition's layout: both breasts of each patient in two views; returns test.csv."""
    rows = []
    for patient in range(patients):
        for number, (side, view) in enumerate([("L", "CC"), ("R", "MLO"), ("L", "MLO"), ("R", "CC")]):
            image_id = f"{patient + 1}{number}"
            image, _ = phantoms.breast(
                160, 120, side="left" if side == "L" else "right", muscle=view == "MLO", seed=10 * patient + number
            )
            syntax = ("jpeg2000", "native", "jpeg_lossless")[number % 3]
            tags = {"PatientID": f"p{patient}", "StudyInstanceUID": f"1.2.{patient}", "ImageLaterality": side}
            tags |= {"ViewPosition": view} | elements
            write_dicom(root / "test_images" / f"p{patient}" / f"{image_id}.dcm", image, syntax, **tags)
            rows.append((f"p{patient}", image_id, side, view, f"p{patient}_{side}"))
    table = pd.DataFrame(rows, columns=["patient_id", "image_id", "laterality", "view", "prediction_id"])
    table.to_csv(root / "test.csv", index=False)
    return table


def _random_network(settings: Config, seed: int, inputs: tuple[TableInput, ...]):
    """Untrained, but with logits that differ from breast to breast, and with all that they are told."""
    torch.manual_seed(seed)
    network = build_model(settings.model, 1, ExampleSpec(settings.unit, settings.fusion, settings.compare, inputs))
    breasts = [phantoms.breast(*SIZE, side=("left", "right")[k % 2], muscle=k % 4 > 1, seed=k)[0] for k in range(32)]
    images = torch.from_numpy(np.stack(breasts).astype(np.float32))[:, None]
    torch.nn.init.normal_(network.classifier.weight)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # the statistics of these very images
        network.train()(images)
        network.eval()
        logits = network(images)[:, 0]
        network.classifier.weight /= logits.abs().max()
        network.classifier.bias += 0.5 - seed
    for part, spread in ((network.fusion, 0.2), (network.table_embedding, 0.2), (network.comparison, 0.01)):
        for parameter in part.parameters() if part else ():
            torch.nn.init.normal_(parameter, std=spread)
    if inputs:
        network.classifier.weight.data /= 8  # what is told moves logits by more than batches of other sizes do
    return network


def _out_of_fold(n_folds: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40 * n_folds), 4)
    side = np.tile(np.array(["L", "L", "R", "R"]), 40 * n_folds)
    sick = (patients % 5 == 0) & (side == "L")
    return pd.DataFrame(
        {
            "image_id": [f"train{i}" for i in range(patients.size)],
            "patient_id": [f"t{p}" for p in patients],
            "prediction_id": [f"t{p}_{s}" for p, s in zip(patients, side, strict=True)],
            "laterality": side,
            "view": "CC",
            "cancer": sick.astype(int),
            "probability": 1 / (1 + np.exp(-rng.normal(2.0 * sick - 1.0, 1.0))),
            "fold": patients % n_folds,
        }
    )
