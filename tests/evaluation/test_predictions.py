from contextlib import nullcontext

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


def test_folds_may_stand_in_either_file_and_must_agree_where_in_both(images, tmp_path):
    labels = write(images[[*LABELS, "fold"]], tmp_path / "train.csv")
    without = write(images[["image_id", "probability"]], tmp_path / "q.csv")
    assert set(read_predictions(without, labels)["fold"]) == {0, 1, 2, 3}
    renumbered = write(images[["image_id", "probability"]].assign(fold=images["fold"] + 1), tmp_path / "p.csv")
    assert set(read_predictions(renumbered, labels)["fold"]) == {1, 2, 3, 4}
    moved = images.assign(fold=images["fold"].mask(images["patient_id"] == "10003", 0))
    other = write(moved[["image_id", "probability", "fold"]], tmp_path / "o.csv")
    with pytest.raises(PredictionError, match=r"10003 is in fold 3 of .*train.csv, in fold 0 of .*o.csv"):
        read_predictions(other, labels)


@pytest.mark.parametrize("style", ["fold{}", "f{}", "Fold {}", "FOLD_{}"])
def test_numbered_names_of_folds_are_their_numbers(images, labels, tmp_path, style):
    named = write(images[["image_id", "probability"]].assign(fold=images["fold"].map(style.format)), tmp_path / "p.csv")
    read = read_predictions(named, labels)
    assert read["fold"].tolist() == images["fold"].tolist()
    assert f"fold {style.format(0)}, {style.format(1)}" in read.attrs["scored"]


def test_names_of_folds_that_disagree_are_shown_as_they_are(images, tmp_path):
    labels = write(images[LABELS].assign(fold=images["fold"].map("abcd".__getitem__)), tmp_path / "train.csv")
    moved = images["fold"].mask(images["patient_id"] == "10003", 0).map("abcd".__getitem__)
    with pytest.raises(PredictionError, match=r"10003 is in fold d of .*train.csv, in fold a of .*p.csv"):
        read_predictions(write(images[["image_id", "probability"]].assign(fold=moved), tmp_path / "p.csv"), labels)


SHIFTED = {
    "prediction_id": lambda f: np.roll(f["prediction_id"], 2),
    "patient_id": lambda f: np.roll(f["patient_id"], 4),
    "laterality": lambda f: f["laterality"].map({"L": "right", "R": "left"}),
    "exam_id": lambda f: np.roll(f["exam_id"], 4),
    "cancer": lambda f: np.roll(f["cancer"], 2),
}


@pytest.mark.parametrize(
    ("key", "column"), [(key, column) for key in ("image_id", "prediction_id") for column in SHIFTED if column != key]
)
def test_what_both_files_say_of_a_row_must_agree(images, tmp_path, key, column):
    whole = images.assign(exam_id="e" + images["patient_id"])
    labels = write(whole.drop(columns=["probability", "fold"]), tmp_path / "train.csv")
    keyed = whole if key == "image_id" else whole.drop(columns="image_id").drop_duplicates(key)
    rows = keyed[[*dict.fromkeys([key, column]), "probability"]]
    shifted = write(rows.assign(**{column: SHIFTED[column](keyed)}), tmp_path / "p.csv")
    message = (
        rf"p.csv: \d+ of \d+ \(.*\) {key} have another {column} than in .*train.csv: \d\S* has \S+, there \S+\. Mend"
    )
    with pytest.raises(PredictionError, match=message):
        read_predictions(shifted, labels)
    partly = write(rows.assign(**{column: rows[column].where(rows.index > rows.index[4])}), tmp_path / "q.csv")
    assert len(read_predictions(partly, labels)) == len(rows)


def test_a_prediction_id_is_held_against_patient_and_side_too(images, labels, tmp_path):
    frame = images[["image_id", "probability"]].assign(prediction_id=np.roll(images["prediction_id"], 2))
    with pytest.raises(PredictionError, match="120 of 120 .* have another prediction_id than"):
        read_predictions(write(frame, tmp_path / "p.csv"), labels)


def test_sides_spelt_otherwise_and_probabilities_called_cancer_contradict_nothing(images, labels, tmp_path):
    sides = images["laterality"].map({"L": "left", "R": " r"})
    frame = images[["image_id", "probability"]].assign(laterality=sides, cancer=images["probability"])
    assert len(read_predictions(write(frame, tmp_path / "p.csv"), labels)) == len(images)


@pytest.mark.parametrize("name", ["target", "pred", "probability"])
def test_two_columns_of_labels_are_not_told_apart(images, labels, tmp_path, name):
    decided = (images["probability"] > 0.4).astype(int)
    frame = images[["image_id", "patient_id", "laterality", "cancer"]].assign(**{name: decided})
    path = write(frame, tmp_path / "p.csv")
    with pytest.raises(PredictionError, match=f"cancer and {name} are 0 and 1 alone, .* column={name} .* labels=FILE"):
        read_predictions(path)
    assert read_predictions(path, column=name)["probability"].tolist() == decided.tolist()
    assert read_predictions(path, labels, column=name)["cancer"].tolist() == images["cancer"].tolist()


