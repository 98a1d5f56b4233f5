"""The metrics: each one function and one row of METRICS. To add one, write both, and its test.

A function takes the `Counts` of some resamples and returns (R,) values, NaN where a resample leaves it undefined. The
value on the data is that of the resample that holds each patient once, so there is no second implementation.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rsna.evaluation.checks import Bools, Floats, as_labels, as_scores, as_weights
from rsna.evaluation.counts import Counts, OperatingPoints, SortedBreasts

ROUNDING = 1e-9
"""Share of a total that an operating point may miss by: weighted sums are not exact."""


def pf1_raw(c: Counts) -> Floats:
    """pF1 of the probabilities."""
    return c.pf1(*c.sums(c.breasts.scores))


def pf1_nested(c: Counts) -> Floats:
    """pF1 with each fold's breasts cut at the threshold chosen on the other folds: the metric to report."""
    return c.nested_pf1() if c.breasts.recalled is None else c.pf1(*c.sums(c.breasts.recalled))


def pf1_optimistic(c: Counts) -> Floats:
    """pF1 at the best threshold of these very breasts."""
    return np.asarray(c.pf1(c.tp, c.fp).max(axis=0))


def optimism_gap(c: Counts) -> Floats:
    """What choosing and reporting on the same breasts adds."""
    return pf1_optimistic(c) - pf1_nested(c)


def auroc(c: Counts) -> Floats:
    """Area under the ROC curve, ties counted half."""
    above = c.negatives - c.fp + c.tied / 2  # (cuts, R) negatives that a positive at the cut outranks
    return np.asarray((c.hits * above).sum(axis=0) / (c.positives * c.negatives))


def auprc(c: Counts) -> Floats:
    """Average precision: area under the precision-recall steps."""
    precision = np.divide(c.tp, c.tp + c.fp, out=np.zeros_like(c.tp), where=c.tp > 0)
    return np.asarray((c.hits * precision).sum(axis=0) / c.positives)


def sensitivity_at_specificity(c: Counts) -> Floats:
    """Highest sensitivity of a cut with at least that specificity; no interpolation."""
    best = _best_sensitivity(c, c.fp <= (1 - c.points.specificity + ROUNDING) * c.negatives)
    return np.where(c.negatives > 0, best, np.nan)


def sensitivity_at_recall_rate(c: Counts) -> Floats:
    """Highest sensitivity of a cut that recalls at most that share of breasts."""
    return _best_sensitivity(c, c.tp + c.fp <= (c.points.recall_rate + ROUNDING) * (c.positives + c.negatives))


def sensitivity_at_low_recall_rate(c: Counts) -> Floats:
    """The same at the rate of the challenge's best algorithm."""
    return _best_sensitivity(c, c.tp + c.fp <= (c.points.low_recall_rate + ROUNDING) * (c.positives + c.negatives))


def _best_sensitivity(c: Counts, allowed: Bools) -> Floats:
    """(cuts, R) whether a cut is allowed → (R,) highest sensitivity of those that are, 0 where none is."""
    return np.asarray(np.where(allowed, c.tp, 0.0).max(axis=0) / c.tp[-1])


def brier(c: Counts) -> Floats:
    """Mean squared distance between probability and label."""
    over_positives, over_negatives = c.sums((c.breasts.scores - c.breasts.positive) ** 2)
    return (over_positives + over_negatives) / (c.positives + c.negatives)


def calibration_error(c: Counts) -> Floats:
    """Expected calibration error: mean over `mass_bins` of |mean probability - share of positives|, by bin weight."""
    surplus = c.row_counts() * (c.breasts.scores - c.breasts.positive)[:, None]  # (n, R)
    by_bin = np.add.reduceat(surplus, c.breasts.bin_starts, axis=0)  # (bins, R)
    return np.asarray(np.abs(by_bin).sum(axis=0) / (c.positives + c.negatives))


def calibration_floor(breasts: SortedBreasts, draws: int = 200, seed: int = 0) -> float:
    """Mean calibration error of probabilities that mean what they say, on as many breasts in the same bins.

    The error is a mean of absolute values, so that chance alone raises it: labels are drawn from the probabilities
    themselves, and what is found then is no fault of theirs.
    """
    counts = Counts(breasts, np.ones((breasts.n_patients, 1)))
    weight, p = float(counts.weight[0]), breasts.scores
    # In a set that weighs its negatives, p is the weighted share of positives.
    of_drawn = p * weight / (p * weight + 1 - p)
    random = np.random.default_rng([seed, 6])
    found = []
    for _ in range(draws):
        positive = random.random(p.size) < of_drawn
        surplus = np.where(positive, p - 1, weight * p)
        by_bin = np.add.reduceat(surplus, breasts.bin_starts)
        found.append(np.abs(by_bin).sum() / np.where(positive, 1, weight).sum())
    return float(np.mean(found))


