"""Anybody's predictions and labels, as CSV or Parquet → the frame that `evaluate` takes."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from rsna.evaluation.breasts import ATTRIBUTES, must_agree
from rsna.evaluation.checks import PredictionError, offenders

Key = Literal["image_id", "prediction_id"]
"""What a row of predictions stands for: an image, or a breast."""

IDS = ("image_id", "prediction_id", "patient_id")
"""Columns read as text: `10006` and `010006` are two."""


def read_predictions(predictions: Path, labels: Path | None = None) -> pd.DataFrame:
    """Reads predictions, joins labels, and refuses what does not match.

    Args:
        predictions: `.csv`, `.csv.gz` or `.parquet` with a row for each image (`image_id`) or each breast
            (`prediction_id`) and its `probability`; with `labels` given, `cancer` is taken for the probability where
            there is no such column, as in a submission. A column `fold` makes thresholds nest by it.
        labels: the competition's table, or any with `cancer` and the predictions' id; patient_id and laterality, or
            prediction_id. Without it the predictions must bring `cancer` themselves, as a run's `oof.parquet` does.

    Returns:
        image_id (for rows that are images), prediction_id, patient_id, cancer, probability, fold and the competition's
        columns where there are any, views for rows that are breasts.

    Raises:
        PredictionError: a column is missing; ids are doubled, empty, or in one file only. What is wrong with single
            values `evaluate` says.
    """
    given = _read(predictions)
    key: Key = "image_id" if "image_id" in given else "prediction_id"
    if key not in given:
        raise PredictionError(f"{predictions}: neither image_id nor prediction_id among the columns {list(given)}")
    _check_ids(given, key, predictions)
    if "probability" not in given:
        if labels is None or "cancer" not in given:
            raise PredictionError(f"{predictions}: no column `probability` among {list(given)}")
        given = given.rename(columns={"cancer": "probability"})
    numbers = pd.to_numeric(given["probability"], errors="coerce")
    words = given.loc[numbers.isna() & given["probability"].notna(), key]
    if len(words):
        raise PredictionError(
            f"{predictions}: {offenders(words, len(given))} rows have a probability that is no number"
        )
    given = given.assign(probability=numbers.astype(np.float64))
    if labels is None:
        if "cancer" not in given:
            raise PredictionError(f"{predictions}: no column `cancer` with the labels; give a file of labels beside it")
        return with_breast_ids(given, predictions)

    known = _labels(_read(labels), key, labels)
    unknown, lacking = (one.loc[~one[key].isin(other[key]), key] for one, other in ((given, known), (known, given)))
    if len(unknown):
        raise PredictionError(f"{predictions}: {offenders(unknown, len(given))} {key} are not in {labels}")
    if len(lacking):
        raise PredictionError(f"{predictions}: {offenders(lacking, len(known))} {key} of {labels} have no prediction")
    columns = [key, "probability", *(["fold"] if "fold" in given else [])]
    return known.drop(columns=columns[1:], errors="ignore").merge(given[columns], on=key, validate="one_to_one")


def with_breast_ids(table: pd.DataFrame, where: Path) -> pd.DataFrame:
    """The table with prediction_id and patient_id, made from each other where one is missing.

    prediction_id is `{patient_id}_{laterality}`.
    """
    table = table.copy()
    if "prediction_id" not in table:
        missing = [column for column in ("patient_id", "laterality") if column not in table]
        if missing:
            raise PredictionError(f"{where}: without prediction_id, rows need {missing} beside {list(table)}")
        _refuse(table, table["patient_id"].isna() | table["laterality"].isna(), "no patient_id or laterality", where)
        table["prediction_id"] = table["patient_id"] + "_" + table["laterality"].astype(str)
    if "patient_id" not in table:
        odd = ~table["prediction_id"].str.fullmatch(r".+_[LR]").astype(bool)
        _refuse(table, odd, "a prediction_id unlike {patient_id}_L or _R, and there is no patient_id", where)
        table["patient_id"] = table["prediction_id"].str.rsplit("_", n=1).str[0]
    return table


def _read(path: Path) -> pd.DataFrame:
    path = Path(path)
    if not path.is_file():
        raise PredictionError(f"{path}: no such file")
    if not path.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise PredictionError(f"{path}: neither .csv, .csv.gz nor .parquet")
    try:
        parquet = path.suffix == ".parquet"
        table = pd.read_parquet(path) if parquet else pd.read_csv(path, dtype=dict.fromkeys(IDS, str))
    except (ValueError, OSError) as error:  # what pandas and pyarrow raise for bytes that are no table
        raise PredictionError(f"{path}: cannot be read: {error}") from error
    for column in IDS:
        if column in table:
            table[column] = _as_text(table[column])
    return table


def _as_text(ids: pd.Series) -> pd.Series:
    """Ids as text, whole numbers without `.0`; missing ones stay missing."""
    if pd.api.types.is_float_dtype(ids.dtype) and bool((ids.dropna() % 1 == 0).all()):
        ids = ids.astype("Int64")
    return ids.astype("string").astype(object).where(ids.notna(), np.nan)


def _check_ids(table: pd.DataFrame, key: Key, where: Path) -> None:
    if table.empty:
        raise PredictionError(f"{where}: no rows")
    empty = int(table[key].isna().sum())
    if empty:
        raise PredictionError(f"{where}: {empty:,} of {len(table):,} rows have no {key}")
    doubled = table.loc[table[key].duplicated(), key].unique()
    if len(doubled):
        raise PredictionError(f"{where}: {offenders(doubled)} {key} come more than once")


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
    constant = [column for column in ("patient_id", "cancer", "fold") if column in table]
    must_agree(table, key, constant)
    groups = table.groupby(key, sort=True)
    attributes = [column for column in ATTRIBUTES if column in table]
    return groups[constant + attributes].first().assign(views=groups.size()).reset_index()


def _refuse(table: pd.DataFrame, wrong: "pd.Series[bool]", what: str, where: Path) -> None:
    if wrong.any():
        key = next((column for column in IDS if column in table), None)
        names = table.loc[wrong, key] if key else table.index[wrong]
        raise PredictionError(f"{where}: {offenders(names, len(table))} rows have {what}")
