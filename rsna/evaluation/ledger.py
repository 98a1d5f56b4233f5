"""All figures of many resamples at once.

A resample of patients is a row of multiplicities: how often each patient was drawn. Scores do not change between
resamples, so breasts are sorted once; every figure is then a function of multiplicity-weighted sums over runs of that
order. Only cuts at a positive's score matter: lowering a cut past negatives alone raises neither sensitivity nor pF1,
and precision-recall and ROC areas are sums over positives. So what is kept per resample has as many entries as there
are distinct scores among positives (492 at most in the competition's 23,826 breasts).
"""

from collections.abc import Mapping

import numpy as np

from rsna.evaluation.arrays import Bools, Floats, Ints
from rsna.evaluation.pf1 import f_beta
from rsna.evaluation.prevalence import negative_weight
from rsna.evaluation.scores import ROUNDING, OperatingPoints, best_sensitivity, mass_bins
from rsna.evaluation.threshold import between

FIGURES = (
    "pf1_raw",
    "pf1_nested",
    "pf1_optimistic",
    "optimism_gap",
    "auroc",
    "auprc",
    "sensitivity_at_specificity",
    "sensitivity_at_recall_rate",
    "brier",
    "calibration_error",
)
"""The figures of a run, in the order in which tables show them."""


class Ledger:
    """Breasts of one run, sorted for resampling.

    Args:
        positive: (n,) labels, at least one True.
        scores: (n,) probabilities in [0, 1].
        patients: (n,) patient number, 0 … P - 1.
        folds: (n,) fold number, any integers; nested thresholds are chosen on the other folds *of the resample*.
        points: operating points of the figures.
        prevalence: share that positives are weighted to in every resample; None leaves weights alone.
        calls: (n,) whether each breast is recalled. Given, `pf1_nested` is the pF1 of these calls, held fixed: for
            rows whose thresholds come from a larger set.
    """

    def __init__(
        self,
        positive: Bools,
        scores: Floats,
        patients: Ints,
        folds: Ints,
        points: OperatingPoints,
        prevalence: float | None = None,
        calls: Bools | None = None,
    ) -> None:
        order = np.argsort(-scores, kind="stable")
        self.positive, self.scores = positive[order], scores[order]
        self.patients, self.folds = patients[order], folds[order]
        self.points, self.prevalence = points, prevalence
        self.cuts: Floats = np.unique(self.scores[self.positive])[::-1]  # (cuts,) falling
        self.fold_names = np.unique(self.folds)
        bins = mass_bins(self.scores, points.bins)  # those of the whole set, in every resample
        self._bin_starts = np.flatnonzero(np.append(True, np.diff(bins) != 0))
        sums = {
            **_by_class("count", np.ones(scores.size), self.positive, self.patients),
            **_by_class("mass", self.scores, self.positive, self.patients),
            **_by_class("squares", (self.scores - self.positive) ** 2, self.positive, self.patients),
        }
        if calls is not None:
            sums |= _by_class("calls", calls[order].astype(np.float64), self.positive, self.patients)
        self._names, self._sums = list(sums), np.stack(list(sums.values()))  # (sums, P)

    @property
    def width(self) -> int:
        """Numbers held for one resample, by which chunks are sized."""
        return int(self.scores.size + 2 * (self.fold_names.size + 4) * self.cuts.size)

    def figures(self, counts: Floats) -> dict[str, Floats]:
        """Every name in FIGURES → (R,) values, NaN where a resample leaves one undefined.

        Args:
            counts: (P, R) how often each patient is in each resample; some positive in each.
        """
        # Not `@`: its threads, woken for so small a product, cost more than it where other processes are at work.
        sums = dict(zip(self._names, np.einsum("sp,pr->sr", self._sums, counts), strict=True))  # (R,) each
        positives = sums["count_positive"]
        weight = self._negative_weight(positives, sums["count_negative"])
        folds = [_FoldCounts(self, fold, counts) for fold in self.fold_names]
        fixed = "calls_positive" in sums
        nested = self._soft("calls", sums, weight) if fixed else self._nested(folds, counts, weight)
        tp = np.sum([fold.tp for fold in folds], axis=0)  # (cuts, R)
        fp = np.sum([fold.fp for fold in folds], axis=0) * weight
        tied = fp - np.sum([fold.fp_above for fold in folds], axis=0) * weight  # negatives at the cut's very score
        negatives = sums["count_negative"] * weight  # (R,)
        optimistic = f_beta(tp, fp, positives, self.points.beta).max(axis=0)
        hits = np.diff(tp, axis=0, prepend=0)  # (cuts, R) positives at the cut's score
        everyone = positives + negatives
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=tp > 0)
            auroc = (hits * (negatives - fp + tied / 2)).sum(axis=0) / (positives * negatives)
            specific = best_sensitivity(tp, fp <= (1 - self.points.specificity + ROUNDING) * negatives)
        return {
            "pf1_raw": self._soft("mass", sums, weight),
            "pf1_nested": nested,
            "pf1_optimistic": optimistic,
            "optimism_gap": optimistic - nested,
            "auroc": auroc,
            "auprc": (hits * precision).sum(axis=0) / positives,
            "sensitivity_at_specificity": np.where(negatives > 0, specific, np.nan),
            "sensitivity_at_recall_rate": best_sensitivity(
                tp, tp + fp <= (self.points.recall_rate + ROUNDING) * everyone
            ),
            "brier": (sums["squares_positive"] + sums["squares_negative"] * weight) / everyone,
            "calibration_error": self._calibration_error(counts, weight) / everyone,
        }

    def _negative_weight(self, positives: Floats, negatives: Floats) -> Floats:
        """(R,) weight of a negative; the stated prevalence holds in every resample, not on average."""
        if self.prevalence is None:
            return np.ones(positives.shape)
        return negative_weight(positives, negatives, self.prevalence)

    def _soft(self, name: str, sums: Mapping[str, Floats], weight: Floats) -> Floats:
        """(R,) pF1 of a per-breast quantity in [0, 1]: probabilities, or calls."""
        tp, fp = sums[f"{name}_positive"], sums[f"{name}_negative"] * weight
        return f_beta(tp, fp, sums["count_positive"], self.points.beta)

    def _calibration_error(self, counts: Floats, weight: Floats) -> Floats:
        """(R,) sum over the bins of |probabilities less positives|."""
        surplus = counts[self.patients] * (self.scores - self.positive)[:, None]  # (n, R)
        if self.prevalence is not None:
            surplus *= np.where(self.positive[:, None], 1.0, weight)
        return np.asarray(np.abs(np.add.reduceat(surplus, self._bin_starts, axis=0)).sum(axis=0))

    def _nested(self, folds: "list[_FoldCounts]", counts: Floats, weight: Floats) -> Floats:
        """(R,) pF1 with every fold cut at the best threshold of the others, chosen anew in each resample."""
        tp = np.sum([fold.tp for fold in folds], axis=0)  # (cuts, R)
        fp = np.sum([fold.fp for fold in folds], axis=0)
        hits = np.zeros(counts.shape[1])
        alarms = np.zeros(counts.shape[1])
        undefined = np.zeros(counts.shape[1], dtype=np.bool_)
        for fold in folds:
            # Weighted last: on whole counts equal cuts stay equal, and argmax takes the one that recalls fewest.
            other_tp, other_fp = tp - fold.tp, (fp - fold.fp) * weight
            undefined |= other_tp[-1] <= 0
            cut = np.argmax(f_beta(other_tp, other_fp, other_tp[-1], self.points.beta), axis=0)
            fold_hits, fold_alarms = fold.at(self._threshold(cut, fold.name, counts))
            hits += fold_hits
            alarms += fold_alarms * weight
        score = f_beta(hits, alarms, tp[-1], self.points.beta)
        return np.where(undefined, np.nan, score)

    def _threshold(self, cut: Ints, fold: int, counts: Floats) -> Floats:
        """(R,) midway between the cut's score and the next lower one that is present outside the fold."""
        n = self.scores.size
        outside = np.append(np.where(self.folds != fold, np.arange(n), n), n)
        following = np.minimum.accumulate(outside[::-1])[::-1]  # (n + 1,) this row or the next outside the fold
        row = following[np.searchsorted(-self.scores, -self.cuts[cut], side="right")]
        column = np.arange(cut.size)
        while True:
            absent = (row < n) & (counts[self.patients[np.minimum(row, n - 1)], column] == 0)
            if not absent.any():
                break
            row = np.where(absent, following[np.minimum(row + 1, n)], row)
        lower = np.append(self.scores, min(0.0, float(self.scores[-1])))[row]
        return between(lower, self.cuts[cut])


