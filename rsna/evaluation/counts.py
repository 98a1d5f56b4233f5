"""Breasts sorted once, and their counts in many resamples at once: what every metric is computed from.

A resample of patients is a column of multiplicities: how often each patient was drawn; the data themselves are the
column of ones. Scores do not change between resamples, so breasts are sorted once, and a metric is a function of
weighted counts along that order. Only cuts at a positive's score matter: lowering a cut past negatives alone raises
neither sensitivity nor pF1, and precision-recall and ROC areas are sums over positives. So what is kept per resample
has as many entries as there are distinct scores among positives (492 at most in the competition's 23,826 breasts).
"""

import copy
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from numpy.typing import ArrayLike

from rsna.evaluation.breasts import negative_weight
from rsna.evaluation.checks import Bools, Floats, Ints


@dataclass(frozen=True)
class OperatingPoints:
    """What the metrics are measured at."""

    beta: float = 1.0
    """Weight of recall against precision in pF1, ≥ 0."""
    specificity: float = 0.9
    """Specificity, in (0, 1), that `sensitivity_at_specificity` is read at."""
    recall_rate: float = 0.1
    """Share of breasts recalled, in (0, 1), that `sensitivity_at_recall_rate` is read at."""
    low_recall_rate: float = 0.015
    """The same for `sensitivity_at_low_recall_rate`: the share that the challenge's best algorithm recalled, and so
    found 48.6 % of the cancers (Radiology 2025, abstract)."""
    bins: int = 15
    """Bins of equal mass for the expected calibration error, ≥ 1."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"beta must be a number ≥ 0, not {self.beta}")
        for name in ("specificity", "recall_rate", "low_recall_rate"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"{name} must lie in (0, 1), not {value}")
        if self.bins < 1:
            raise ValueError(f"bins must be ≥ 1, not {self.bins}")


class SortedBreasts:
    """Breasts of one run, by falling score.

    Args:
        positive: (n,) labels, n ≥ 1.
        scores: (n,) probabilities in [0, 1].
        patients: (n,) patient number, 0 … P - 1.
        folds: (n,) fold number, any integers; nested thresholds are chosen on the other folds *of the resample*. Or
            (deals, n) of several splits, over which nested pF1 is averaged on the data, and which take turns in
            resamples.
        points: operating points of the metrics.
        prevalence: share that positives are weighted to in every resample; None leaves weights alone.
        recalled: (n,) 1 or 0, NaN where there was no threshold to say so. Given, nested pF1 is that of these, held
            fixed: for rows whose thresholds come from elsewhere, such as the set that they are a part of.
    """

    def __init__(
        self,
        positive: Bools,
        scores: Floats,
        patients: Ints,
        folds: Ints,
        points: OperatingPoints = OperatingPoints(),
        prevalence: float | None = None,
        recalled: ArrayLike | None = None,
    ) -> None:
        if not scores.size:
            raise ValueError("a metric needs at least one row")
        order = np.argsort(-scores, kind="stable")
        self.positive, self.scores = positive[order], scores[order]
        self.patients, self._deals = patients[order], np.atleast_2d(folds)[:, order]
        self.folds = self._deals[0]
        self.n_patients = int(patients.max()) + 1
        self.points, self.prevalence = points, prevalence
        self.recalled = None if recalled is None else np.asarray(recalled, dtype=np.float64)[order]
        at_positives = np.unique(self.scores[self.positive])[::-1]
        self.cuts: Floats = at_positives if at_positives.size else self.scores[-1:]  # (cuts,) falling
        self.fold_names = np.unique(self.folds)

    @cached_property
    def deals(self) -> "list[SortedBreasts]":
        """The same breasts under each of the splits."""
        dealt = [copy.copy(self) for _ in self._deals]
        for one, folds in zip(dealt, self._deals, strict=True):
            one.__dict__.pop("fold_rows", None)
            one.folds, one.fold_names = folds, np.unique(folds)
        return dealt

    @property
    def width(self) -> int:
        """Numbers held for one resample, by which chunks are sized."""
        return int(self.scores.size + 2 * (self.fold_names.size + 4) * self.cuts.size)

    @cached_property
    def fold_rows(self) -> "list[_FoldRows]":
        """One entry a fold."""
        return [_FoldRows(self, int(fold)) for fold in self.fold_names]

    @cached_property
    def bin_starts(self) -> Ints:
        """(bins,) first row of each of the `mass_bins` of the whole set, which every resample shares."""
        return np.flatnonzero(np.append(True, np.diff(mass_bins(self.scores, self.points.bins)) != 0))


class Counts:
    """Weighted counts of some resamples: (R,) one number a resample, (cuts, R) one at each cut, lowest cut last.

    Args:
        breasts: what is counted.
        times: (P, R) how often each patient is in each resample.
        first: number of the first of these resamples; None for the data.
    """

    def __init__(self, breasts: SortedBreasts, times: Floats, first: int | None = None) -> None:
        self.breasts, self.points, self._times, self._first = breasts, breasts.points, times, first
        self.weight: Floats = np.ones(times.shape[1])  # (R,) of a negative, beside positives of weight 1
        self.positives, negatives = self.sums(np.ones(breasts.scores.size))
        if breasts.prevalence is not None:  # which holds in every resample, not on average
            self.weight = negative_weight(self.positives, negatives, breasts.prevalence)
        self.negatives = negatives * self.weight

    def sums(self, values: Floats) -> tuple[Floats, Floats]:
        """(n,) a quantity of each breast, in their order → its (R,) sums over positives and over weighted negatives."""
        by_patient = [
            np.bincount(self.breasts.patients[rows], weights=values[rows], minlength=self.breasts.n_patients)
            for rows in (self.breasts.positive, ~self.breasts.positive)
        ]
        # Not `@`: its threads, woken for so small a product, cost more than it where other processes are at work.
        over_positives, over_negatives = np.einsum("sp,pr->sr", np.stack(by_patient), self._times)
        return over_positives, over_negatives * self.weight

    def row_counts(self) -> Floats:
        """(n, R) weight of each breast, in their order."""
        times = self._times[self.breasts.patients]
        if self.breasts.prevalence is not None:
            times *= np.where(self.breasts.positive[:, None], 1.0, self.weight)
        return times

    @cached_property
    def tp(self) -> Floats:
        """(cuts, R) positives at or above each cut."""
        return reduce(np.add, [fold.tp for fold in self._folds])

    @cached_property
    def fp(self) -> Floats:
        """(cuts, R) negatives at or above each cut."""
        return self._unweighted_fp * self.weight

    @cached_property
    def hits(self) -> Floats:
        """(cuts, R) positives at each cut's very score."""
        return np.diff(self.tp, axis=0, prepend=0)

    @cached_property
    def tied(self) -> Floats:
        """(cuts, R) negatives at each cut's very score."""
        return self.fp - reduce(np.add, [fold.fp_above for fold in self._folds]) * self.weight

    def pf1(self, tp: Floats, fp: Floats) -> Floats:
        """(…, R) pF1 of (…, R) true and false positives; NaN without a positive, or where these are NaN."""
        return np.where((self.positives > 0) & ~np.isnan(tp), f_beta(tp, fp, self.positives, self.points.beta), np.nan)

    @cached_property
    def nested_thresholds(self) -> dict[int, Floats]:
        """fold → (R,) the best threshold of the other folds; NaN where these have no positive to choose by."""
        return {fold.name: self._best_outside(fold) for fold in self._folds}

    def nested_pf1(self) -> Floats:
        """(R,) pF1 with every fold cut at its nested threshold; NaN where one is undefined."""
        deals = self.breasts.deals
        if len(deals) == 1:
            return self._pf1_of_split()
        every = np.arange(self._times.shape[1])
        if self._first is None:
            found = [Counts(deal, self._times)._pf1_of_split() for deal in deals]
            return np.asarray(np.mean(found, axis=0))
        # All deals of every resample would take twenty times as long; in turn they put the noise of one deal into the
        # interval, which is then a little too wide for their mean.
        values = np.empty(every.size)
        for number, deal in enumerate(deals):
            turn = (self._first + every) % len(deals) == number
            if turn.any():
                values[turn] = Counts(deal, self._times[:, turn])._pf1_of_split()
        return values

    def _pf1_of_split(self) -> Floats:
        """(R,) nested pF1 of the first split alone."""
        tp, fp = np.zeros_like(self.positives), np.zeros_like(self.positives)
        for fold in self._folds:
            threshold = self.nested_thresholds[fold.name]
            fold_tp, fold_fp = fold.at(threshold)
            tp += np.where(np.isnan(threshold), np.nan, fold_tp)
            fp += fold_fp * self.weight
        return self.pf1(tp, fp)

    @cached_property
    def _unweighted_fp(self) -> Floats:
        return reduce(np.add, [fold.fp for fold in self._folds])

    @cached_property
    def _folds(self) -> "list[_FoldCounts]":
        return [_FoldCounts(rows, self._times) for rows in self.breasts.fold_rows]

    def _best_outside(self, fold: "_FoldCounts") -> Floats:
        # Weighted last: on whole counts equal cuts stay equal, and argmax takes the one that recalls fewest.
        tp = self.tp - fold.tp
        fp = (self._unweighted_fp - fold.fp) * self.weight
        cut = np.argmax(f_beta(tp, fp, tp[-1], self.points.beta), axis=0)  # (R,)
        # The threshold lies midway to the next lower score that is present outside the fold in this very resample.
        scores, n = self.breasts.scores, self.breasts.scores.size
        outside = np.append(np.where(self.breasts.folds != fold.name, np.arange(n), n), n)
        following = np.minimum.accumulate(outside[::-1])[::-1]  # (n + 1,) this row or the next outside the fold
        row = following[np.searchsorted(-scores, -self.breasts.cuts[cut], side="right")]
        column = np.arange(cut.size)
        while True:
            absent = (row < n) & (self._times[self.breasts.patients[np.minimum(row, n - 1)], column] == 0)
            if not absent.any():
                break
            row = np.where(absent, following[np.minimum(row + 1, n)], row)
        lower = np.append(scores, min(0.0, float(scores[-1])))[row]
        return np.where(tp[-1] > 0, between(lower, self.breasts.cuts[cut]), np.nan)


