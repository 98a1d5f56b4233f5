"""The whole chain on a small sample: DICOM → folds → training → out-of-fold metrics → submission → ranking."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from rsna.demo import DemoSettings, write_demo

ROOT = Path(__file__).parents[2]
SMALL = [
    "data=rsna", "data.root=set", "data.name=set", "data.sampling=enriched", "folds.n_folds=2",
    "preprocess.size=[64,32]", "model.backbone=efficientnet_b0", "model.pretrained=false", "trainer.epochs=1",
    "evaluation.resamples=100", "run=runs/small",
]  # fmt: skip


def run(folder: Path, *command: str, code: int = 0) -> str:
    """Runs a command as a user types it and returns what it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("RSNA_DATA", None)
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("chain")
    write_demo(folder / "set", DemoSettings(n_train=16, n_test=3, prevalence=0.3))
    return folder, run(folder, str(ROOT / "train.py"), *SMALL, "fold=all")


def test_every_image_is_predicted_out_of_fold_exactly_once(trained):
    folder, _ = trained
    table = pd.read_csv(folder / "set" / "train.csv", dtype={"image_id": str})
    oof = pd.read_parquet(folder / "runs" / "small" / "cv" / "oof.parquet")
    assert sorted(oof["image_id"]) == sorted(table["image_id"])
    folds = pd.read_csv(folder / "runs" / "small" / "folds.csv", dtype={"image_id": str}).set_index("image_id")["fold"]
    assert (oof["image_id"].map(folds) == oof["fold"]).all()
    assert oof["probability"].between(0, 1).all()


def test_the_run_folder_holds_the_truth(trained):
    folder, said = trained
    small = folder / "runs" / "small"
    metrics = json.loads((small / "cv" / "metrics.json").read_text())
    assert {"pf1_raw", "pf1_nested", "pf1_optimistic", "auroc", "auprc"} <= metrics["breasts"]["pooled"].keys()
    assert set(metrics["hashes"]) == {"preprocessing", "folds", "dataset"}
    for fold in (0, 1):
        assert (small / f"fold{fold}" / "model.safetensors").is_file()
        assert len(pd.read_csv(small / f"fold{fold}" / "history.csv")) == 1
    assert "pooled" in said
    assert (folder / "runs" / "mlflow.db").is_file()


def test_a_second_start_keeps_everything(trained):
    folder, _ = trained
    weights = folder / "runs" / "small" / "fold1" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    said = run(folder, str(ROOT / "train.py"), *SMALL, "fold=all")
    assert said.count("finished before, kept") == 2
    assert "(0 now in" in said
    assert weights.stat().st_mtime_ns == before


def test_another_configuration_is_refused_with_the_difference(trained):
    folder, _ = trained
    said = run(folder, str(ROOT / "train.py"), *SMALL, "optim.lr=1e-2", "seed=3", code=1)
    assert "optim.lr: 0.0003 → 0.01" in said
    assert "seed: 0 → 3" in said


def test_inference_names_exactly_the_rows_of_test_csv(trained):
    folder, _ = trained
    said = run(folder, str(ROOT / "infer.py"), "run=runs/small", "input=set", "out=out/submission.csv")
    asked = pd.read_csv(folder / "set" / "test.csv")["prediction_id"].drop_duplicates().tolist()
    submission = pd.read_csv(folder / "out" / "submission.csv")
    assert list(submission.columns) == ["prediction_id", "cancer"]
    assert submission["prediction_id"].tolist() == asked
    assert submission["cancer"].isin([0, 1]).all()
    assert "of these breasts are at or above it" in said


def test_prepared_pixels_are_the_same_in_training_and_inference(trained):
    """An image of the training set, predicted through inference by its own fold, has its out-of-fold probability."""
    folder, _ = trained
    oof = pd.read_parquet(folder / "runs" / "small" / "fold0" / "oof.parquet").set_index("image_id")["probability"]
    run(folder, str(ROOT / "infer.py"), "run=runs/small", "input=set/train_images", "folds=[0]", "out=own/own.csv")
    images = pd.read_csv(folder / "own" / "own_images.csv", dtype={"image_id": str}).set_index("image_id")
    assert (images["probability"].reindex(oof.index) - oof).abs().max() < 1e-5


def test_the_other_verbs_read_the_run(trained):
    folder, _ = trained
    rsna = ("-m", "rsna.cli")
    assert "pooled" in run(folder, *rsna, "evaluate", "run=runs/small", "resamples=100", "slices=true")
    ranking = run(folder, *rsna, "leaderboard")
    assert "runs/small" in ranking
    assert "2/2" in ranking
