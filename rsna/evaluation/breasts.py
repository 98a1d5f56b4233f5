"""Images → breasts, the unit that is scored, and what a breast weighs."""

from collections.abc import Callable, Mapping
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rsna.config.data import Aggregate, Sampling, ScoredUnit
from rsna.config.settings import ConfigError, require
from rsna.dataset.exams import exams_of, name_exams
from rsna.evaluation.checks import (
    Floats,
    PredictionError,
    as_labels,
    copies_labels,
    doubts_of_decisions,
    offenders,
    shown,
)

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
        PredictionError: a column is missing; duplicate image_id; NaN or values outside [0, 1]; two labels, patients,
            folds or exams for one breast; a patient in two folds.
    """
    check_images(images)
    groups = images.groupby("prediction_id", sort=True)
    constant = [c for c in ("patient_id", "fold", "cancer") if c in images]
    must_agree(images.assign(exam=exams_of(images)), "prediction_id", ["exam", *constant])
    if "fold" in images:
        must_agree(images, "patient_id", ["fold"])
    breasts = groups[constant + [c for c in ATTRIBUTES if c in images]].first()
    breasts.insert(len(constant), "probability", breast_probabilities(images, aggregate))
    breasts.insert(len(constant) + 1, "views", groups["views"].sum() if "views" in images else groups.size())
    for column in ("fold", "cancer"):
        if column in breasts:
            breasts[column] = breasts[column].astype(np.int64)
    breasts = breasts.reset_index()
    breasts.attrs |= images.attrs  # which column was scored
    return breasts


def to_exams(breasts: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """One row an exam, in the order of its name: what a woman is recalled by, the higher of her breasts.

    Args:
        breasts: of `to_breasts`.
        images: what they were made of; a column of `rsna.dataset.exams.EXAM` tells exams apart, and without one a
            patient has one.

    Returns:
        The columns of `breasts`, but for those that judge one breast: prediction_id is `{patient_id}`, or
        `{patient_id}_{exam}` where a patient has several (quoted, where two would be called the same); probability and
        cancer are the maximum over the breasts, views their sum, the rest the first that is given. Of breasts that were
        judged, recalled is whether any is, and calibrated the probability that either has cancer: 1 less the product of
        what each promises to be without. exam_id is added, so that exams of exams are the same.
    """
    exams = exams_of(images).set_axis(images["prediction_id"]).groupby(level=0).first()
    exam = breasts["prediction_id"].map(exams)
    names = name_exams(breasts["patient_id"].astype(str).astype(object), exam)
    breasts = breasts.drop(columns=["BIRADS", "difficult_negative_case"], errors="ignore")
    joined: dict[str, str | Callable[[pd.Series], float]] = dict.fromkeys(("probability", "cancer", "recalled"), "max")
    joined |= {"views": "sum", "calibrated": _either}
    how = {column: joined.get(column, "first") for column in [*breasts, "exam_id"] if column != "prediction_id"}
    exams_frame = (
        breasts.assign(prediction_id=names, exam_id=exam).groupby("prediction_id", sort=True).agg(how).reset_index()
    )
    exams_frame.attrs |= breasts.attrs
    return exams_frame


def doubts_of(images: pd.DataFrame, unit: ScoredUnit) -> tuple[str, ...]:
    """What is odd about rows that are scored by breast or by exam; none on others."""
    decisions = doubts_of_decisions(images["cancer"], images["probability"])
    return (*decisions, *(doubts_of_exams(images) if unit == "exam" else ()))


def doubts_of_exams(images: pd.DataFrame) -> list[str]:
    """Lines on patients whose breasts may be joined to other exams than there were; none on others.

    Args:
        images: what `to_exams` takes.
    """
    rows = images[["patient_id", "prediction_id"]].assign(exam=exams_of(images)).drop_duplicates()
    unnamed = rows["exam"].eq("")
    crowded = unnamed & (rows.groupby(["patient_id", "exam"])["prediction_id"].transform("size") > 2)
    half = unnamed & rows["exam"].ne("").groupby(rows["patient_id"]).transform("any")
    what = {
        "more than two breasts and no exam_id, exam_number or exam_date: all of them are taken for one exam": crowded,
        "breasts of an exam that is named and others of none: these are taken for an exam of their own": half,
    }
    patients = rows["patient_id"]
    return [
        f"{offenders(patients[at].unique(), patients.nunique())} patients have {line}"
        for line, at in what.items()
        if at.any()
    ]


def _either(probabilities: pd.Series) -> float:
    """That any has cancer, as if one knew nothing of the other."""
    return 1 - float(np.prod(1 - probabilities.to_numpy(np.float64)))


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
            reach = f": they reach from {probability.min():g} to {probability.max():g}" if "outside" in what else ""
            hint = _scale(probability) if reach else ""
            raise PredictionError(f"{offenders(images.loc[rows, key], len(images))} rows {what}{reach}{hint}")
    # 0 and 1 alone: a network in training may give two values to images of two kinds, but hardly these.
    if np.isin(probability, (0, 1)).all() and copies_labels(images["cancer"], probability):
        raise PredictionError(
            f"probability is a copy of the labels: 1 for every positive and 0 for every other of {len(images):,} rows; "
            "score the column that was predicted"
        )


def _scale(values: Floats) -> str:
    """What values outside [0, 1] look like, and how they become probabilities."""
    if values.min() < 0:
        return ", as logits do; give 1 / (1 + exp(-x))"
    return ", as percents do; divide them by 100" if values.max() <= 100 else ""


def must_agree(images: pd.DataFrame, unit: str, columns: list[str]) -> None:
    """PredictionError where a breast, or a patient, has two values in a column; shows those of the first."""
    # By numbers, and without sorting: to count the values of each group takes pandas ten times as long.
    owner, owners = pd.factorize(images[unit])
    for column in columns:
        code = pd.factorize(images[column])[0]
        known = (owner >= 0) & (code >= 0)  # what is missing contradicts nothing
        own, said = owner[known], code[known]
        first = np.zeros(len(owners), dtype=np.int64)
        first[own[::-1]] = said[::-1]
        several = sorted(owners[np.unique(own[said != first[own]])])
        if several:
            both = " and ".join(map(str, images.loc[images[unit] == several[0], column].dropna().unique()))
            raise PredictionError(
                f"{offenders(several, len(owners))} {unit} have more than one {column}: {several[0]} has {both}"
            )


def same_folds(folds: Mapping[str, pd.Series]) -> None:
    """PredictionError unless all split the patients alike, whatever the numbers of their folds; shows two that differ.

    Args:
        folds: what brings them → fold of each patient, who is the index and may stand in several rows.
    """
    (first, one), *others = folds.items()
    one = _first_of_each(one)
    for name, other in others:
        both = pd.DataFrame({"one": one, "other": _first_of_each(other)}).dropna()
        pairs = both.drop_duplicates()
        if pairs["one"].is_unique and pairs["other"].is_unique:
            continue
        apart = both[both["one"] != both["other"]].sort_index()
        here, there = (shown(apart[column].iloc[0]) for column in ("one", "other"))
        raise PredictionError(
            f"{offenders(apart.index, len(both))} patients are in other folds in {first} than in {name}: "
            f"{apart.index[0]} is in fold {here} of {first}, in fold {there} of {name}. Nested thresholds need one "
            "split: score both on the same folds, or drop the column fold"
        )


def _first_of_each(values: pd.Series) -> pd.Series:
    """The first value given under each name of the index."""
    given = values.dropna()
    return given.groupby(level=0, sort=False).first()


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
