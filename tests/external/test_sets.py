"""One run on several labelled sets: a table over all and home, as files that can be opened."""

import json
import re
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from rsna.bundle.make import make_bundle
from rsna.cli.main import main
from rsna.config.external import ValidateOptions
from rsna.config.verbs import BundleMakeOptions
from rsna.evaluation.breasts import to_breasts
from rsna.evaluation.metrics import score
from rsna.external.sets import validate_sets
from rsna.runs.run import open_run
from rsna.runs.trained_ensemble import load_ensemble
from tests.training.tiny import tiny_config, train_here, write_set


def renamed(root, front, **columns):
    """Other people: patients and images are called after the set; files stay."""
    table = pd.read_csv(root / "train.csv", dtype=str)
    table["path"] = "train_images/" + table["patient_id"] + "/" + table["image_id"] + ".png"
    table["patient_id"] = front + table["patient_id"]
    table.assign(**columns).to_csv(root / "train.csv", index=False)
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run of two folds, and two sets of other people."""
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder / "set", patients=48, positives=16)
    train_here(tiny_config(folder, fold="all"))
    renamed(write_set(folder / "near", patients=60, positives=24, seed=5), "n")
    renamed(write_set(folder / "far", patients=40, positives=14, seed=6), "f", cancer_from="birads45")
    return folder


@pytest.fixture(scope="module")
def table(place):
    options = ValidateOptions(
        (str(place / "near"), str(place / "far")), run=str(place / "run"), resamples=200, workers=1,
        report=str(place / "report"), out=str(place / "predictions.csv"),
    )  # fmt: skip
    return validate_sets(options)


def test_the_table_has_home_and_every_set_with_its_parts(table, place):
    rows = table.frame()
    assert rows["set"].unique().tolist() == ["tiny (home, out of fold)", "near", "far"]
    assert rows.loc[rows["set"] == "near", "part"].tolist() == ["", "site 1", "site 2", "view CC", "view MLO"]
    whole = rows[rows["part"].eq("")].set_index("set")
    assert whole["n"].tolist() == [48, 60, 40]
    assert whole["positives"].tolist() == [16, 24, 14]
    # Of 7 positives each, the sites of the last have nothing to say.
    assert rows.loc[rows["set"] == "far", "part"].tolist() == ["", "view CC", "view MLO"]
    assert pd.isna(whole["drop"].iloc[0])
    assert whole["pairing"].tolist() == ["", "independent", "independent"]
    home, near = whole["auroc"].iloc[0], whole["auroc"].iloc[1]
    assert whole["drop"].iloc[1] == pytest.approx(home - near)
    assert whole["drop_low"].iloc[1] < whole["drop"].iloc[1] < whole["drop_high"].iloc[1]
    assert home == pytest.approx(open_run(place / "run").metric("auroc"))


def test_figures_are_those_of_the_predictions_at_the_runs_own_threshold(table, place):
    trained = load_ensemble(place / "run")
    written = pd.read_csv(place / "predictions.csv")
    breasts = to_breasts(written[written["set"] == "near"], "mean")
    row = table.frame().query("set == 'near' and part == ''").iloc[0]
    called = breasts["probability"] >= trained.threshold
    assert row["auroc"] == pytest.approx(score("auroc", breasts["cancer"], breasts["probability"]))
    assert row["recalled"] == pytest.approx(called.mean())
    assert row["sensitivity"] == pytest.approx(called[breasts["cancer"] == 1].mean())
    promised = trained.calibration.apply(breasts["probability"]).sum()
    assert row["observed_expected"] == pytest.approx(breasts["cancer"].sum() / promised)
    # By view a breast is made of the images of that view alone.
    cc = written.query("set == 'near' and view == 'CC'")
    row = table.frame().query("set == 'near' and part == 'view CC'").iloc[0]
    assert row["auroc"] == pytest.approx(score("auroc", cc["cancer"], cc["probability"]))


def test_files_can_be_opened(table, place):
    folder = place / "report"
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "sets.csv", keep_default_na=False, na_values=[""])["auroc"].to_frame(),
        table.frame()[["auroc"]],
    )
    written = json.loads((folder / "sets.json").read_text())
    assert written["threshold"] == load_ensemble(place / "run").threshold
    assert [row["set"] for row in written["rows"]] == table.frame()["set"].tolist()
    picture = ET.fromstring((folder / "sets.svg").read_text())
    shown = "".join(picture.itertext())
    assert "near (60, 24+)" in shown
    assert "· view MLO" in shown
    said = table.table()
    assert "cancer in far: birads45 (a proxy: no diagnosis)" in said
    assert "cancer in near: as labelled" in said


def test_the_same_patients_are_predicted_out_of_fold_and_paired(place):
    options = ValidateOptions(
        (str(place / "set"),), run=str(place / "run"), resamples=100, workers=1, report=str(place / "same")
    )
    rows = validate_sets(options).frame()
    whole = rows[rows["part"].eq("")]
    assert whole["pairing"].tolist() == ["", "paired"]
    assert whole["auroc"].iloc[1] == pytest.approx(whole["auroc"].iloc[0], abs=1e-6)
    assert whole["drop_high"].iloc[1] - whole["drop_low"].iloc[1] < 1e-3


def test_a_bundle_has_its_metrics_alone_for_home(place, tmp_path, capsys):
    bundle = make_bundle(BundleMakeOptions(str(place / "run"), str(tmp_path / "bundle"), host="none"))
    inputs = f"[{place / 'near'},{place / 'far'}]"
    assert main(["validate", f"run={bundle}", f"input={inputs}", "resamples=100", f"report={tmp_path / 'r'}"]) == 0
    assert "and no predictions" in capsys.readouterr().out
    rows = pd.read_csv(tmp_path / "r" / "sets.csv")
    assert rows["set"].unique().tolist() == ["near", "far"]
    near = rows.query("set == 'near' and part.isna()").iloc[0]
    assert near["drop_low"] < near["drop"] < near["drop_high"]


@pytest.fixture(scope="module")
def women(place):
    """30 exams of 15 women, two breasts each; 12 of the exams have cancer."""
    root = write_set(place / "women", patients=60, positives=24, seed=5)
    table = pd.read_csv(root / "train.csv", dtype=str)
    number = table["patient_id"].astype(int)
    table["path"] = "train_images/" + table["patient_id"] + "/" + table["image_id"] + ".png"
    table["laterality"] = np.where(number % 2, "R", "L")
    table["exam_id"] = np.where(number // 2 % 2, "later", "first")
    table["machine_id"] = number // 20
    table.assign(patient_id="w" + (number // 4).astype(str)).to_csv(root / "train.csv", index=False)
    return root


def test_exams_are_scored_by_their_breasts(place, women, tmp_path, capsys):
    asked = ["validate", f"run={place / 'run'}", f"input={women}", "unit=exam", "resamples=100", "workers=1"]
    assert main([*asked, f"report={tmp_path}", f"out={tmp_path / 'predictions.csv'}"]) == 0
    said = capsys.readouterr().out
    assert "an exam is the maximum of its breasts: recalled where one of them is" in said
    images = pd.read_csv(tmp_path / "predictions.csv")
    trained = load_ensemble(place / "run")
    breasts = images.groupby(["patient_id", "exam_id", "prediction_id"])[["probability", "cancer"]].mean()
    breasts["without"] = 1 - trained.calibration.apply(breasts["probability"])
    exams = breasts.groupby(level=[0, 1])
    highest, cancer = exams["probability"].max(), exams["cancer"].max()
    rows = pd.read_csv(tmp_path / "sets.csv", keep_default_na=False, na_values=[""]).fillna({"part": ""})
    assert rows["unit"].unique().tolist() == ["exam"]
    row = rows.query("set == 'women' and part == ''").iloc[0]
    assert (row["n"], row["positives"], row["patients"]) == (30, 12, 15)
    assert row["auroc"] == pytest.approx(score("auroc", cancer, highest))
    assert row["recalled"] == pytest.approx((highest >= trained.threshold).mean())
    promised = (1 - exams["without"].prod()).sum()
    assert row["observed_expected"] == pytest.approx(cancer.sum() / promised)
    # One of a woman's left breasts alone: of home, exams are breasts.
    assert rows["auroc"].iloc[0] == pytest.approx(open_run(place / "run").metric("auroc"))
    assert "In brackets: exams" in "".join(ET.fromstring((tmp_path / "sets.svg").read_text()).itertext())
    assert main([*asked]) == 0
    assert f"AUROC  {row['auroc']:.4f}" in re.sub(" +", "  ", capsys.readouterr().out)


def test_several_runs_know_the_exams_that_they_join(place, women, tmp_path):
    runs = str(place / "run"), str(shutil.copytree(place / "run", tmp_path / "twin"))
    one, both = (
        validate_sets(
            ValidateOptions(
                (str(women),), run=run, resamples=100, workers=1, unit="exam", report=str(tmp_path / "report")
            )
        )
        .frame()
        .query("not part.str.startswith('view')")  # of home, members are joined breast by breast
        .reset_index(drop=True)
        for run in (runs[:1], runs)
    )
    columns = ["set", "part", "n", "positives", "auroc", "recalled", "observed_expected"]
    pd.testing.assert_frame_equal(both[columns], one[columns], rtol=1e-4)


def test_of_exams_at_home_a_bundle_knows_nothing(place, women, tmp_path, capsys):
    bundle = make_bundle(BundleMakeOptions(str(place / "run"), str(tmp_path / "bundle"), host="none"))
    asked = ["validate", f"run={bundle}", f"input={women}", "unit=exam", "resamples=100", f"report={tmp_path / 'r'}"]
    assert main(asked) == 0
    assert "it keeps metrics of breasts and no predictions, so nothing of exams at home" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "r" / "sets.csv")["drop"].isna().all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["input=[a,b,./a]"], "input: ./a is there twice"),
        (["input=[]"], "input: name a folder"),
        (["input=[a,b]", "cancer_from=[auto]"], "cancer_from: 1 for 2 folders"),
    ],
)
def test_wrong_lists_are_refused(arguments, said, capsys):
    assert main(["validate", "run=nowhere", *arguments]) == 2
    assert said in capsys.readouterr().err
