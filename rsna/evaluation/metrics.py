"""All figures of one run, at breast level, with patient-level intervals."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd

from rsna.evaluation.arrays import Bools, Ints
from rsna.evaluation.bootstrap import LEVEL, RESAMPLES, Interval, resample
from rsna.evaluation.breasts import Aggregate, to_breasts
from rsna.evaluation.errors import PredictionError
from rsna.evaluation.ledger import Ledger
from rsna.evaluation.pf1 import pf1, pf1_of_ones
from rsna.evaluation.prevalence import Sampling, check_prevalence, prevalence_weights
from rsna.evaluation.scores import (
    OperatingPoints,
    auprc,
    auroc,
    brier,
    calibration_error,
    sensitivity_at_recall_rate,
    sensitivity_at_specificity,
)
from rsna.evaluation.tables import evaluation_table
from rsna.evaluation.threshold import Threshold, best_threshold, crossfit_folds, nested_thresholds, recalled


@dataclass(frozen=True)
class Figures:
    """The figures of one set of breasts: a fold, or all folds pooled. NaN where the set leaves one undefined."""

    name: str
    """`pooled`, or `fold 0`."""
    breasts: int
    positives: int
    patients: int
    prevalence: float
    """Share of positives, after reweighting where there is any."""
    baseline: float
    """pF1 of predicting 1 everywhere: 2π / (1 + π)."""
    pf1_raw: float
    """pF1 of the probabilities."""
    pf1_nested: float
    """pF1 with each fold's breasts cut at the threshold chosen on the other folds: the figure to report."""
    pf1_optimistic: float
    """pF1 at the best threshold of these very breasts."""
    optimism_gap: float
    """Optimistic less nested."""
    auroc: float
    auprc: float
    sensitivity_at_specificity: float
    sensitivity_at_recall_rate: float
    brier: float
    calibration_error: float
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Name of a figure → its interval; pooled figures have them, unless none was asked for."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found."""

    pooled: Figures
    folds: tuple[Figures, ...]
    """One entry a fold; empty where the predictions bring fewer than two."""
    threshold: Threshold
    """The best cut of all breasts: what a submission uses. Its pF1 is the optimistic one."""
    nested: Mapping[int, float]
    """fold → threshold chosen on the other folds."""
    crossfitted: bool
    """Whether the folds of `nested` are parts made here, because the predictions bring fewer than two folds."""
    aggregate: str
    points: OperatingPoints
    prevalence: float | None
    """Share of positives that negatives were reweighted to."""
    sampling: str
    level: float
    """Nominal coverage of the intervals."""
    resamples: int
    redrawn: int
    """Resamples drawn again because they held no positive breast."""
    breasts: pd.DataFrame = field(repr=False)
    """`to_breasts` with weight, part (fold or cross-fitting part), threshold (nested), recalled (the call at it)."""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types for metrics.json, without the breasts; NaN becomes null."""
        plain = {name: value for name, value in self.__dict__.items() if name != "breasts"}
        plain |= {
            "pooled": asdict(self.pooled),
            "folds": [asdict(fold) for fold in self.folds],
            "threshold": asdict(self.threshold),
            "points": asdict(self.points),
        }
        return {name: plain_json(value) for name, value in plain.items()}

    def table(self) -> str:
        """The figures as text, four decimals, intervals of the pooled ones."""
        return evaluation_table(self)


def evaluate(
    images: pd.DataFrame,
    aggregate: Aggregate = "mean",
    *,
    points: OperatingPoints = OperatingPoints(),  # noqa: B008 (frozen)
    prevalence: float | None = None,
    sampling: Sampling = "population",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Scores predictions: aggregates them to breasts, then every figure of `Figures`, per fold and pooled.

    Nested thresholds follow the column `fold`; without it, or with a single fold, they are cross-fitted over five
    patient-grouped parts.

    Args:
        images: what `to_breasts` takes.
        aggregate: see `Aggregate`.
        points: operating points of the figures.
        prevalence: share of positives to reweight negatives to, on enriched sets only.
        sampling: see `Sampling`.
        resamples: of the patient-level bootstrap behind each interval; 0 leaves intervals out.
        seed: of the bootstrap.

    Raises:
        PredictionError: see `to_breasts`; no positive breast at all.
        ConfigError: a prevalence that does not fit the sampling.
    """
    check_prevalence(prevalence, sampling)
    breasts = to_breasts(images, aggregate)
    if not breasts["cancer"].any():
        raise PredictionError(f"none of the {len(breasts):,} breasts is positive: there is nothing to score")
    breasts["weight"] = prevalence_weights(breasts["cancer"], prevalence)
    folds = sorted(breasts["fold"].unique()) if "fold" in breasts else []
    crossfitted = len(folds) < 2
    breasts["part"] = crossfit_folds(breasts["patient_id"], breasts["cancer"]) if crossfitted else breasts["fold"]
    nested = _cut(breasts, points)
    pooled = score_rows(f"fold {folds[0]}" if len(folds) == 1 else "pooled", breasts, points)
    single = [] if crossfitted else [score_rows(f"fold {k}", breasts[breasts["fold"] == k], points) for k in folds]
    redrawn = 0
    if resamples:
        drawn = resample([ledger_of(breasts, points, prevalence)], resamples, seed)[0]
        pooled = replace(pooled, intervals={name: drawn.interval(name) for name in drawn.values})
        redrawn = drawn.redrawn
    return Evaluation(
        pooled=pooled,
        folds=tuple(single),
        threshold=best_threshold(breasts["cancer"], breasts["probability"], points.beta, breasts["weight"]),
        nested=nested,
        crossfitted=crossfitted,
        aggregate=aggregate,
        points=points,
        prevalence=prevalence,
        sampling=sampling,
        level=LEVEL,
        resamples=resamples,
        redrawn=redrawn,
        breasts=breasts,
    )


