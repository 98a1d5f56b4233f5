"""A run is scored on another labelled folder in the table of out-of-fold metrics."""

import re

import pandas as pd
import pytest
from sklearn.metrics import f1_score

from rsna.bundle.make import make_bundle
from rsna.config.verbs import BundleMakeOptions, ValidateOptions
from rsna.dataset.table import TableError
from rsna.evaluation.breasts import to_breasts
from rsna.inference.validate import validate
from rsna.runs.trained_model import load_trained
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
    options = ValidateOptions(str(root), run=str(prepared / "run"), resamples=100, workers=1, out=str(out))
    predicted = validate(options)
    printed = capsys.readouterr().out
    assert "pF1 raw" in printed
    assert "AUROC" in printed
    assert "failed: 1CC: " in printed
    assert "1 images failed and are left out" in printed
    assert "8 of these patients were trained on" in printed  # the tiny sets share their numbers
    assert len(predicted) == 15
    assert predicted["probability"].between(0, 1).all()
    pd.testing.assert_series_equal(pd.read_csv(out)["probability"], predicted["probability"])


def test_validating_the_trained_fold_gives_its_out_of_fold_predictions(prepared):
    oof = pd.read_parquet(prepared / "run" / "fold0" / "oof.parquet").set_index("image_id")["probability"]
    options = ValidateOptions(str(prepared / "set"), run=str(prepared / "run"), resamples=100, workers=1)
    found = validate(options).set_index("image_id")["probability"]
    pd.testing.assert_series_equal(found[oof.index], oof, check_dtype=False, rtol=1e-4)


def test_a_bundle_is_scored_like_the_run_it_was_made_of(prepared, tmp_path, capsys):
    root = str(write_set(tmp_path / "other", patients=6, positives=3, seed=6))
    bundle = make_bundle(
        BundleMakeOptions(str(prepared / "run"), str(tmp_path / "bundle"), precision="fp32", host="none")
    )
    options = ValidateOptions(root, run=str(bundle), resamples=100, workers=1)
    found = validate(options)
    table = capsys.readouterr().out.partition("breasts\n")[2]
    assert "pF1 raw" in table
    expected = validate(ValidateOptions(root, run=str(prepared / "run"), resamples=100, workers=1))
    pd.testing.assert_frame_equal(found, expected)
    assert table in capsys.readouterr().out


def test_the_calls_of_the_shipped_threshold_are_scored(prepared, tmp_path, capsys):
    root = str(write_set(tmp_path / "other", patients=6, positives=3, seed=6))
    predicted = validate(ValidateOptions(root, run=str(prepared / "run"), resamples=100, workers=1))
    trained = load_trained(prepared / "run")
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
        validate(ValidateOptions(str(root), run=str(prepared / "run"), resamples=100, workers=1))
