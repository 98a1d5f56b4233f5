"""All metrics of one run, by breast or by exam, with patient-level intervals."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rsna.config.data import Aggregate, Sampling, ScoredUnit
from rsna.evaluation.bootstrap import LEVEL, RESAMPLES, Interval, Resamples, score_breasts
from rsna.evaluation.breasts import check_prevalence, doubts_of, prevalence_weights, to_breasts, to_exams
from rsna.evaluation.checks import FEW, Ints, PredictionError
from rsna.evaluation.counts import Counts, OperatingPoints, SortedBreasts
from rsna.evaluation.metrics import METRICS, calibration_floor, pf1_of_ones
from rsna.evaluation.tables import Plain, Rows, Tables, interval_text, number, plain_json
from rsna.evaluation.threshold import Threshold, best_threshold, crossfit_folds, recalled

BY_FOLD = ("pf1_raw", "pf1_nested", "pf1_optimistic", "optimism_gap", "auroc", "auprc")
"""Metrics shown for each fold."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of one set of breasts, a fold or all folds pooled; `pooled.auroc` is one by its name in METRICS."""

    name: str
    """`pooled`, `fold 0`, or `fold 0 alone`, whose thresholds saw no other fold."""
    breasts: int
    """Or exams, where they are the unit; JSON names them so."""
    positives: int
    patients: int
    prevalence: float
    """Share of positives, after reweighting where there is any."""
    baseline: float
    """pF1 of predicting 1 everywhere: 2π / (1 + π)."""
    values: Mapping[str, float]
    """Name in METRICS → value; NaN where the set leaves it undefined, or the predictions are no probabilities."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Name in METRICS → interval; those pooled have them, unless none was asked for."""
    unit: ScoredUnit = "breast"

    def __getattr__(self, name: str) -> float:
        try:
            value: float = self.__dict__["values"][name]  # not self.values, which a copy in the making lacks
        except KeyError:
            raise AttributeError(f"no metric is named {name!r}; there are {', '.join(METRICS)}") from None
        return value

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types, metrics beside the counts; NaN becomes null."""
        counts = {name: value for name, value in self.__dict__.items() if name not in ("values", "intervals", "unit")}
        counts = {f"{self.unit}s" if name == "breasts" else name: value for name, value in counts.items()}
        return {name: plain_json(v) for name, v in (counts | {**self.values, "intervals": self.intervals}).items()}


@dataclass(frozen=True)
class Evaluation(Plain, Tables):
    """What `evaluate` found."""

    left_out = ("breasts", "doubts", "made", "splits")
    pooled: Metrics
    folds: tuple[Metrics, ...]
    """One entry a fold; empty where the predictions bring fewer than two."""
    threshold: Threshold
    """The best cut of all breasts: what a submission uses. Its pF1 is the optimistic one."""
    nested: Mapping[int, float]
    """fold → threshold chosen on the other folds."""
    crossfitted: bool
    """Whether the folds of `nested` are parts made here, because the predictions bring fewer than two folds: those of
    each deal behind those of the one before, and nested pF1 is the mean over the deals."""
    scored: str
    """Which column of what."""
    unit: ScoredUnit
    aggregate: str
    points: OperatingPoints
    prevalence: float | None
    """Share of positives that negatives were reweighted to."""
    sampling: str
    probabilities: bool
    """Whether the predictions are probabilities; metrics that need them are NaN where they only order breasts."""
    level: float
    """Nominal coverage of the intervals."""
    resamples: int
    redrawn: int
    """Resamples drawn again because they held no positive breast."""
    calibration_floor: float
    """Calibration error that perfectly calibrated probabilities would have here by chance; NaN without intervals."""
    breasts: pd.DataFrame = field(repr=False)
    """`to_breasts`, or `to_exams`, with weight, part (fold, or part of the first deal), threshold (nested; of several
    deals the median; NaN where the other folds hold no positive) and recalled (at or above it)."""
    doubts: tuple[str, ...] = field(repr=False)
    """What is odd about the scored rows: two values alone, nearly the labels, exams that are not told apart."""
    made: str = field(repr=False)
    """What a breast's probability is: `the mean of its images`, or `predicted as a whole`."""
    splits: Ints = field(repr=False)
    """(deals, n) fold of each breast, or its part in each deal."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names in METRICS of those that these predictions have."""
        return metric_names(self.probabilities)

    @property
    def cut_breasts(self) -> pd.DataFrame:
        """Those of `breasts` that have a nested threshold: where the other folds hold no positive there is none, and a
        breast is neither recalled nor left alone."""
        return self.breasts[self.breasts["threshold"].notna()]

    def title(self, name: str) -> str:
        """A metric's title; one fold alone has another nested pF1 than among the others, and another name for it."""
        crossfitted = name == "pf1_nested" and self.crossfitted
        return METRICS[name].title_at(self.points) + (", cross-fitted" if crossfitted else "")

    def parts(self) -> list[Rows | str]:
        """Metrics by fold and pooled, all pooled ones with intervals, thresholds and remarks."""
        by_fold = [["", f"{self.unit}s", "positive", *(self.title(name) for name in BY_FOLD), "all 1"]]
        for one in (*self.folds, self.pooled):
            values = [number(value) for value in (*(one.values[name] for name in BY_FOLD), one.baseline)]
            by_fold.append([one.name, f"{one.breasts:,}", f"{one.positives:,}", *values])
        pooled = [[self.pooled.name, "", f"{self.level:.0%} interval"]]
        for name in METRICS:
            ends = interval_text(self.pooled.intervals.get(name))
            pooled.append([self.title(name), number(self.pooled.values[name]), ends])
        return [by_fold, pooled if self.pooled.intervals else [row[:2] for row in pooled], "\n".join(self._remarks())]

    @property
    def suspicions(self) -> list[str]:
        """Lines on what these predictions hardly are: worse than chance, decisions, made of the labels."""
        pooled = self.pooled
        nothing = learned_nothing(pooled.values, pooled.baseline, pooled.intervals.get("auroc"), self.unit)
        lines = [*([nothing] if nothing else []), *self.doubts]
        if pooled.auroc == 1 and pooled.positives >= FEW:
            lines.append(
                "every positive lies above every negative: make sure that the column is not made of the labels, and "
                "that none of these patients was trained on"
            )
        return lines

    def _remarks(self) -> list[str]:
        best, nested = self.threshold, [value for _, value in sorted(self.nested.items())]
        lines = [
            f"scored: {self.scored}; a breast is {self.made}"
            + ("; an exam is the maximum of its breasts" if self.unit == "exam" else ""),
            f"best threshold {best.value:.4f} recalls {best.recalled:.2%}; "
            f"plateau {best.plateau[0]:.4f} to {best.plateau[1]:.4f} (width {best.width:.4f})",
        ]
        if self.crossfitted:
            known = [value for value in nested if not np.isnan(value)] or [float("nan")]
            between = f"{number(min(known))} to {number(max(known))}, median {number(float(np.median(known)))}"
            lines.append(
                f"nested thresholds, cross-fitted over {len(self.splits)} deals of the patients into parts: {between}; "
                "nested pF1 is the mean over the deals, its interval that of one of them"
            )
        else:
            lines.append("nested thresholds, each chosen on the other folds: " + ", ".join(map(number, nested)))
        lines += self.suspicions
        if not np.isnan(self.calibration_floor):
            lines.append(
                f"calibration error: probabilities that mean what they say would still show "
                f"{number(self.calibration_floor)} here"
            )
        w, rates = self.breasts["weight"], (self.points.recall_rate, self.points.low_recall_rate)
        if small := [f"{rate:g}" for rate in rates if rate * w.sum() < w.min()]:
            what = f"less than one of {len(w):,} {self.unit}s, and sensitivity at it 0 whatever was predicted"
            lines.append(f"a recall rate of {' or '.join(small)} is {what}")
        if not self.probabilities:
            lines.append(no_probabilities("these predictions", self.unit))
        if self.prevalence is not None:
            lines.append(f"negatives reweighted to a prevalence of {self.prevalence:g}")
        elif self.sampling == "enriched":
            lines.append("enriched set, whose share of positives was made: read AUROC, or give prevalence=…")
        if self.resamples:
            again = f", {self.redrawn} redrawn for want of a positive" if self.redrawn else ""
            lines.append(f"intervals from {self.resamples:,} resamples of patients{again}")
        undefined = [METRICS[name].title for name, value in self.pooled.intervals.items() if value.undefined]
        if undefined:
            lines.append(f"some resamples leave undefined, and are left out of: {', '.join(undefined)}")
        return lines


