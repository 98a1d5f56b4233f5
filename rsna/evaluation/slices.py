"""A run on parts of the breasts: by site, machine, views, density, age, implant, BIRADS, difficult negatives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from rsna.config.data import ScoredUnit
from rsna.dataset.targets import as_answer
from rsna.evaluation.bootstrap import LEVEL, Interval, score_breasts
from rsna.evaluation.checks import PredictionError, offenders
from rsna.evaluation.evaluate import Evaluation, sorted_breasts
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.tables import Plain, Rows, Tables, interval_text, number, percent
from rsna.parallel.progress import Progress
from rsna.table_file import map_distinct, value_name

FEWEST = 10
"""Positives, and negatives, that a slice needs before a metric of it is shown."""

SLICE_RESAMPLES = 1000
"""Bootstrap resamples behind each interval of a slice."""

SLICE_METRICS = ("pf1_raw", "pf1_nested", "auroc")
"""Metrics shown of a slice. pF1 rises with the share of positives: across slices compare AUROC."""

AGE_EDGES = (40, 50, 60, 70, 80)
"""Years at which age bands begin."""

_TITLES = {
    "site_id": "site", "machine_id": "machine", "views": "views", "density": "density", "age": "age",
    "implant": "implant", "BIRADS": "BIRADS", "difficult_negative_case": "negatives",
}  # fmt: skip
"""Column of the breasts → the name of the slices that it makes, in the order of the table."""


@dataclass(frozen=True)
class Slice(Plain):
    """One part of the breasts, cut at the thresholds of the whole."""

    by: str
    """What the slices are made by, such as `site`."""
    value: str
    """Which of them, such as `1`; `not given` where the table is empty."""
    breasts: int
    positives: int
    recalled: float
    """Share of its (weighted) breasts recalled at the nested thresholds, of those that have one; NaN where none has."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Name in SLICE_METRICS → value; empty where there are too few of either class."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Patient-level intervals. Nested thresholds are those of the whole, held fixed."""

    @property
    def too_few(self) -> bool:
        """Whether the slice has less than FEWEST positives, or negatives."""
        return min(self.positives, self.breasts - self.positives) < FEWEST

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; NaN becomes null."""
        return {**super().to_dict(), "too_few": self.too_few}


class Slices(list[Slice], Tables):
    """Every slice of a run, in the order of the table."""

    unit: ScoredUnit = "breast"

    def parts(self) -> list[Rows | str]:
        """One row a slice; `too few` in place of metrics that would mean little."""
        header = ["", f"{self.unit}s", "positive", "recalled"]
        for name in SLICE_METRICS:
            header += [METRICS[name].title, f"{LEVEL:.0%} interval"]
        rows = [header]
        for part in self:
            cells = [f"{part.by} {part.value}", f"{part.breasts:,}", f"{part.positives:,}", percent(part.recalled, 2)]
            for name in SLICE_METRICS:
                shown = "too few" if part.too_few else number(part.metrics[name])
                cells += [shown, "" if part.too_few else interval_text(part.intervals.get(name))]
            rows.append(cells)
        return [rows]


def slices(evaluation: Evaluation, resamples: int = SLICE_RESAMPLES, seed: int = 0) -> Slices:
    """Every slice that the columns of the evaluated breasts allow.

    Slices by difficult negatives hold all positives each, against one kind of negative: a difficult case is never
    positive in the competition's table.

    Args:
        evaluation: of a run whose predictions came with the competition's columns.
        resamples: bootstrap resamples behind each interval; 0 leaves intervals out.
        seed: of the bootstrap.

    Raises:
        PredictionError: an age that is no number of years.
    """
    names = [name for name in SLICE_METRICS if name in evaluation.metrics]
    found = Slices()
    found.unit = evaluation.unit
    parts = slice_parts(evaluation.breasts)
    with Progress("slices", len(parts), "slices") as progress:
        for by, value, chosen in progress.over(parts):
            rows = evaluation.breasts[chosen]
            cut = rows[rows["threshold"].notna()]
            recalled = float(np.average(cut["recalled"], weights=cut["weight"])) if len(cut) else float("nan")
            part = Slice(by, value, len(rows), int(rows["cancer"].sum()), recalled)
            if not part.too_few:
                # Thresholds are those of the whole run: a slice is judged as it would be treated.
                at_nested = rows["recalled"].where(rows["threshold"].notna())
                breasts = sorted_breasts(rows, evaluation.points, evaluation.prevalence, at_fixed=at_nested)
                scored = score_breasts(breasts, resamples, seed, names)
                values = dict.fromkeys(SLICE_METRICS, float("nan")) | scored.data
                part = replace(part, metrics=values, intervals=scored.intervals)
            found.append(part)
    return found


def slice_parts(breasts: pd.DataFrame) -> list[tuple[str, str, "pd.Series[bool]"]]:
    """What each slice is by, which of them it is, and its rows."""
    columns = [column for column in _TITLES if column in breasts]
    return [(_TITLES[column], *part) for column in columns for part in _parts(breasts, column)]


def _parts(breasts: pd.DataFrame, column: str) -> Iterator[tuple[str, "pd.Series[bool]"]]:
    """Yields the name and the rows of each slice, in the order of the values, `not given` last."""
    values = breasts[column]
    if column == "difficult_negative_case":
        positive = breasts["cancer"] == 1
        difficult = _truth(values)
        yield "difficult", positive | (difficult == 1)
        yield "other", positive | (difficult == 0)
        if (unknown := ~positive & difficult.isna()).any():
            yield "not given", positive | unknown
        return
    if column == "age":
        labels = _age_bands(values, breasts["prediction_id"])
    elif column == "implant":
        labels = _truth(values).map({0.0: "no", 1.0: "yes"})
    else:
        labels = values.map(value_name, na_action="ignore")
    for value in sorted(labels.dropna().unique(), key=_order):
        yield value, labels == value
    if labels.isna().any():
        yield "not given", labels.isna()


def _truth(values: pd.Series) -> pd.Series:
    """0.0, 1.0 or NaN, from whichever of bool, number or text a table holds; what is no answer is NaN."""
    return map_distinct(values, as_answer).astype(float)


def _age_bands(ages: pd.Series, breasts: "pd.Series[str]") -> pd.Series:
    years = pd.to_numeric(ages, errors="coerce")
    odd = years.isna() & ages.notna()
    if odd.any():
        which, first = offenders(breasts[odd], len(ages)), ages[odd].iloc[0]
        raise PredictionError(f"{which} breasts have an age that is no number of years, first {first!r}; write 76")
    between = [f"{low} to {high - 1}" for low, high in pairwise(AGE_EDGES)]
    names = [f"under {AGE_EDGES[0]}", *between, f"{AGE_EDGES[-1]} and over"]
    return pd.cut(years, [-np.inf, *AGE_EDGES, np.inf], right=False, labels=names).astype(object)


def _order(name: str) -> tuple[float, str]:
    """Numbers by size, `under 40` before `40 to 49`, all else by the alphabet."""
    first = name.split()[0]
    if first == "under":
        return -np.inf, name
    return (float(first), name) if first.replace(".", "", 1).isdigit() else (np.inf, name)
