"""Probabilistic F1, the competition's metric (pfbeta, β = 1)."""

import numpy as np
from numpy.typing import ArrayLike

from rsna.evaluation.arrays import Floats, as_labels, as_scores, as_weights


def pf1(labels: ArrayLike, probabilities: ArrayLike, beta: float = 1.0, weights: ArrayLike | None = None) -> float:
    """The competition's pfbeta: F-beta where a prediction of p counts as p of a positive call.

    With pTP the sum of p over positives and pFP the sum over negatives, precision is pTP / (pTP + pFP), recall
    pTP / positives, and the score (1 + β²)·P·R / (β²·P + R); 0 where nothing is predicted.

    Args:
        labels: (n,) of 0 and 1.
        probabilities: (n,) finite; clipped to [0, 1] as the competition does. For the score after a threshold give
            the 0/1 calls of `rsna.evaluation.threshold.recalled`.
        beta: weight of recall against precision, ≥ 0.
        weights: (n,) ≥ 0; a row of weight 2 counts as that row twice, one of weight 0 as absent.

    Raises:
        ValueError: no positive label (with a weight above 0), or arrays that are not as above.
    """
    positive = as_labels(labels)
    p = np.clip(as_scores(probabilities, positive.size), 0.0, 1.0)
    w = as_weights(weights, positive.size)
    positives = float(w[positive].sum())
    if positives <= 0:
        raise ValueError(f"pF1 needs at least one positive label; none of the {positive.size} rows has one")
    weighted = w * p
    return float(f_beta(weighted[positive].sum(), weighted[~positive].sum(), positives, beta))


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


def pf1_of_ones(prevalence: float, beta: float = 1.0) -> float:
    """What predicting 1 everywhere scores: (1 + β²)π / (β²π + 1), for β = 1 the familiar 2π / (1 + π)."""
    return (1 + beta**2) * prevalence / (beta**2 * prevalence + 1)