class _FoldRows:
    """Where the breasts of one fold lie among the cuts of all, which no resample changes."""

    def __init__(self, breasts: SortedBreasts, fold: int) -> None:
        self.name = fold
        positive = (breasts.folds == fold) & breasts.positive
        negative = (breasts.folds == fold) & ~breasts.positive
        self.positives, self.negatives = breasts.patients[positive], breasts.patients[negative]
        self.positive_falling, self.negative_falling = -breasts.scores[positive], -breasts.scores[negative]
        self.positives_at = np.searchsorted(self.positive_falling, -breasts.cuts, side="right")  # (cuts,)
        self.negatives_at = np.searchsorted(self.negative_falling, -breasts.cuts, side="right")
        self.negatives_above = np.searchsorted(self.negative_falling, -breasts.cuts, side="left")


class _FoldCounts:
    """Counts of one fold at the cuts of all, negatives unweighted."""

    def __init__(self, rows: _FoldRows, times: Floats) -> None:
        self.name, self._rows = rows.name, rows
        self._positives = _running(times[rows.positives])  # (positives + 1, R)
        self._negatives = _running(times[rows.negatives])  # (negatives + 1, R)
        self.tp = self._positives[rows.positives_at]  # (cuts, R)
        self.fp = self._negatives[rows.negatives_at]
        self.fp_above = self._negatives[rows.negatives_above]

    def at(self, threshold: Floats) -> tuple[Floats, Floats]:
        """(R,) thresholds → (R,) true and (R,) false positives of the fold."""
        column = np.arange(threshold.size)
        tp = self._positives[np.searchsorted(self._rows.positive_falling, -threshold, side="right"), column]
        fp = self._negatives[np.searchsorted(self._rows.negative_falling, -threshold, side="right"), column]
        return tp, fp


