"""A site's own line mends its probabilities, is known for what it is, and changes nothing else."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rsna.bundle.make import make_bundle
from rsna.cli.main import main
from rsna.config.external import CalibrateOptions
from rsna.config.verbs import BundleMakeOptions
from rsna.dataset.table import TableError
from rsna.evaluation.breasts import to_breasts
from rsna.evaluation.calibration import Platt, fit_platt, nested_platt
from rsna.external.calibrate import calibrate_site
from rsna.inference.predictor import Predictor
from rsna.runs.errors import RunError
from rsna.runs.run import open_run
from rsna.runs.site_calibration import read_calibration, with_calibration
from rsna.runs.trained_ensemble import load_ensemble
from tests.training.tiny import tiny_config, train_here, write_set


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, and a site where cancers are rarer."""
    folder = tmp_path_factory.mktemp("calibrate")
    write_set(folder / "set", patients=48, positives=20)
    train_here(tiny_config(folder, fold="all"))
    write_set(folder / "site", patients=80, positives=12, seed=5)
    return folder


@pytest.fixture(scope="module")
def line(place):
    options = CalibrateOptions(
        str(place / "site"), run=str(place / "run"), out=str(place / "site.json"), resamples=200, workers=1
    )
    return calibrate_site(options)


def test_the_line_is_scored_on_patients_that_it_was_not_fitted_on(line):
    scores = line.record.scores
    assert [*scores] == ["as_predicted", "home", "site"]
    assert scores["site"].observed_expected == pytest.approx(1, abs=0.15)
    assert abs(np.log(scores["site"].observed_expected)) < abs(np.log(scores["home"].observed_expected))
    assert scores["home"].log_loss - scores["site"].log_loss == pytest.approx(line.gain.value)
    assert (line.record.breasts, line.record.positives) == (80, 12)
    shown = line.table()
    assert "by this site's line, on other patients" in shown
    assert f"threshold {line.record.threshold:.4f} stays" in shown


def test_patients_of_home_are_predicted_by_the_fold_that_had_not_seen_them(place, capsys):
    options = CalibrateOptions(
        str(place / "set"), run=str(place / "run"), out=str(place / "home.json"), resamples=200, workers=1
    )
    scores = calibrate_site(options).record.scores
    assert "is predicted by the fold alone that was not trained on it" in capsys.readouterr().out
    out_of_fold = open_run(place / "run").oof()
    p = to_breasts(out_of_fold, "mean")
    expected = -np.log(np.where(p["cancer"] == 1, p["probability"], 1 - p["probability"])).mean()
    assert scores["as_predicted"].log_loss == pytest.approx(expected, rel=1e-4)


def test_nothing_of_a_row_is_in_its_own_line():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(200), 2)
    cancer = (rng.random(400) < 0.3).astype(int)
    p = rng.random(400)  # knows nothing
    nested = nested_platt(cancer, p, patients)
    assert nested_platt(np.where(patients == 7, 1 - cancer, cancer), p, patients)[patients == 7] == pytest.approx(
        nested[patients == 7], rel=1e-2
    )
    own = fit_platt(cancer, p).apply(p)
    loss = [-np.log(np.where(cancer == 1, one, 1 - one)).mean() for one in (own, nested)]
    assert loss[0] < loss[1]


def test_a_model_takes_its_own_line_and_no_others(line, place, tmp_path):
    file = str(place / "site.json")
    trained = load_ensemble(place / "run")
    with_line = with_calibration(trained, file)
    assert with_line.calibration == Platt(line.record.site.slope, line.record.site.intercept)
    assert (with_line.threshold, with_line.members) == (trained.threshold, trained.members)
    assert with_calibration(trained, "") is trained
    own = trained.calibration
    elsewhere = replace(trained, calibration=Platt(np.nextafter(own.slope, 9), np.nextafter(own.intercept, 9)))
    assert with_calibration(elsewhere, file) == with_line
    with pytest.raises(RunError, match="was fitted for run, whose threshold is"):
        with_calibration(load_ensemble(place / "run", (0,)), file)
    values = json.loads((place / "site.json").read_text())
    values["site"]["slope"] *= 2
    (tmp_path / "changed.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match="is not what was written"):
        read_calibration(tmp_path / "changed.json")


@pytest.fixture(scope="module")
def tested(place):
    """The site as a test set."""
    (place / "site" / "test.csv").write_text((place / "site" / "train.csv").read_text())
    (place / "site" / "test_images").symlink_to(place / "site" / "train_images")


@pytest.mark.usefixtures("tested")
def test_infer_writes_calibrated_probabilities_and_decides_as_before(line, place, tmp_path, capsys):
    arguments = ["infer", f"run={place / 'run'}", f"input={place / 'site'}", "workers=1"]
    assert main([*arguments, f"out={tmp_path / 'a.csv'}"]) == 0
    with_line = [*arguments, f"calibration={place / 'site.json'}"]
    assert main([*with_line, f"out={tmp_path / 'b.csv'}"]) == 0
    assert "calibration: fitted on 80 breasts of site (12 positive)" in capsys.readouterr().out
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    assert main([*with_line, f"out={tmp_path / 'c.csv'}", "submit=probability"]) == 0
    breasts = pd.read_csv(tmp_path / "c_breasts.csv")
    record = line.record.site
    expected = Platt(record.slope, record.intercept).apply(breasts["probability"])
    assert breasts["calibrated"].to_numpy() == pytest.approx(expected)
    assert pd.read_csv(tmp_path / "c.csv")["cancer"].to_numpy() == pytest.approx(expected)


@pytest.mark.usefixtures("tested")
def test_a_bundle_is_made_with_the_line_says_so_and_writes_it(line, place, tmp_path, capsys):
    file = str(place / "site.json")
    bundle = make_bundle(BundleMakeOptions(str(place / "run"), str(tmp_path / "b"), host="none", calibration=file))
    with_line = Platt(line.record.site.slope, line.record.site.intercept)
    assert load_ensemble(bundle).calibration == with_line
    assert "by a line fitted on 80 breasts of site" in (bundle / "README.md").read_text()
    out = tmp_path / "c.csv"
    infer = ["infer", f"run={bundle}", f"input={place / 'site'}", f"out={out}", "workers=1", "submit=probability"]
    assert main(infer) == 0
    assert "calibrated probabilities stand in the submission" in capsys.readouterr().out
    breasts = pd.read_csv(tmp_path / "c_breasts.csv")
    assert breasts["calibrated"].to_numpy() == pytest.approx(with_line.apply(breasts["probability"]))
    assert pd.read_csv(out)["cancer"].to_numpy() == pytest.approx(breasts["calibrated"])
    plain = make_bundle(BundleMakeOptions(str(place / "run"), str(tmp_path / "p"), host="none"))
    with Predictor(plain, calibration=file, workers=1, images=0) as predictor:
        found = predictor.predict(place / "site" / "train_images" / "3" / "3CC.png")
    assert any(note.startswith("calibration: fitted on 80 breasts") for note in found.notes)


def test_too_few_labelled_exams_are_refused(place, tmp_path):
    write_set(tmp_path / "few", patients=30, positives=4)
    options = CalibrateOptions(str(tmp_path / "few"), run=str(place / "run"), out=str(tmp_path / "x.json"), workers=1)
    with pytest.raises(TableError, match="4 of 30 breasts are positive; a line needs 10"):
        calibrate_site(options)
