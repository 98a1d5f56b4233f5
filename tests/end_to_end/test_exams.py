"""Patients of several exams, each with its labels, through everything: table, folds, training, inference, metrics."""

import pandas as pd
import pytest

from rsna.cli.main import main
from rsna.dataset.examples import examples_of
from rsna.dataset.source import load_table
from rsna.runs.run import open_run
from tests.training.tiny import tiny_config, train_here, write_set

PATIENTS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``set``, of 12 patients with exams of 2018 and 2022, the first of which show a cancer in 8; and ``run``."""
    folder = tmp_path_factory.mktemp("exams")
    root = write_set(folder / "set", 2 * PATIENTS, 8)
    table = pd.read_csv(root / "train.csv")
    number = table["patient_id"]
    table["path"] = "train_images/" + number.astype(str) + "/" + table["image_id"] + ".png"
    table["patient_id"] = number % PATIENTS
    table["exam_id"] = (number // PATIENTS).map({0: "1.2.2018", 1: "1.2.2022"})
    table["exam_date"] = table["exam_id"].str[-4:] + "-03-05"
    table.to_csv(root / "train.csv", index=False)
    (root / "test_images").mkdir()
    table.drop(columns=["cancer", "biopsy"]).to_csv(root / "test.csv", index=False)
    train_here(tiny_config(folder, fold="all", trainer__epochs=1))
    return folder


@pytest.fixture(scope="module")
def oof(folder):
    return pd.read_parquet(folder / "run" / "cv" / "oof.parquet")


def test_each_exam_has_a_breast_and_a_label_of_its_own(folder):
    table = load_table(folder / "set")
    breasts = examples_of("breast", table.frame)
    assert len(breasts) == 2 * PATIENTS
    assert breasts.positive.sum() == 8
    assert breasts.ids[:1] == ("0_1.2.2018_L",)
    assert breasts.table["views"].tolist() == [2] * 2 * PATIENTS


def test_a_patients_exams_are_in_one_fold_and_scored_each_by_itself(folder, oof):
    assert oof.groupby("patient_id")["fold"].nunique().eq(1).all()
    assert oof["prediction_id"].nunique() == 2 * PATIENTS
    assert oof.groupby("prediction_id")["exam_id"].nunique().eq(1).all()
    assert oof.groupby("patient_id")["cancer"].nunique().eq(2).sum() == 8


def test_the_run_is_evaluated_breast_by_breast(folder):
    breasts = open_run(folder / "run").evaluate().breasts
    assert (len(breasts), breasts["cancer"].sum(), breasts["patient_id"].nunique()) == (2 * PATIENTS, 8, PATIENTS)
    assert breasts["views"].tolist() == [2] * 2 * PATIENTS


def test_inference_gives_each_exam_a_row(folder, oof, tmp_path):
    out = tmp_path / "submission.csv"
    assert (
        main(["infer", f"run={folder / 'run'}", f"input={folder / 'set'}", f"out={out}", "folds=[0]", "workers=1"]) == 0
    )
    breasts = pd.read_csv(tmp_path / "submission_breasts.csv").set_index("prediction_id")
    assert sorted(breasts.index) == sorted(oof["prediction_id"].unique())
    expected = oof[oof["fold"] == 0].groupby("prediction_id")["probability"].mean()
    assert (breasts["probability"][expected.index] - expected).abs().max() < 1e-4