def _cut(breasts: pd.DataFrame, points: OperatingPoints) -> dict[int, float]:
    """Adds the columns threshold and recalled to the breasts; returns part → nested threshold."""
    nested = nested_thresholds(
        breasts["cancer"], breasts["probability"], breasts["part"], points.beta, breasts["weight"]
    )
    breasts["threshold"] = breasts["part"].map(nested)
    breasts["recalled"] = recalled(breasts["probability"], breasts["threshold"])
    return nested


def score_rows(name: str, breasts: pd.DataFrame, points: OperatingPoints) -> Figures:
    """Figures of a set of breasts, without intervals.

    Args:
        name: of the set.
        breasts: columns patient_id, cancer, probability, weight, threshold (NaN where none could be chosen), recalled.
        points: operating points of the figures.
    """
    positive, p, w = (breasts[c].to_numpy() for c in ("cancer", "probability", "weight"))
    some = bool(positive.any())
    nan = float("nan")
    prevalence = float(np.average(positive, weights=w))
    nested = pf1(positive, breasts["recalled"], points.beta, w) if some and breasts["threshold"].notna().all() else nan
    optimistic = best_threshold(positive, p, points.beta, w).pf1 if some else nan
    return Figures(
        name=name,
        breasts=len(breasts),
        positives=int(positive.sum()),
        patients=breasts["patient_id"].nunique(),
        prevalence=prevalence,
        baseline=pf1_of_ones(prevalence, points.beta),
        pf1_raw=pf1(positive, p, points.beta, w) if some else nan,
        pf1_nested=nested,
        pf1_optimistic=optimistic,
        optimism_gap=optimistic - nested,
        auroc=auroc(positive, p, w),
        auprc=auprc(positive, p, w),
        sensitivity_at_specificity=sensitivity_at_specificity(positive, p, w, points.specificity),
        sensitivity_at_recall_rate=sensitivity_at_recall_rate(positive, p, w, points.recall_rate),
        brier=brier(positive, p, w),
        calibration_error=calibration_error(positive, p, w, points.bins),
    )


def ledger_of(
    breasts: pd.DataFrame, points: OperatingPoints, prevalence: float | None, calls: Bools | None = None
) -> Ledger:
    """The breasts of an Evaluation, or some of them, ready for resampling.

    Args:
        breasts: Rows of `Evaluation.breasts`.
        points: see `Ledger`.
        prevalence: see `Ledger`.
        calls: (n,) calls to hold fixed; with them no threshold is chosen, so parts do not matter.
    """
    return Ledger(
        breasts["cancer"].to_numpy() == 1,
        breasts["probability"].to_numpy(),
        numbers_of(breasts["patient_id"]),
        breasts["part"].to_numpy() if calls is None else np.zeros(len(breasts), dtype=np.int64),
        points,
        prevalence,
        calls,
    )


def numbers_of(patients: pd.Series) -> Ints:
    """(n,) number of each row's patient, 0 … P - 1 in the order of the ids."""
    return np.unique(patients.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


def plain_json(value: object) -> object:
    """Nested mappings, sequences and NumPy numbers → plain JSON types; NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(entry) for entry in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
