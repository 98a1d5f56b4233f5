"""What a cut does to a population: operating points by the share that is recalled, and net benefit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from rsna.evaluation.bootstrap import Interval, score_breasts
from rsna.evaluation.checks import Floats, as_labels, as_scores, as_weights
from rsna.evaluation.counts import between
from rsna.evaluation.evaluate import Evaluation, sorted_breasts
from rsna.evaluation.metrics import ROUNDING
from rsna.evaluation.tables import Plain
from rsna.evaluation.threshold import threshold_curve

RECALL_RATES = (0.015, 0.05, 0.1)
"""Shares of breasts recalled: of the challenge's best algorithm, and about those of European and American readers."""


@dataclass(frozen=True)
class OperatingPoint(Plain):
    """The cut that recalls as many breasts as a share allows, and what it does; shares are weighted as the metrics."""

    rate: float
    """Share that may be recalled at most."""
    threshold: float
    """Recalled is what reaches it; where even the highest score is shared by more, 1, or NaN where that score is 1."""
    recalled: float
    """Share that is recalled."""
    sensitivity: float
    specificity: float
    """NaN without a negative."""
    precision: float
    """Positive predictive value; NaN where nothing is recalled."""
    found: float
    """Positives recalled in 1,000 breasts."""
    interval: Interval | None = None
    """Of the sensitivity, the cut chosen anew in each resample of patients."""


def operating_points(
    evaluation: Evaluation, rates: Sequence[float] = RECALL_RATES, resamples: int = 0, seed: int = 0
) -> list[OperatingPoint]:
    """One entry a rate, each in (0, 1); without ``resamples`` no intervals.

    The cuts are chosen on the very breasts that they are reported on: what a rate promises, not a tested threshold.
    """
    breasts = evaluation.breasts
    positive, scores = breasts["cancer"].to_numpy() == 1, breasts["probability"].to_numpy()
    w = breasts["weight"].to_numpy()
    curve = threshold_curve(positive, scores, weights=w)
    found = []
    for rate in rates:
        cut = int(np.searchsorted(curve.recalled, rate + ROUNDING, side="right")) - 1
        if cut >= 0:
            threshold = float(between(curve.lower(cut), curve.scores[cut]))
        else:  # no cut leaves out a score of 1
            threshold = 1.0 if curve.scores[0] < 1 else float("nan")
        at = scores >= curve.scores[cut] if cut >= 0 else np.zeros(len(scores), dtype=bool)
        tp, fp = float(w[positive & at].sum()), float(w[~positive & at].sum())
        negatives = float(w[~positive].sum())
        point = OperatingPoint(
            rate=rate,
            threshold=threshold,
            recalled=(tp + fp) / float(w.sum()),
            sensitivity=tp / float(w[positive].sum()),
            specificity=1 - fp / negatives if negatives else float("nan"),
            precision=tp / (tp + fp) if tp + fp else float("nan"),
            found=1000 * tp / float(w.sum()),
        )
        if resamples:
            name, points = "sensitivity_at_recall_rate", replace(evaluation.points, recall_rate=rate)
            rows = sorted_breasts(breasts, points, evaluation.prevalence, evaluation.splits)
            point = replace(point, interval=score_breasts(rows, resamples, seed, [name]).intervals[name])
        found.append(point)
    return found


def net_benefit(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike, weights: ArrayLike | None = None
) -> Floats:
    """(T,) share of true recalls less that of false ones, these at the odds of the threshold (Vickers and Elkin, 2006).

    Whoever recalls at a probability of t holds a missed cancer to be (1 - t) / t times as bad as a false alarm. The
    unit is true recalls in one breast.

    Args:
        labels: (n,) of 0 and 1.
        probabilities: (n,) in [0, 1].
        thresholds: (T,) in (0, 1).
        weights: (n,) ≥ 0.
    """
    positive = as_labels(labels)
    scores, w = as_scores(probabilities, positive.size), as_weights(weights, positive.size)
    t = np.asarray(thresholds, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    first = np.searchsorted(scores[order], t, side="left")  # of those recalled
    above = [np.append(np.cumsum((w * side)[order][::-1])[::-1], 0.0)[first] for side in (positive, ~positive)]
    return np.asarray((above[0] - above[1] * t / (1 - t)) / w.sum())