@dataclass(frozen=True)
class Metric:
    """One row of the table."""

    name: str
    """In code, JSON and CSV."""
    title: str
    """In tables for people."""
    function: Callable[[Counts], Floats]
    needs_probabilities: bool = False
    """Whether it means nothing of ranks, which only order breasts. All others read the order, or cuts of it, alone."""
    recentred: bool = False
    """Whether it chooses a cut, or takes absolute values, within each resample, which shifts all of them one way."""
    low_is_best: bool = False
    """Whether less of it is better."""
    on_logits: bool = False
    """Whether its interval is symmetric on the logit; see `rsna.evaluation.bootstrap`."""
    low: float = 0.0
    """Least value that it can have."""
    high: float = 1.0
    """Greatest value that it can have; no interval goes beyond."""
    point: str = ""
    """Operating point that it is read at, which its title then ends on."""

    def title_at(self, points: OperatingPoints) -> str:
        """`sensitivity at specificity 0.9`."""
        return f"{self.title} {getattr(points, self.point):g}" if self.point else self.title


METRICS = {
    metric.name: metric
    for metric in (
        Metric("pf1_raw", "pF1 raw", pf1_raw, needs_probabilities=True),
        Metric("pf1_nested", "pF1 nested", pf1_nested, recentred=True),
        Metric("pf1_optimistic", "pF1 optimistic", pf1_optimistic, recentred=True),
        Metric("optimism_gap", "optimism gap", optimism_gap, recentred=True, low_is_best=True, low=-1.0),
        Metric("auroc", "AUROC", auroc, on_logits=True),
        Metric("auprc", "AUPRC", auprc, on_logits=True),
        Metric(
            "sensitivity_at_specificity", "sensitivity at specificity", sensitivity_at_specificity, point="specificity"
        ),
        Metric(
            "sensitivity_at_recall_rate", "sensitivity at recall rate", sensitivity_at_recall_rate, point="recall_rate"
        ),
        Metric(
            "sensitivity_at_low_recall_rate",
            "sensitivity at low recall rate",
            sensitivity_at_low_recall_rate,
            point="low_recall_rate",
        ),
        Metric("brier", "Brier score", brier, needs_probabilities=True, low_is_best=True),
        Metric(
            "calibration_error",
            "calibration error",
            calibration_error,
            needs_probabilities=True,
            recentred=True,
            low_is_best=True,
        ),
    )
}
"""Name → metric, in the order in which tables show them."""


def metrics_of(
    breasts: SortedBreasts, times: Floats, names: Iterable[str] = tuple(METRICS), first: int | None = None
) -> dict[str, Floats]:
    """Name → (R,) values of the named metrics, and no work for others.

    Args:
        breasts: what is scored.
        times: (P, R) how often each patient is in each resample.
        names: in METRICS.
        first: number of the first resample; None for the data.
    """
    counts = Counts(breasts, times, first)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 is NaN: undefined
        return {name: METRICS[name].function(counts) for name in names}


def metrics_of_data(breasts: SortedBreasts, names: Iterable[str] = tuple(METRICS)) -> dict[str, float]:
    """Name → value with each patient once."""
    values = metrics_of(breasts, np.ones((breasts.n_patients, 1)), names)
    return {name: float(value[0]) for name, value in values.items()}


def score(
    name: str,
    labels: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike | None = None,
    points: OperatingPoints = OperatingPoints(),  # noqa: B008 (frozen)
) -> float:
    """One metric of single rows; NaN where they leave it undefined.

    Args:
        name: in METRICS; none that is nested, since rows have no folds.
        labels: (n,) of 0 and 1, n ≥ 1.
        probabilities: (n,) finite.
        weights: (n,) ≥ 0; a row of weight 2 counts as that row twice, one of weight 0 as absent.
        points: operating points of the metrics.
    """
    positive = as_labels(labels)
    rows = np.arange(positive.size)
    breasts = SortedBreasts(positive, as_scores(probabilities, positive.size), rows, np.zeros_like(rows), points)
    # Each row is its own patient, drawn as often as it weighs.
    return float(metrics_of(breasts, as_weights(weights, positive.size)[:, None], [name])[name][0])


def pf1(labels: ArrayLike, probabilities: ArrayLike, beta: float = 1.0, weights: ArrayLike | None = None) -> float:
    """The competition's pfbeta: F-beta where a prediction of p counts as p of a positive one.

    With pTP the sum of p over positives and pFP the sum over negatives, precision is pTP / (pTP + pFP), recall
    pTP / positives, and the score (1 + β²)·P·R / (β²·P + R); 0 where nothing is predicted.

    Args:
        labels: (n,) of 0 and 1.
        probabilities: (n,) finite; clipped to [0, 1] as the competition does. For the score at t give the 0 and 1 of
            `rsna.evaluation.threshold.recalled`.
        beta: weight of recall against precision, ≥ 0.
        weights: (n,) ≥ 0; a row of weight 2 counts as that row twice, one of weight 0 as absent.

    Raises:
        ValueError: no positive label (with a weight above 0), or arrays that are not as above.
    """
    positive = as_labels(labels)
    if not as_weights(weights, positive.size)[positive].any():
        raise ValueError(f"pF1 needs at least one positive label; none of the {positive.size} rows has one")
    p = np.clip(as_scores(probabilities, positive.size), 0.0, 1.0)
    return score("pf1_raw", positive, p, weights, OperatingPoints(beta=beta))


def pf1_of_ones(prevalence: float, beta: float = 1.0) -> float:
    """What predicting 1 everywhere scores: (1 + β²)π / (β²π + 1), for β = 1 the familiar 2π / (1 + π)."""
    return (1 + beta**2) * prevalence / (beta**2 * prevalence + 1)
