"""Two runs on the same breasts: is one better, or is it noise?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from rsna.evaluation.bootstrap import LEVEL, RESAMPLES, Difference, difference, resample
from rsna.evaluation.errors import PredictionError, offenders
from rsna.evaluation.ledger import FIGURES
from rsna.evaluation.metrics import Evaluation, ledger_of, plain_json
from rsna.evaluation.tables import TITLES, interval_text, number, text_table


@dataclass(frozen=True)
class Comparison:
    """Every figure of a first run less that of a second, from paired resamples."""

    differences: Mapping[str, Difference]
    """Name of a figure → its difference."""
    resamples: int
    redrawn: int
    """Resamples drawn again because they held no positive breast."""
    level: float = LEVEL
    """Nominal coverage of the intervals."""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; NaN becomes null."""
        return {name: plain_json(value) for name, value in asdict(self).items()}

    def table(self) -> str:
        """The differences as text, four decimals."""
        rows = [["", "difference", f"{self.level:.0%} interval", "p"]]
        for name, gap in self.differences.items():
            rows.append([TITLES[name], number(gap.value, sign=True), interval_text(gap.interval), number(gap.p)])
        return text_table(rows)


def compare(first: Evaluation, second: Evaluation, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """First less second, patients resampled alike for both.

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
    ledgers = [ledger_of(run.breasts, run.points, run.prevalence) for run in (first, second)]
    one, other = resample(ledgers, resamples, seed)
    return Comparison({name: difference(name, one, other) for name in FIGURES}, resamples, one.redrawn)


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
