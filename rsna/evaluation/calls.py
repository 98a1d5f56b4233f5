"""A threshold brought from elsewhere on the breasts of an evaluation: what a submission with it would have scored."""

from dataclasses import dataclass

import numpy as np

from rsna.evaluation.bootstrap import LEVEL, RESAMPLES, Interval, resample
from rsna.evaluation.metrics import Evaluation, ledger_of
from rsna.evaluation.pf1 import pf1
from rsna.evaluation.tables import interval_text, number
from rsna.evaluation.threshold import recalled


@dataclass(frozen=True)
class Calls:
    """Breasts cut at one threshold that was not chosen on them."""

    threshold: float
    pf1: float
    interval: Interval | None
    """Patient-level, the calls held fixed; None where no resamples were asked for."""
    recalled: float
    """Share of the (weighted) breasts at or above the threshold."""

    def line(self) -> str:
        """What stands under a table."""
        ends = "" if self.interval is None else f" ({LEVEL:.0%} interval {interval_text(self.interval)})"
        return (
            f"pF1 at the run's threshold {self.threshold:.4f}: {number(self.pf1)}{ends}, share recalled "
            f"{self.recalled:.2%}"
        )


def score_calls(evaluation: Evaluation, threshold: float, resamples: int = RESAMPLES, seed: int = 0) -> Calls:
    """Scores the calls of one threshold, such as the one that a run or a bundle brings.

    Args:
        evaluation: of breasts that the threshold was not chosen on.
        threshold: a breast is recalled where its probability is at or above it.
        resamples: patient-level bootstrap resamples behind the interval; 0 leaves it out.
        seed: of the bootstrap.
    """
    breasts = evaluation.breasts
    positive, w = breasts["cancer"].to_numpy() == 1, breasts["weight"].to_numpy()
    calls = recalled(breasts["probability"], threshold)
    interval = None
    if resamples:
        ledger = ledger_of(breasts, evaluation.points, evaluation.prevalence, calls)
        interval = resample([ledger], resamples, seed)[0].interval("pf1_nested")
    score = pf1(positive, calls, evaluation.points.beta, w)
    return Calls(threshold, score, interval, float(np.average(calls, weights=w)))