def _running(counts: Floats) -> Floats:
    """(n, R) → (n + 1, R) sums of the first 0 … n rows."""
    sums = np.zeros((counts.shape[0] + 1, counts.shape[1]))
    np.cumsum(counts, axis=0, out=sums[1:])
    return sums


def f_beta(tp: ArrayLike, fp: ArrayLike, positives: ArrayLike, beta: float = 1.0) -> Floats:
    """F-beta from counts of any shape: (1 + β²)·TP / (TP + FP + β²·positives), and 0 where TP is 0.

    The same as (1 + β²)·P·R / (β²·P + R) without its 0/0; on whole counts it is exact to the last rounding, so that
    equal scores compare equal.
    """
    if not (np.isfinite(beta) and beta >= 0):
        raise ValueError(f"beta must be a number ≥ 0, not {beta}")
    hits = np.asarray(tp, dtype=np.float64)
    bottom = hits + np.asarray(fp, dtype=np.float64) + beta**2 * np.asarray(positives, dtype=np.float64)
    return np.divide((1 + beta**2) * hits, bottom, out=np.zeros(np.shape(bottom)), where=(hits > 0) & (bottom > 0))


def between(lower: ArrayLike, upper: ArrayLike) -> Floats:
    """Midpoint of (lower, upper]; `upper` itself where no number lies between them."""
    low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    middle = low + (high - low) / 2
    return np.where(middle > low, middle, high)


def mass_bins(probabilities: ArrayLike, bins: int) -> Ints:
    """(n,) bin number of each row, bins of equal mass (as many rows each as ties allow), rising with the probability.

    Equal scores share a bin, so there may be fewer bins than asked for. Equal width would put nearly all breasts of a
    screening set into the lowest bin.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    edges = np.unique(np.quantile(scores, inner, method="higher"))
    return np.unique(np.searchsorted(edges, scores, side="left"), return_inverse=True)[1].astype(np.int64)
