"""Images → breasts, the unit that is scored, and what a breast weighs."""

from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rsna.config.data import Aggregate, Sampling
from rsna.config.settings import ConfigError, require
from rsna.evaluation.checks import Floats, PredictionError, as_labels, offenders

ATTRIBUTES = ("site_id", "machine_id", "age", "density", "implant", "BIRADS", "difficult_negative_case")
"""Columns of the competition's table that travel along where they are there (first value given within a breast)."""


def to_breasts(images: pd.DataFrame, aggregate: Aggregate = "mean") -> pd.DataFrame:
    """One row a breast, in the order of `prediction_id`.

    Args:
        images: one row an image (or a breast already): prediction_id, patient_id, cancer (0/1), probability in
            [0, 1]; image_id and fold where there are any; views where a row stands for several images; the columns
            of ATTRIBUTES where known.
        aggregate: see `Aggregate`.

    Returns:
        prediction_id, patient_id, fold (int, where given), cancer (int 0/1), probability (float64), views (images of
        the breast) and the ATTRIBUTES that came.

    Raises:
        PredictionError: a column is missing; duplicate image_id; NaN or values outside [0, 1]; two labels, patients
            or folds for one breast; a patient in two folds.
    """
    check_images(images)
    groups = images.groupby("prediction_id", sort=True)
    constant = [c for c in ("patient_id", "fold", "cancer") if c in images]
    must_agree(images, "prediction_id", constant)
    if "fold" in images:
        must_agree(images, "patient_id", ["fold"])
    breasts = groups[constant + [c for c in ATTRIBUTES if c in images]].first()
    breasts.insert(len(constant), "probability", breast_probabilities(images, aggregate))
    breasts.insert(len(constant) + 1, "views", groups["views"].sum() if "views" in images else groups.size())
    for column in ("fold", "cancer"):
        if column in breasts:
            breasts[column] = breasts[column].astype(np.int64)
    return breasts.reset_index()


def breast_probabilities(images: pd.DataFrame, aggregate: Aggregate) -> "pd.Series[float]":
    """prediction_id → probability, in the order of the ids; the part of `to_breasts` that needs no labels.

    Args:
        images: prediction_id and probability, one row an image.
        aggregate: see `Aggregate`.
    """
    if aggregate not in get_args(Aggregate):
        raise ValueError(f"aggregate must be one of {', '.join(get_args(Aggregate))}, not {aggregate!r}")
    scores = images[["prediction_id", "probability"]].astype({"probability": np.float64})
    if aggregate == "top2":
        scores = scores.sort_values("probability", ascending=False, kind="stable").groupby("prediction_id").head(2)
    grouped = scores.groupby("prediction_id", sort=True)["probability"]
    return grouped.max() if aggregate == "max" else grouped.mean()


def check_images(images: pd.DataFrame) -> None:
    """Raises PredictionError unless the frame can be scored: what `to_breasts` says of single rows."""
    missing = [c for c in ("prediction_id", "patient_id", "cancer", "probability") if c not in images]
    if missing:
        raise PredictionError(f"predictions lack the columns {missing}; they have {list(images.columns)}")
    if images.empty:
        raise PredictionError("predictions have no rows")
    key = "image_id" if "image_id" in images else "prediction_id"
    probability = images["probability"].to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = {
        f"are duplicate {key}": images[key].duplicated(),
        "have no probability (NaN)": np.isnan(probability),
        "have a probability outside [0, 1]": (probability < 0) | (probability > 1),
        "have no prediction_id": images["prediction_id"].isna(),
        "have no patient_id": images["patient_id"].isna(),
        "have a label other than 0 or 1": ~images["cancer"].isin([0, 1, False, True]),
    }
    if "fold" in images:
        wrong["have no fold"] = images["fold"].isna()
        wrong["have a fold that is no whole number"] = pd.to_numeric(images["fold"], errors="coerce") % 1 != 0
    for what, rows in wrong.items():
        if rows.any():
            raise PredictionError(f"{offenders(images.loc[rows, key], len(images))} rows {what}")


def must_agree(images: pd.DataFrame, unit: str, columns: list[str]) -> None:
    distinct = images.groupby(unit, sort=True)[columns].nunique()
    for column in columns:
        several = distinct.index[distinct[column] > 1]
        if len(several):
            raise PredictionError(f"{offenders(several, len(distinct))} {unit} have more than one {column}")


def check_prevalence(prevalence: float | None, sampling: Sampling) -> None:
    """ConfigError for a prevalence outside (0, 1), or any on a set whose own share of positives is the true one."""
    known = get_args(Sampling)
    require(sampling in known, f"sampling must be one of {', '.join(known)}, not {sampling!r}")
    if prevalence is None:
        return
    require(0 < prevalence < 1, f"prevalence must lie in (0, 1), not {prevalence}")
    if sampling == "population":
        raise ConfigError(
            f"prevalence={prevalence} reweights negatives, which a set of sampling=population must not be: its share "
            "of positives is the true one. Drop prevalence, or say sampling=enriched if cases were chosen"
        )


def prevalence_weights(labels: ArrayLike, prevalence: float | None) -> Floats:
    """(n,) weights: 1 for positives, the weight of `negative_weight` for negatives; ones where prevalence is None."""
    positive = as_labels(labels)
    if prevalence is None:
        return np.ones(positive.size)
    weight = float(negative_weight(positive.sum(), (~positive).sum(), prevalence))
    return np.where(positive, 1.0, weight)


def negative_weight(positives: ArrayLike, negatives: ArrayLike, prevalence: float) -> Floats:
    """What a negative must weigh, beside positives of weight 1, so that positives are `prevalence` of all.

    Works on counts of any shape; 1 where either class is missing.
    """
    yes, no = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    both = (yes > 0) & (no > 0)
    return np.divide(yes * (1 - prevalence), prevalence * no, out=np.ones(np.shape(no)), where=both)