class _FoldCounts:
    """Resampled counts of one fold at the ledger's cuts, negatives unweighted."""

    def __init__(self, ledger: Ledger, fold: int, counts: Floats) -> None:
        self.name = int(fold)
        sick = (ledger.folds == fold) & ledger.positive
        well = (ledger.folds == fold) & ~ledger.positive
        self._sick_falling, self._well_falling = -ledger.scores[sick], -ledger.scores[well]
        self._sick = _running(counts[ledger.patients[sick]])  # (sick + 1, R)
        self._well = _running(counts[ledger.patients[well]])  # (well + 1, R)
        self.tp = self._sick[np.searchsorted(self._sick_falling, -ledger.cuts, side="right")]  # (cuts, R)
        self.fp = self._well[np.searchsorted(self._well_falling, -ledger.cuts, side="right")]
        self.fp_above = self._well[np.searchsorted(self._well_falling, -ledger.cuts, side="left")]

    def at(self, threshold: Floats) -> tuple[Floats, Floats]:
        """(R,) thresholds → (R,) true and (R,) false positives of the fold."""
        column = np.arange(threshold.size)
        hits = self._sick[np.searchsorted(self._sick_falling, -threshold, side="right"), column]
        alarms = self._well[np.searchsorted(self._well_falling, -threshold, side="right"), column]
        return hits, alarms


def _running(counts: Floats) -> Floats:
    """(n, R) → (n + 1, R) sums of the first 0 … n rows."""
    sums = np.zeros((counts.shape[0] + 1, counts.shape[1]))
    np.cumsum(counts, axis=0, out=sums[1:])
    return sums


def _by_class(name: str, values: Floats, positive: Bools, patients: Ints) -> dict[str, Floats]:
    """Per-patient sums of a per-breast quantity, over positives and over negatives: (P,) each."""
    size = int(patients.max()) + 1
    return {
        f"{name}_{kind}": np.bincount(patients[rows], weights=values[rows], minlength=size).astype(np.float64)
        for kind, rows in (("positive", positive), ("negative", ~positive))
    }
