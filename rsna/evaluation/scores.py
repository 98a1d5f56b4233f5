"""Figures of ranking and calibration that stand beside pF1."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, roc_auc_score

from rsna.evaluation.arrays import Bools, Floats, Ints, as_labels, as_scores, as_weights

ROUNDING = 1e-9
"""Share of a total that an operating point may miss by: weighted sums are not exact."""


@dataclass(frozen=True)
class OperatingPoints:
    """What the figures are measured at."""

    beta: float = 1.0
    """Weight of recall against precision in pF1, ≥ 0."""
    specificity: float = 0.9
    """Specificity, in (0, 1), that `sensitivity_at_specificity` is read at."""
    recall_rate: float = 0.1
    """Share of breasts called back, in (0, 1), that `sensitivity_at_recall_rate` is read at."""
    bins: int = 15
    """Bins of equal mass for the expected calibration error, ≥ 1."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"beta must be a number ≥ 0, not {self.beta}")
        for name, value in (("specificity", self.specificity), ("recall_rate", self.recall_rate)):
            if not 0 < value < 1:
                raise ValueError(f"{name} must lie in (0, 1), not {value}")
        if self.bins < 1:
            raise ValueError(f"bins must be ≥ 1, not {self.bins}")


def auroc(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve, ties counted half; NaN where a class is missing."""
    positive, scores, w = _checked(labels, probabilities, weights)
    if w[positive].sum() == 0 or w[~positive].sum() == 0:
        return float("nan")
    return float(roc_auc_score(positive, scores, sample_weight=w))


def auprc(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Average precision (area under the precision-recall steps); NaN without a positive."""
    positive, scores, w = _checked(labels, probabilities, weights)
    if w[positive].sum() == 0:
        return float("nan")
    return float(average_precision_score(positive, scores, sample_weight=w))


def brier(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean squared distance between probability and label."""
    positive, scores, w = _checked(labels, probabilities, weights)
    return float(np.average((scores - positive) ** 2, weights=w)) if w.sum() > 0 else float("nan")


def calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None, bins: int = 15
) -> float:
    """Expected calibration error: mean over `mass_bins` of |mean probability - share of positives|, by bin weight."""
    positive, scores, w = _checked(labels, probabilities, weights)
    if w.sum() == 0:
        return float("nan")
    members = mass_bins(scores, bins)
    return float(np.abs(np.bincount(members, weights=w * (scores - positive))).sum() / w.sum())


def mass_bins(probabilities: ArrayLike, bins: int) -> Ints:
    """(n,) bin number of each row, bins of equal mass (as many rows each as ties allow), rising with the probability.

    Equal scores share a bin, so there may be fewer bins than asked for. Equal width would put nearly all breasts of a
    screening set into the lowest bin.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    edges = np.unique(np.quantile(scores, inner, method="higher"))
    return np.unique(np.searchsorted(edges, scores, side="left"), return_inverse=True)[1].astype(np.int64)


def sensitivity_at_specificity(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None, specificity: float = 0.9
) -> float:
    """Highest sensitivity of a cut with at least that specificity; no interpolation. NaN where a class is missing."""
    tp, fp = _cuts(*_checked(labels, probabilities, weights))
    if tp[-1] == 0 or fp[-1] == 0:
        return float("nan")
    return float(best_sensitivity(tp, fp <= (1 - specificity + ROUNDING) * fp[-1]))


def sensitivity_at_recall_rate(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None, recall_rate: float = 0.1
) -> float:
    """Highest sensitivity of a cut that calls back at most that share of breasts. NaN without a positive."""
    tp, fp = _cuts(*_checked(labels, probabilities, weights))
    if tp[-1] == 0:
        return float("nan")
    return float(best_sensitivity(tp, tp + fp <= (recall_rate + ROUNDING) * (tp[-1] + fp[-1])))


def best_sensitivity(tp: Floats, allowed: Bools) -> Floats:
    """Highest sensitivity over the allowed cuts, 0 where none is.

    Args:
        tp: (cuts, …) true positives, rising along the cuts to all positives in the last.
        allowed: (cuts, …) whether the cut meets the condition.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(allowed, tp, 0.0).max(axis=0) / tp[-1])


def _cuts(positive: Bools, scores: Floats, w: Floats) -> tuple[Floats, Floats]:
    """(cuts,) weighted true and false positives, from the highest distinct score down to all rows."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) < 0, True))
    tp = np.cumsum((w * positive)[order])[last]
    fp = np.cumsum((w * ~positive)[order])[last]
    return tp, fp


def _checked(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None) -> tuple[Bools, Floats, Floats]:
    positive = as_labels(labels)
    if positive.size == 0:
        raise ValueError("a metric needs at least one row")
    return positive, as_scores(probabilities, positive.size), as_weights(weights, positive.size)