def evaluate(
    images: pd.DataFrame,
    aggregate: Aggregate = "mean",
    *,
    unit: ScoredUnit = "breast",
    points: OperatingPoints = OperatingPoints(),  # noqa: B008 (frozen)
    prevalence: float | None = None,
    sampling: Sampling = "population",
    probabilities: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Scores predictions: aggregates them to breasts, or on to exams, then every metric, per fold and pooled.

    Nested thresholds follow the column `fold`; without it, or with a single fold, they are cross-fitted over five
    patient-grouped parts, in 20 deals.

    Args:
        images: what `to_breasts` takes.
        aggregate: see `Aggregate`.
        unit: see `ScoredUnit`.
        points: operating points of the metrics.
        prevalence: share of positives to reweight negatives to, on enriched sets only.
        sampling: see `Sampling`.
        probabilities: False for ranks and other scores within [0, 1] that only order breasts: metrics that need
            probabilities are then left undefined.
        resamples: of the patient-level bootstrap behind each interval; 0 leaves intervals out.
        seed: of the bootstrap.

    Raises:
        PredictionError: see `to_breasts`; no positive breast at all.
        ConfigError: a prevalence that does not fit the sampling.
    """
    check_prevalence(prevalence, sampling)
    scored = str(images.attrs.get("scored", "column probability"))
    breasts = to_breasts(images, aggregate)
    if unit == "exam":
        breasts = to_exams(breasts, images)
    if not breasts["cancer"].any():
        raise PredictionError(f"none of the {len(breasts):,} {unit}s is positive: there is nothing to score")
    breasts["weight"] = prevalence_weights(breasts["cancer"], prevalence)
    folds = sorted(breasts["fold"].unique()) if "fold" in breasts else []
    crossfitted = len(folds) < 2
    dealt = crossfit_folds(breasts["patient_id"], breasts["cancer"]) if crossfitted else breasts["fold"]
    splits = np.atleast_2d(dealt)  # (deals, n)
    breasts["part"] = splits[0]

    names = metric_names(probabilities)
    whole = sorted_breasts(breasts, points, prevalence, splits)
    found = score_breasts(whole, resamples, seed, names)
    nested: dict[int, float] = {}
    thresholds = np.empty(splits.shape)
    for k, deal in enumerate(whole.deals):
        chosen = Counts(deal, np.ones((whole.n_patients, 1))).nested_thresholds
        nested |= {fold + k * len(chosen): float(threshold[0]) for fold, threshold in chosen.items()}
        thresholds[k] = pd.Series({fold: threshold[0] for fold, threshold in chosen.items()}).reindex(splits[k])
    breasts["threshold"] = np.median(thresholds, axis=0)
    breasts["recalled"] = recalled(breasts["probability"], breasts["threshold"])
    single = []
    for fold in [] if crossfitted else folds:
        rows = breasts[breasts["fold"] == fold]
        at_nested = rows["recalled"].where(rows["threshold"].notna())  # held fixed: its threshold saw other folds only
        of_fold = score_breasts(sorted_breasts(rows, points, prevalence, at_fixed=at_nested), 0, seed, names)
        single.append(_metrics(f"fold {fold}", unit, rows, points, of_fold))
    return Evaluation(
        pooled=_metrics(f"fold {folds[0]} alone" if len(folds) == 1 else "pooled", unit, breasts, points, found),
        folds=tuple(single),
        threshold=best_threshold(breasts["cancer"], breasts["probability"], points.beta, breasts["weight"]),
        nested=nested,
        crossfitted=crossfitted,
        scored=scored,
        unit=unit,
        aggregate=aggregate,
        points=points,
        prevalence=prevalence,
        sampling=sampling,
        probabilities=probabilities,
        level=LEVEL,
        resamples=resamples,
        redrawn=found.redrawn,
        calibration_floor=calibration_floor(whole) if resamples and probabilities else float("nan"),
        breasts=breasts,
        doubts=doubts_of(images, unit),
        made="predicted as a whole" if _of_breasts(images) else f"the {aggregate} of its images",
        splits=splits,
    )


def _of_breasts(images: pd.DataFrame) -> bool:
    """Whether each row is a breast, as of a network of breasts and in anybody's file of breasts."""
    return "image_id" not in images and images["prediction_id"].is_unique


def _metrics(name: str, unit: ScoredUnit, rows: pd.DataFrame, points: OperatingPoints, scored: Resamples) -> Metrics:
    prevalence = float(np.average(rows["cancer"], weights=rows["weight"]))
    return Metrics(
        name=name,
        breasts=len(rows),
        positives=int(rows["cancer"].sum()),
        patients=rows["patient_id"].nunique(),
        prevalence=prevalence,
        baseline=pf1_of_ones(prevalence, points.beta),
        values={metric: scored.data.get(metric, float("nan")) for metric in METRICS},
        intervals=scored.intervals,
        unit=unit,
    )


def metric_names(probabilities: bool) -> tuple[str, ...]:
    """Names in METRICS: all, or those that an order of breasts alone defines."""
    return tuple(name for name, metric in METRICS.items() if probabilities or not metric.needs_probabilities)


def no_probabilities(which: str, unit: ScoredUnit = "breast") -> str:
    """The line that says why metrics are missing."""
    titles = ", ".join(metric.title for metric in METRICS.values() if metric.needs_probabilities)
    return f"{which}: an order of {unit}s, no probabilities, so without {titles}"


def learned_nothing(
    values: Mapping[str, float | None], baseline: float, auroc: Interval | None, unit: ScoredUnit = "breast"
) -> str:
    """The line of predictions that are reversed or below their own floor; empty for others, and where nothing is known.

    Args:
        values: name in METRICS → value, NaN or None where it is undefined.
        baseline: pF1 of predicting 1 everywhere.
        auroc: interval of AUROC; without one AUROC itself is held against 0.5.
        unit: what was scored.
    """
    nested, area = values.get("pf1_nested"), values.get("auroc")
    verdict, reasons = f"has learned nothing that these {unit}s show", []
    if area is not None and auroc is None and area < 0.5:
        reasons.append(f"AUROC {number(area)} is below 0.5, chance; whether it is reversed an interval says")
    elif area is not None and (area if auroc is None else auroc.low) <= 0.5:
        holds = "" if auroc is None else f" ({interval_text(auroc)})"
        end = "is not told from 0.5, chance"
        if auroc is not None and auroc.high < 0.5:
            verdict = f"orders these {unit}s in reverse"
            end = "lies below 0.5: the column seems reversed (a probability of no cancer, or swapped labels)"
        reasons.append(f"AUROC {number(area)}{holds} {end}")
    if nested is not None and nested <= baseline:
        reasons.append(
            f"nested pF1 {number(nested)} is no more than {number(baseline)}, that of recalling every {unit}"
        )
    return f"{verdict}: {'; '.join(reasons)}" if reasons else ""


def sorted_breasts(
    rows: pd.DataFrame,
    points: OperatingPoints,
    prevalence: float | None,
    splits: Ints | None = None,
    at_fixed: ArrayLike | None = None,
) -> SortedBreasts:
    """The breasts of an Evaluation, or some of them, ready to be scored and resampled.

    Args:
        rows: of `Evaluation.breasts`.
        points: operating points of the metrics.
        prevalence: of the whole set, as in `evaluate`.
        splits: of all the breasts, from `Evaluation.splits`; None where thresholds are held fixed.
        at_fixed: (n,) whether each is recalled at a threshold held fixed; NaN where there is none.
    """
    if prevalence is not None and at_fixed is not None:  # a part keeps the weights that its breasts have in the whole
        prevalence = float(np.average(rows["cancer"], weights=rows["weight"]))
    return SortedBreasts(
        rows["cancer"].to_numpy() == 1,
        rows["probability"].to_numpy(),
        patient_numbers(rows["patient_id"]),
        np.zeros(len(rows), dtype=np.int64) if splits is None else splits,
        points,
        prevalence,
        at_fixed,
    )


def patient_numbers(patients: pd.Series) -> Ints:
    """(n,) number of each row's patient, 0 … P - 1 in the order of the ids."""
    return np.unique(patients.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class AtThreshold(Plain):
    """Breasts cut at one threshold that was not chosen on them: what a submission with it would have scored."""

    threshold: float
    pf1: float
    interval: Interval | None
    """Patient-level, the threshold held fixed; None where no resamples were asked for."""
    recalled: float
    """Share of the (weighted) breasts at or above the threshold."""

    def line(self, whose: str = "the run's") -> str:
        """What stands under a table."""
        ends = "" if self.interval is None else f" ({LEVEL:.0%} interval {interval_text(self.interval)})"
        return (
            f"pF1 at {whose} threshold {self.threshold:.4f}: {number(self.pf1)}{ends}, share recalled "
            f"{self.recalled:.2%}"
        )


def score_at(evaluation: Evaluation, threshold: float, resamples: int = RESAMPLES, seed: int = 0) -> AtThreshold:
    """pF1 at one threshold, such as the one that a run or a bundle brings.

    Args:
        evaluation: of breasts that the threshold was not chosen on.
        threshold: a breast is recalled where its probability is at or above it.
        resamples: patient-level bootstrap resamples behind the interval; 0 leaves it out.
        seed: of the bootstrap.
    """
    rows = evaluation.breasts
    at = recalled(rows["probability"], threshold)
    fixed = sorted_breasts(rows, evaluation.points, evaluation.prevalence, at_fixed=at)
    name = "pf1_nested"  # of what is held fixed
    scored = score_breasts(fixed, resamples, seed, [name])
    share = float(np.average(at, weights=rows["weight"]))
    return AtThreshold(threshold, scored.data[name], scored.intervals.get(name), share)
