"""A run is scored on another labelled folder in the table of out-of-fold metrics."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from rsna.bundle.make import make_bundle
from rsna.config.external import ValidateOptions
from rsna.config.verbs import BundleMakeOptions
from rsna.dataset.table import TableError
from rsna.evaluation.breasts import to_breasts
from rsna.inference.validate import _lost_breasts, validate
from rsna.runs.trained_ensemble import load_ensemble
from rsna.runs.weights import read_weights
from tests.board.runs import put_weights
from tests.training.tiny import tiny_config, train_here, write_set


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with the tiny set and fold 0 of a run trained once."""
    folder = tmp_path_factory.mktemp("tiny")
    write_set(folder / "set")
    train_here(tiny_config(folder))
    return folder


def test_another_labelled_folder_is_scored(prepared, tmp_path, capsys):
    root = write_set(tmp_path / "other", patients=8, positives=3, seed=5)
    (root / "train_images" / "1" / "1CC.png").write_bytes(b"no picture")
    out = tmp_path / "predictions.csv"
    options = ValidateOptions((str(root),), run=str(prepared / "run"), resamples=100, workers=1, out=str(out))
    predicted = validate(options)
    printed = capsys.readouterr().out
    assert "pF1 raw" in printed
    assert "AUROC" in printed
    assert "failed: 1CC: " in printed
    assert "1 images failed and are left out" in printed
    # The tiny sets share their numbers, and the run has the first of two folds.
    folds = pd.read_csv(prepared / "run" / "folds.csv").drop_duplicates("patient_id").set_index("patient_id")["fold"]
    not_seen = int(folds[range(8)].eq(0).sum())
    assert f"{not_seen} of these patients stand in the run's folds, too: each is predicted by the fold alone" in printed
    assert f"{8 - not_seen} of these patients were trained on: for them these metrics are no test" in printed
    assert len(predicted) == 15
    assert predicted["probability"].between(0, 1).all()
    pd.testing.assert_series_equal(pd.read_csv(out)["probability"], predicted["probability"])


def test_what_a_member_cannot_predict_is_predicted_by_the_others_and_said(prepared, tmp_path, capsys):
    root = str(write_set(tmp_path / "other", patients=8, positives=3, seed=5))
    broken = shutil.copytree(prepared / "run", tmp_path / "broken")
    state = read_weights(broken / "fold0" / "model.safetensors")
    state["classifier.bias"].fill_(float("nan"))
    put_weights(broken, 0, state)
    alone, both = (
        validate(ValidateOptions((root,), run=run, resamples=100, workers=1))
        for run in (str(prepared / "run"), (str(prepared / "run"), str(broken)))
    )
    printed = capsys.readouterr().out
    assert "16 images failed in some members, and are predicted by the others alone" in printed
    assert "left out of the metrics" not in printed
    pd.testing.assert_series_equal(alone["probability"], both["probability"])


def test_validating_the_trained_fold_gives_its_out_of_fold_predictions(prepared):
    oof = pd.read_parquet(prepared / "run" / "fold0" / "oof.parquet").set_index("image_id")["probability"]
    options = ValidateOptions((str(prepared / "set"),), run=str(prepared / "run"), resamples=100, workers=1)
    found = validate(options).set_index("image_id")["probability"]
    pd.testing.assert_series_equal(found[oof.index], oof, check_dtype=False, rtol=1e-4)


def test_each_patient_of_the_runs_own_set_is_predicted_by_her_own_fold(prepared, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(prepared / "run", run)
    train_here(tiny_config(prepared, run=str(run), fold="all"))
    pooled = pd.read_parquet(run / "cv" / "oof.parquet").set_index("image_id")["probability"]
    options = ValidateOptions((str(prepared / "set"),), run=str(run), resamples=100, workers=1)
    found = validate(options).set_index("image_id")["probability"]
    assert "were trained on" not in capsys.readouterr().out
    pd.testing.assert_series_equal(found[pooled.index], pooled, check_dtype=False, rtol=1e-4)


def test_a_bundle_is_scored_like_the_run_it_was_made_of(prepared, tmp_path, capsys):
    root = str(write_set(tmp_path / "other", patients=6, positives=3, seed=6))
    bundle = make_bundle(
        BundleMakeOptions(str(prepared / "run"), str(tmp_path / "bundle"), precision="fp32", host="none")
    )
    options = ValidateOptions((root,), run=str(bundle), resamples=100, workers=1)
    found = validate(options)
    table = capsys.readouterr().out.partition("breasts\n")[2]
    assert "pF1 raw" in table
    expected = validate(ValidateOptions((root,), run=str(prepared / "run"), resamples=100, workers=1))
    pd.testing.assert_frame_equal(found, expected)
    assert table in capsys.readouterr().out


def test_the_calls_of_the_shipped_threshold_are_scored(prepared, tmp_path, capsys):
    root = str(write_set(tmp_path / "other", patients=6, positives=3, seed=6))
    predicted = validate(ValidateOptions((root,), run=str(prepared / "run"), resamples=100, workers=1))
    trained = load_ensemble(prepared / "run")
    breasts = to_breasts(predicted, trained.aggregate)
    calls = breasts["probability"] >= trained.threshold
    line = (
        f"pF1 at the run's threshold {trained.threshold:.4f}: "
        rf"{f1_score(breasts['cancer'], calls):.4f} \(95% interval [\d.]+ to [\d.]+\), "
        f"share recalled {calls.mean():.2%}\n$"
    )
    assert re.search(line, capsys.readouterr().out)


@pytest.mark.parametrize(("positives", "unlabelled", "said"), [(0, 0, "0 are positive"), (2, 3, "3 of 12 images have")])
def test_labels_that_give_no_figures_are_refused_before_anything_is_predicted(
    prepared, tmp_path, positives, unlabelled, said
):
    root = write_set(tmp_path / "other", patients=6, positives=positives, seed=6)
    table = pd.read_csv(root / "train.csv", dtype=str)
    table.loc[table.index[12 - unlabelled :], "cancer"] = None
    table.to_csv(root / "train.csv", index=False)
    with pytest.raises(TableError, match=said):
        validate(ValidateOptions((str(root),), run=str(prepared / "run"), resamples=100, workers=1))


def test_breasts_without_an_image_left_are_said_with_their_cancers():
    images = pd.DataFrame({"prediction_id": ["1_L", "1_L", "2_L", "3_R"], "cancer": [0, 0, 1, 0]})
    said = [_lost_breasts(images, np.array(read)) for read in ([True, False, True, True], [True, True, False, False])]
    assert said == ["", ", and with them 2 breasts, 1 with cancer"]
