"""Anybody's predictions and labels, as CSV or Parquet → the frame that `evaluate` takes."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from rsna.dataset.exams import EXAM, exams_of, name_breasts
from rsna.evaluation.breasts import ATTRIBUTES, must_agree, same_folds
from rsna.evaluation.checks import PredictionError, copies_labels, offenders, shown
from rsna.evaluation.columns import choose_column
from rsna.table_file import TableError, read_table

Key = Literal["image_id", "prediction_id"]
"""What a row of predictions stands for: an image, or a breast."""

IDS = ("image_id", "prediction_id", "patient_id")
"""Columns read as text: `10006` and `010006` are two."""

SHARED = ("patient_id", "laterality", "exam_id", "prediction_id", "cancer")
"""Columns that say whose a row is and what it shows: in predictions and labels alike, or one of the two is wrong."""


def read_predictions(predictions: Path, labels: Path | None = None, column: str = "") -> pd.DataFrame:
    """Reads predictions, joins labels, and refuses what does not match.

    Args:
        predictions: a table (see `rsna.table_file`) with a row for each image (`image_id`) or each breast
            (`prediction_id`, or `patient_id` and `laterality`) and its probability, in the column that `choose_column`
            finds. A column `fold` makes thresholds nest by it.
        labels: the competition's table, or any with `cancer` and the predictions' id; patient_id and laterality, or
            prediction_id. Without it the predictions must bring `cancer` themselves, as a run's `oof.parquet` does.
        column: which column holds the probability; empty finds it.

    Returns:
        image_id (for rows that are images), prediction_id, patient_id, cancer, probability, fold and the competition's
        columns where there are any, views for rows that are breasts. `attrs["scored"]` says which column of which file
        the probability was, so that every table made of it can.

    Raises:
        PredictionError: a column is missing, or several may be meant; probabilities are a copy of the labels; ids are
            doubled, empty, or in one file only; the two files say different things of one row. What is wrong with
            single values `evaluate` says.
    """
    notes: list[str] = []
    given = _read(predictions, notes)
    if "image_id" not in given and "prediction_id" not in given:
        if not {"patient_id", "laterality"} <= set(given):
            raise PredictionError(
                f"{predictions}: says neither image_id nor prediction_id, nor patient_id and laterality; it has "
                f"{', '.join(map(str, given))}"
            )
        given = with_breast_ids(given, predictions)
    key: Key = "image_id" if "image_id" in given else "prediction_id"
    _check_ids(given, key, predictions)
    scored = choose_column(given, predictions, column, own_labels=labels is None)
    numbered = given.assign(probability=_numbers(given[scored], given[key], predictions))
    joined = _joined(numbered, key, scored, predictions, labels, notes)
    if copies_labels(joined["cancer"], joined["probability"]):
        raise PredictionError(
            f"{predictions}: column {scored} is a copy of the labels: one value for every positive and another for "
            f"every negative of {len(joined):,} rows, which no network predicts. Name the column of probabilities with "
            f"column=…; there are {', '.join(map(str, given))}"
        )
    read = f" ({'; '.join(notes)})" if notes else ""
    joined.attrs["scored"] = f"column {scored} of {predictions}{read}"
    return joined


def _numbers(values: pd.Series, ids: pd.Series, where: Path) -> "pd.Series[float]":
    numbers = pd.to_numeric(values, errors="coerce")
    words = numbers.isna() & values.notna()
    if words.any():
        raise PredictionError(
            f"{where}: {offenders(ids[words], len(ids))} rows have a probability that is no number in column "
            f"{values.name}, first {values[words].iloc[0]!r}"
        )
    return numbers.astype(np.float64)


def _joined(
    given: pd.DataFrame, key: Key, scored: str, predictions: Path, labels: Path | None, notes: list[str]
) -> pd.DataFrame:
    """Predictions with their labels: their own, or those of another file."""
    if labels is None:
        return with_breast_ids(given, predictions)
    table = _read(labels, notes)
    known = _labels(table, key, labels)
    unknown, lacking = (one.loc[~one[key].isin(other[key]), key] for one, other in ((given, known), (known, given)))
    if len(unknown):
        raise PredictionError(f"{predictions}: {offenders(unknown, len(given))} {key} are not in {labels}")
    if len(lacking):
        raise PredictionError(f"{predictions}: {offenders(lacking, len(known))} {key} of {labels} have no prediction")
    of_both = [column for column in SHARED if column in given and column in known and column not in (key, scored)]
    # A patient that `_labels` cut out of a prediction_id is a guess, and contradicts nothing.
    shared = [column for column in of_both if column != "patient_id" or column in table]
    _refuse_contradictions(given, known.set_index(key).loc[given[key], shared], key, predictions, labels)
    own = [column for column in ("fold", *EXAM) if column in given and (column == "fold" or column not in known)]
    columns = [key, "probability", *own]
    joined = known.merge(given[columns], on=key, validate="one_to_one", suffixes=("_of_labels", ""))
    if "fold_of_labels" in joined:
        by_patient = joined.set_index("patient_id")
        same_folds({str(labels): by_patient["fold_of_labels"], str(predictions): by_patient["fold"]})
    return joined.drop(columns=["fold_of_labels", "probability_of_labels"], errors="ignore")


def _refuse_contradictions(given: pd.DataFrame, known: pd.DataFrame, key: Key, predictions: Path, labels: Path) -> None:
    """PredictionError where a row of `given` and that of `known` in its place have two values in a column of `known`.

    Rows that slipped by a breast still match by image_id: that they do not belong together these columns alone show.
    """
    for column, of_labels in known.items():
        here, there = given[column], of_labels.set_axis(given.index)
        if column == "cancer" and not pd.concat([here, there]).dropna().isin((0, 1)).all():
            continue  # a probability beside the one that is scored
        apart = here.notna() & there.notna() & here.ne(there)
        if apart.any():
            at = int(apart.to_numpy().argmax())
            raise PredictionError(
                f"{predictions}: {offenders(given.loc[apart, key], len(given))} {key} have another {column} than in "
                f"{labels}: {given[key].iloc[at]} has {shown(here.iloc[at])}, there {shown(there.iloc[at])}. Mend "
                f"the file that is wrong, or drop {column} from the predictions if it means something else"
            )


def with_breast_ids(table: pd.DataFrame, where: Path) -> pd.DataFrame:
    """The table with prediction_id and patient_id, made from each other where one is missing.

    See `rsna.dataset.exams.name_breasts`.
    """
    table = table.copy()
    if "prediction_id" not in table:
        missing = [column for column in ("patient_id", "laterality") if column not in table]
        if missing:
            raise PredictionError(f"{where}: without prediction_id, rows need {missing} beside {list(table)}")
        _refuse(table, table["patient_id"].isna() | table["laterality"].isna(), "no patient_id or laterality", where)
        exam = exams_of(table)
        half = exam.eq("") & (exam.groupby(table["patient_id"]).transform("nunique") > 1)
        _refuse(table, half, "no exam_id, where other rows of their patients have one", where)
        table["prediction_id"] = name_breasts(table.astype({"laterality": str}))
    if "patient_id" not in table:
        odd = ~table["prediction_id"].str.fullmatch(r".+_[LR]").astype(bool)
        _refuse(table, odd, "a prediction_id unlike {patient_id}_L or _R, and there is no patient_id", where)
        table["patient_id"] = table["prediction_id"].str.rsplit("_", n=1).str[0]
    return table


def _read(path: Path, notes: list[str]) -> pd.DataFrame:
    try:
        return read_table(path, notes).reset_index(drop=True)
    except TableError as error:
        raise PredictionError(str(error)) from error


def _check_ids(table: pd.DataFrame, key: Key, where: Path) -> None:
    if table.empty:
        raise PredictionError(f"{where}: no rows")
    empty = int(table[key].isna().sum())
    if empty:
        raise PredictionError(f"{where}: {empty:,} of {len(table):,} rows have no {key}")
    doubled = table.loc[table[key].duplicated(), key].unique()
    if len(doubled):
        mend = "" if key == "image_id" else "; keep one row a breast, or say in image_id which image each row is"
        raise PredictionError(f"{where}: {offenders(doubled)} {key} come more than once{mend}")


def _labels(table: pd.DataFrame, key: Key, where: Path) -> pd.DataFrame:
    """Labels, one row for each thing that is predicted."""
    if "cancer" not in table:
        raise PredictionError(f"{where}: no column `cancer` among {list(table)}")
    table = with_breast_ids(table, where)
    if key not in table:
        raise PredictionError(f"{where}: no column {key}, which the predictions go by")
    if key == "image_id" or "image_id" not in table:
        _check_ids(table, key, where)
        return table
    constant = [column for column in ("patient_id", "laterality", "exam_id", "cancer", "fold") if column in table]
    must_agree(table.assign(exam=exams_of(table)), key, ["exam", *constant])
    groups = table.groupby(key, sort=True)
    attributes = [column for column in (*EXAM, *ATTRIBUTES) if column in table and column not in constant]
    return groups[constant + attributes].first().assign(views=groups.size()).reset_index()


def _refuse(table: pd.DataFrame, wrong: "pd.Series[bool]", what: str, where: Path) -> None:
    if wrong.any():
        key = next((column for column in IDS if column in table), None)
        names = table.loc[wrong, key] if key else table.index[wrong]
        raise PredictionError(f"{where}: {offenders(names, len(table))} rows have {what}")
