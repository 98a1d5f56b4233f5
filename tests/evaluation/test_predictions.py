import numpy as np
import pandas as pd
import pytest

from rsna.evaluation.checks import PredictionError
from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.predictions import read_predictions
from tests.evaluation.simulate import simulate_images

LABELS = ["patient_id", "image_id", "laterality", "cancer", "site_id", "age"]


@pytest.fixture
def images():
    frame = simulate_images(patients=30)
    return frame.assign(laterality=frame["prediction_id"].str[-1], site_id=1, age=50.0)


@pytest.fixture
def labels(images, tmp_path):
    path = tmp_path / "train.csv"
    images[LABELS].to_csv(path, index=False)
    return path


def write(frame, path):
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet"])
def test_image_predictions_join_the_competitions_table(images, labels, tmp_path, name):
    path = write(images[["image_id", "probability"]].sample(frac=1, random_state=0), tmp_path / name)
    read = read_predictions(path, labels)
    assert {"site_id", "age", "laterality"} <= set(read)
    found, expected = (evaluate(frame.drop(columns="fold", errors="ignore"), resamples=0) for frame in (read, images))
    assert found.pooled.pf1_raw == pytest.approx(expected.pooled.pf1_raw)
    assert found.nested == pytest.approx(expected.nested)


def test_numeric_ids_in_parquet_meet_text_ids_in_csv(images, labels, tmp_path):
    for kind in (np.int64, np.float64):
        frame = images[["image_id", "probability"]].astype({"image_id": kind})
        read = read_predictions(write(frame, tmp_path / "p.parquet"), labels)
        assert sorted(read["image_id"]) == sorted(images["image_id"])


def test_breast_predictions_in_the_form_of_a_submission(images, labels, tmp_path):
    breasts = images.groupby("prediction_id")["probability"].mean().rename("cancer").reset_index()
    read = read_predictions(write(breasts, tmp_path / "submission.csv"), labels)
    found, expected = evaluate(read, resamples=0), evaluate(images.drop(columns="fold"), resamples=0)
    assert found.pooled.pf1_raw == pytest.approx(expected.pooled.pf1_raw)
    assert found.breasts["views"].tolist() == expected.breasts["views"].tolist()
    assert found.breasts["age"].tolist() == expected.breasts["age"].tolist()


def test_labels_by_breast_are_enough_for_breasts(images, tmp_path):
    breasts = images.groupby("prediction_id").agg(probability=("probability", "max"), cancer=("cancer", "first"))
    predictions = write(breasts[["probability"]].reset_index(), tmp_path / "p.csv")
    labels = write(breasts[["cancer"]].reset_index(), tmp_path / "l.csv")
    read = read_predictions(predictions, labels)
    assert set(read["patient_id"]) == set(images["patient_id"])
    assert evaluate(read, resamples=0).pooled.positives == breasts["cancer"].sum()


def test_a_runs_own_table_needs_no_labels(images, tmp_path):
    read = read_predictions(write(images, tmp_path / "oof.parquet"))
    assert evaluate(read, resamples=0).nested == evaluate(images, resamples=0).nested


def test_folds_of_the_predictions_come_before_those_of_the_labels(images, tmp_path):
    labels = write(images[[*LABELS, "fold"]].assign(fold=0), tmp_path / "train.csv")
    with_folds = write(images[["image_id", "probability", "fold"]], tmp_path / "p.csv")
    assert set(read_predictions(with_folds, labels)["fold"]) == {0, 1, 2, 3}
    without = write(images[["image_id", "probability"]], tmp_path / "q.csv")
    assert set(read_predictions(without, labels)["fold"]) == {0}


def test_leading_zeros_make_another_id(images, tmp_path):
    frame = images.assign(image_id="0" + images["image_id"])
    labels = write(images[LABELS], tmp_path / "train.csv")
    with pytest.raises(PredictionError, match="120 of 120"):
        read_predictions(write(frame[["image_id", "probability"]], tmp_path / "p.csv"), labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.assign(image_id=["x", "y", *f["image_id"][2:]]),
            r"2 of 120 \(x, y\) image_id are not in .*train.csv",
        ),
        (lambda f: f.iloc[3:], r"3 of 120 \(1000000, 1000001, 1000002\) image_id of .*train.csv have no prediction"),
        (lambda f: pd.concat([f, f.iloc[:2]]), r"2 \(1000000, 1000001\) image_id come more than once"),
        (lambda f: f.assign(image_id=[None, *f["image_id"][1:]]), "1 of 120 rows have no image_id"),
        (lambda f: f.assign(probability=["high", *f["probability"][1:]]), r"1 of 120 \(1000000\) rows have a prob"),
        (lambda f: f.rename(columns={"probability": "score"}), "no column `probability`"),
        (lambda f: f.rename(columns={"image_id": "id"}), "neither image_id nor prediction_id"),
        (lambda f: f.iloc[:0], "no rows"),
    ],
)
def test_what_does_not_match_is_counted_and_named(images, labels, tmp_path, change, message):
    path = write(change(images[["image_id", "probability"]]), tmp_path / "p.csv")
    with pytest.raises(PredictionError, match=message):
        read_predictions(path, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="cancer"), "no column `cancer`"),
        (lambda f: f.drop(columns="laterality"), r"rows need \['laterality'\]"),
        (lambda f: f.drop(columns="image_id"), "no column image_id"),
        (lambda f: pd.concat([f, f.iloc[:1]]), "come more than once"),
        (lambda f: f.assign(laterality=[None, *f["laterality"][1:]]), r"1 of 120 \(1000000\) rows have no patient_id"),
    ],
)
def test_labels_that_cannot_be_joined_are_refused(images, tmp_path, change, message):
    predictions = write(images[["image_id", "probability"]], tmp_path / "p.csv")
    with pytest.raises(PredictionError, match=message):
        read_predictions(predictions, write(change(images[LABELS]), tmp_path / "l.csv"))


def test_two_labels_for_one_breast_are_refused(images, tmp_path):
    breasts = images.groupby("prediction_id")["probability"].mean().reset_index()
    wrong = images[LABELS].assign(cancer=[1 - images["cancer"].iloc[0], *images["cancer"].iloc[1:]])
    predictions, labels = write(breasts, tmp_path / "p.csv"), write(wrong, tmp_path / "l.csv")
    with pytest.raises(PredictionError, match=r"1 of 60 \(10000_L\) prediction_id have more than one cancer"):
        read_predictions(predictions, labels)


def test_predictions_alone_must_bring_labels_and_patients(images, tmp_path):
    bare = write(images[["prediction_id", "probability"]].drop_duplicates("prediction_id"), tmp_path / "p.csv")
    with pytest.raises(PredictionError, match="no column `cancer` with the labels"):
        read_predictions(bare)
    odd = pd.DataFrame({"prediction_id": ["1_L", "2-R"], "probability": [0.1, 0.2], "cancer": [0, 1]})
    with pytest.raises(PredictionError, match=r"1 of 2 \(2-R\) rows have a prediction_id unlike"):
        read_predictions(write(odd, tmp_path / "q.csv"))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(PredictionError, match=r"absent.csv: no such file"):
        read_predictions(tmp_path / "absent.csv")
    (tmp_path / "p.txt").write_text("image_id,probability\n")
    with pytest.raises(PredictionError, match="neither .csv"):
        read_predictions(tmp_path / "p.txt")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(PredictionError, match="broken.parquet: cannot be read"):
        read_predictions(tmp_path / "broken.parquet")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(PredictionError, match="empty.csv: cannot be read"):
        read_predictions(tmp_path / "empty.csv")
