"""Two runs on the same breasts: is one better, or is it noise?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rsna.evaluation.bootstrap import LEVEL, RESAMPLES, Difference, difference, resample
from rsna.evaluation.checks import PredictionError, offenders
from rsna.evaluation.evaluate import Evaluation, sorted_breasts
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.tables import Plain, Rows, Tables, interval_text, number


@dataclass(frozen=True)
class Comparison(Plain, Tables):
    """Every metric that both have of a first run less that of a second, from paired resamples."""

    differences: Mapping[str, Difference]
    """Name in METRICS → difference; without those that need probabilities where one of the two has none."""
    resamples: int
    redrawn: int
    """Resamples drawn again because they held no positive breast."""
    level: float = LEVEL
    """Nominal coverage of the intervals."""

    def parts(self) -> list[Rows | str]:
        """The differences."""
        rows = [["", "difference", f"{self.level:.0%} interval", "p"]]
        for name, gap in self.differences.items():
            title = METRICS[name].title
            rows.append([title, number(gap.value, sign=True), interval_text(gap.interval), number(gap.p)])
        return [rows]


def compare(
    first: Evaluation,
    second: Evaluation,
    resamples: int = RESAMPLES,
    seed: int = 0,
    names: Iterable[str] = tuple(METRICS),
) -> Comparison:
    """First less second in some metrics, patients resampled alike for both.

    Each run keeps its own folds for nested thresholds: where these differ, what is compared are two procedures.

    Raises:
        PredictionError: the runs do not hold the same breasts, labels and patients.
        ValueError: they were evaluated with other operating points or prevalences.
    """
    if (first.points, first.prevalence) != (second.points, second.prevalence):
        raise ValueError(
            "runs evaluated differently cannot be compared: "
            f"{first.points}, prevalence {first.prevalence}, against {second.points}, prevalence {second.prevalence}"
        )
    same_breasts(first, second)
    names = [name for name in names if name in first.metrics and name in second.metrics]
    both = [sorted_breasts(run.breasts, run.points, run.prevalence) for run in (first, second)]
    one, other = resample(both, resamples, seed, names)
    return Comparison({name: difference(name, one, other) for name in names}, resamples, one.redrawn)


def holm(p: Sequence[float]) -> list[float]:
    """p of several comparisons, corrected for their number by Holm's step-down (1979), in the order given.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below a smaller one, none exceeds 1.
    NaN stays NaN and does not count.
    """
    corrected = np.asarray(p, dtype=np.float64).copy()
    rising = np.argsort(corrected)[: np.count_nonzero(~np.isnan(corrected))]  # NaN sorts last
    factors = np.arange(rising.size, 0, -1)
    corrected[rising] = np.minimum(np.maximum.accumulate(corrected[rising] * factors), 1.0)
    return [float(value) for value in corrected]


def same_breasts(first: Evaluation, second: Evaluation) -> None:
    """PredictionError unless both hold the same breasts with the same labels and patients."""
    one, other = (run.breasts.set_index("prediction_id") for run in (first, second))
    apart = one.index.symmetric_difference(other.index)
    if len(apart):
        raise PredictionError(f"{offenders(apart)} breasts are in one run only; score both on the same breasts")
    for column in ("cancer", "patient_id"):
        differs = np.asarray(one[column] != other[column])
        if differs.any():
            raise PredictionError(
                f"{offenders(one.index[differs], len(one))} breasts differ in {column} between the runs"
            )