def test_a_patient_in_two_folds_is_shown_with_both(images, tmp_path):
    moved = images.assign(fold=images["fold"].mask(images.index == 0, 2))
    with pytest.raises(PredictionError, match=r"prediction_id have more than one fold: 10000_L has 2 and 0"):
        evaluate(read_predictions(write(moved, tmp_path / "p.csv")))


@pytest.mark.parametrize("name", ["prob", "pred", "score", "Prediction", "probability", "target", "cancer_prob",
                                  "P_Cancer", "predictedProbability", "Cancer Score", "cancer"])  # fmt: skip
def test_the_column_is_known_by_its_name_and_said(images, labels, tmp_path, name):
    path = write(images[["image_id", "probability"]].rename(columns={"probability": name}), tmp_path / "p.csv")
    read = read_predictions(path, labels)
    assert read["probability"].tolist() == pytest.approx(images["probability"].tolist())
    assert f"scored: column {name} of {path};" in evaluate(read, resamples=0).table()


@pytest.mark.parametrize("name", ["prob", "target"])
@pytest.mark.parametrize("beside", [True, False])
def test_beside_a_probability_cancer_is_the_label(images, labels, tmp_path, name, beside):
    frame = images[["image_id", "patient_id", "laterality", "cancer"]].assign(**{name: images["probability"]})
    path = write(frame, tmp_path / "p.csv")
    if name == "target" and beside:  # either may be meant
        with pytest.raises(PredictionError, match=r"cancer and target may each be the probability; name one with col"):
            read_predictions(path, labels)
        read = read_predictions(path, labels, column=name)
    else:
        read = read_predictions(path, labels if beside else None)
    assert read["probability"].tolist() == pytest.approx(images["probability"].tolist())


def test_a_runs_own_column_comes_before_those_of_its_targets(images, tmp_path):
    path = write(images.assign(p_cancer=0.5, p_view=0.5), tmp_path / "oof.parquet")
    assert read_predictions(path)["probability"].tolist() == images["probability"].tolist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["prob", "score"], r"prob and score may each be the probability; name one with column="),
        (["b3", "b5"], r"no column is a probability by its name .*name it with column=…. It has image_id, b3, b5"),
        (["prob_0", "prob_1"], "no column is a probability by its name"),
        (["pred_label", "p_density"], "no column is a probability by its name"),
        (["age", "fold"], "no column is a probability by its name"),
    ],
)
def test_where_several_columns_or_none_may_be_meant_they_are_listed(images, labels, tmp_path, columns, message):
    frame = images[["image_id"]].assign(**dict.fromkeys(columns, images["probability"]))
    path = write(frame, tmp_path / "p.csv")
    with pytest.raises(PredictionError, match=message):
        read_predictions(path, labels)
    read = read_predictions(path, labels, column=columns[1])
    assert read.attrs["scored"] == f"column {columns[1]} of {path}"


def test_a_column_that_is_not_there_or_holds_the_labels_is_refused(images, labels, tmp_path):
    path = write(images, tmp_path / "p.csv")
    with pytest.raises(PredictionError, match=r"column=prob: there is no such column; it has image_id, "):
        read_predictions(path, labels, column="prob")
    with pytest.raises(PredictionError, match=r"column=cancer: holds the labels"):
        read_predictions(path, column="cancer")


@pytest.mark.parametrize(
    "copy_of", [lambda y: y, lambda y: y.astype(bool), lambda y: 1 - y, lambda y: 0.01 + 0.98 * y, lambda y: 5 * y - 2]
)
@pytest.mark.parametrize("by_breast", [False, True])
def test_a_copy_of_the_labels_is_refused_with_the_way_out(images, labels, tmp_path, copy_of, by_breast):
    frame = images.drop_duplicates("prediction_id") if by_breast else images
    key = "prediction_id" if by_breast else "image_id"
    copied = copy_of(frame["cancer"])
    path = write(frame[[key]].assign(cancer=copied, b3=frame["probability"]), tmp_path / "p.csv")
    message = rf"column cancer is a copy of the labels: .*Name the column of probabilities with column=…; .*{key}.*, b3"
    with pytest.raises(PredictionError, match=message):
        read_predictions(path, labels)
    turned = copied.isin([0, 1]).all() and copied.ne(frame["cancer"]).any()  # beside b3 these are other labels
    with pytest.raises(PredictionError, match="another cancer than") if turned else nullcontext():
        read_predictions(path, labels, column="b3")


def test_what_the_reader_had_to_interpret_is_said_with_the_column(images, labels, tmp_path):
    path = tmp_path / "p.csv"
    frame = images[["image_id", "probability"]].rename(columns={"probability": "Prob"})
    frame.to_csv(path, index=False, sep=";", decimal=",", encoding="utf-16")
    table = evaluate(read_predictions(path, labels), resamples=0).table()
    assert f"scored: column Prob of {path} ({path}: is UTF-16; separated by semicolons; the comma in Prob" in table


def test_two_values_among_few_rows_are_no_copy(tmp_path):
    few = pd.DataFrame({"prediction_id": ["1_L", "2_R", "3_R"], "probability": [0.9, 0.1, 0.1], "cancer": [1, 0, 0]})
    assert len(read_predictions(write(few, tmp_path / "p.csv"))) == 3


@pytest.mark.parametrize("spelling", [str, str.lower, {"L": " left", "R": "Right "}.get])
def test_patient_and_side_stand_for_the_breast(images, labels, tmp_path, spelling):
    breasts = images.drop_duplicates("prediction_id")[["patient_id", "laterality", "probability"]]
    path = write(breasts.assign(laterality=breasts["laterality"].map(spelling)), tmp_path / "p.csv")
    read = read_predictions(path, labels)
    assert set(read["prediction_id"]) == set(images["prediction_id"])
    with pytest.raises(PredictionError, match="keep one row a breast, or say in image_id which image"):
        read_predictions(write(images[["patient_id", "laterality", "probability"]], tmp_path / "i.csv"), labels)


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
        (lambda f: f.rename(columns={"probability": "b3"}), "no column is a probability by its name"),
        (lambda f: f.rename(columns={"image_id": "id"}), "says neither image_id nor prediction_id, nor patient_id and"),
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
    with pytest.raises(PredictionError, match=r"absent.csv: there is no such file"):
        read_predictions(tmp_path / "absent.csv")
    (tmp_path / "p.txt").write_text("image_id,probability\n")
    with pytest.raises(PredictionError, match="p.txt: has no rows"):
        read_predictions(tmp_path / "p.txt")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(PredictionError, match="broken.parquet: is no whole Parquet file"):
        read_predictions(tmp_path / "broken.parquet")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(PredictionError, match="empty.csv: is empty"):
        read_predictions(tmp_path / "empty.csv")


@pytest.fixture
def exams(images):
    """The same images, of patients two by two: each has two exams."""
    number = images["patient_id"].astype(int)
    patient, exam = (number // 2).astype(str), number.mod(2).map({0: "2018", 1: "2022"})
    names = patient + "_" + exam + "_" + images["laterality"]
    return images.drop(columns="fold").assign(patient_id=patient, exam_id=exam, prediction_id=names)


@pytest.mark.parametrize("column", ["exam_id", "exam_number", "exam_date"])
@pytest.mark.parametrize("key", ["image_id", "prediction_id"])
@pytest.mark.parametrize("of_labels", [True, False])
def test_exams_are_told_apart_whichever_file_and_column_says_so(exams, tmp_path, column, key, of_labels):
    named = exams.rename(columns={"exam_id": column})
    labels = named.drop(columns=["probability"] if of_labels else ["probability", column])
    given = named.groupby(key)[["probability", *([] if of_labels else [column])]].first().reset_index()
    read = read_predictions(write(given, tmp_path / "p.csv"), write(labels, tmp_path / "l.csv"))
    found = evaluate(read, unit="exam", resamples=0)
    assert found.pooled.breasts == exams.groupby(["patient_id", "exam_id"]).ngroups > exams["patient_id"].nunique()


@pytest.mark.parametrize("key", ["image_id", "prediction_id"])
def test_a_breast_is_of_one_exam(exams, tmp_path, key):
    labels = write(exams.drop(columns=["prediction_id", "probability"]), tmp_path / "l.csv")
    predictions = exams.groupby(key)["probability"].mean().reset_index()
    found = evaluate(read_predictions(write(predictions, tmp_path / "p.csv"), labels), resamples=0)
    assert sorted(found.breasts["prediction_id"]) == sorted(exams["prediction_id"].unique())
    assert sorted(found.breasts["patient_id"].unique()) == sorted(exams["patient_id"].unique())


def test_a_prediction_id_that_mixes_exams_and_rows_without_one_are_refused(exams, tmp_path):
    mixed = exams.assign(prediction_id=exams["patient_id"] + "_" + exams["laterality"], cancer=0)
    labels = write(mixed.drop(columns=["probability"]), tmp_path / "l.csv")
    predictions = mixed.groupby("prediction_id")["probability"].mean().reset_index()
    with pytest.raises(PredictionError, match="prediction_id have more than one exam"):
        read_predictions(write(predictions, tmp_path / "p.csv"), labels)
    with pytest.raises(PredictionError, match="prediction_id have more than one exam"):
        evaluate(mixed.assign(cancer=exams["cancer"]), resamples=0)
    half = exams.drop(columns="prediction_id").assign(exam_id=exams["exam_id"].replace("2022", ""))
    with pytest.raises(PredictionError, match="no exam_id, where other rows of their patients have one"):
        read_predictions(write(half, tmp_path / "half.csv"))
