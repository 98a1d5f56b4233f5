"""A run on parts of the breasts: by site, machine, views, density, age, implant, BIRADS, difficult negatives."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from rsna.evaluation.bootstrap import Interval, resample
from rsna.evaluation.errors import PredictionError, offenders
from rsna.evaluation.metrics import Evaluation, ledger_of, plain_json, score_rows
from rsna.evaluation.tables import TITLES, interval_text, number, text_table

FEWEST = 10
"""Positives, and negatives, that a slice needs before a figure of it is shown."""

SLICE_RESAMPLES = 1000
"""Bootstrap resamples behind each interval of a slice."""

SLICE_FIGURES = ("pf1_raw", "pf1_nested", "auroc")
"""Figures shown of a slice. pF1 rises with the share of positives: across slices compare AUROC."""

AGE_EDGES = (40, 50, 60, 70, 80)
"""Years at which age bands begin."""

_TITLES = {
    "site_id": "site",
    "machine_id": "machine",
    "views": "views",
    "density": "density",
    "age": "age",
    "implant": "implant",
    "BIRADS": "BIRADS",
    "difficult_negative_case": "negatives",
}
"""Column of the breasts → the name of the slices that it makes, in the order of the table."""


@dataclass(frozen=True)
class Slice:
    """One part of the breasts, cut at the thresholds of the whole."""

    by: str
    """What the slices are made by, such as `site`."""
    value: str
    """Which of them, such as `1`; `not given` where the table is empty."""
    breasts: int
    positives: int
    recalled: float
    """Share of its (weighted) breasts recalled at the nested thresholds."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Name in SLICE_FIGURES → value; empty where there are too few of either class."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Patient-level intervals. Nested thresholds are those of the whole, held fixed."""

    @property
    def too_few(self) -> bool:
        """Whether the slice has less than FEWEST positives, or negatives."""
        return min(self.positives, self.breasts - self.positives) < FEWEST

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; NaN becomes null."""
        return {name: plain_json(value) for name, value in (asdict(self) | {"too_few": self.too_few}).items()}


def slices(evaluation: Evaluation, resamples: int = SLICE_RESAMPLES, seed: int = 0) -> list[Slice]:
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
    breasts = evaluation.breasts
    found = []
    for column, by in _TITLES.items():
        if column not in breasts:
            continue
        for value, rows in _parts(breasts, column):
            found.append(_slice(by, value, breasts[rows], evaluation, resamples, seed))
    return found


def slices_table(found: Sequence[Slice], level: float) -> str:
    """Slices as text, four decimals; `too few` in place of figures that would mean little."""
    figures = [TITLES[name] for name in SLICE_FIGURES]
    rows = [["", "breasts", "positive", "recalled", *(cell for f in figures for cell in (f, f"{level:.0%} interval"))]]
    for part in found:
        cells = [f"{part.by} {part.value}", f"{part.breasts:,}", f"{part.positives:,}", f"{part.recalled:.2%}"]
        for name in SLICE_FIGURES:
            shown = "too few" if part.too_few else number(part.figures[name])
            cells += [shown, "" if part.too_few else interval_text(part.intervals.get(name))]
        rows.append(cells)
    return text_table(rows)


def _slice(by: str, value: str, rows: pd.DataFrame, whole: Evaluation, resamples: int, seed: int) -> Slice:
    recalled = float(np.average(rows["recalled"], weights=rows["weight"]))
    part = Slice(by, value, len(rows), int(rows["cancer"].sum()), recalled)
    if part.too_few:
        return part
    scored = score_rows(value, rows, whole.points)
    intervals = {}
    if resamples:
        prevalence = None if whole.prevalence is None else scored.prevalence
        ledger = ledger_of(rows, whole.points, prevalence, rows["recalled"].to_numpy())
        drawn = resample([ledger], resamples, seed)[0]
        intervals = {name: drawn.interval(name) for name in SLICE_FIGURES}
    figures = {name: float(getattr(scored, name)) for name in SLICE_FIGURES}
    return Slice(by, value, part.breasts, part.positives, recalled, figures, intervals)


def _parts(breasts: pd.DataFrame, column: str) -> Iterator[tuple[str, "pd.Series[bool]"]]:
    """Yields the name and the rows of each slice, in the order of the values, `not given` last."""
    values = breasts[column]
    if column == "difficult_negative_case":
        positive = breasts["cancer"] == 1
        difficult = _truth(values)
        yield "difficult", positive | (difficult == 1)
        yield "other", positive | (difficult == 0)
        return
    if column == "age":
        labels = _age_bands(values, breasts["prediction_id"])
    elif column == "implant":
        labels = _truth(values).map({0.0: "no", 1.0: "yes"})
    else:
        labels = values.map(_name, na_action="ignore")
    for value in sorted(labels.dropna().unique(), key=_order):
        yield value, labels == value
    if labels.isna().any():
        yield "not given", labels.isna()


def _truth(values: pd.Series) -> pd.Series:
    """0.0, 1.0 or NaN, from whichever of bool, number or text a table holds."""
    known = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
    return values.astype(str).str.lower().map(known)


def _age_bands(ages: pd.Series, breasts: "pd.Series[str]") -> pd.Series:
    years = pd.to_numeric(ages, errors="coerce")
    odd = years.isna() & ages.notna()
    if odd.any():
        named = offenders(breasts[odd], len(ages))
        raise PredictionError(
            f"{named} breasts have an age that is no number of years, first {ages[odd].iloc[0]!r}; write 76"
        )
    edges = [-np.inf, *AGE_EDGES, np.inf]
    between = [f"{low} to {high - 1}" for low, high in pairwise(AGE_EDGES)]
    names = [f"under {AGE_EDGES[0]}", *between, f"{AGE_EDGES[-1]} and over"]
    bands = pd.cut(years, edges, right=False, labels=names)
    return bands.astype(object)


def _name(value: object) -> str:
    """`1` for 1, 1.0 and "1"."""
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


def _order(name: str) -> tuple[float, str]:
    """Numbers by size, `under 40` before `40 to 49`, all else by the alphabet."""
    first = name.split()[0]
    if first == "under":
        return -np.inf, name
    return (float(first), name) if first.replace(".", "", 1).isdigit() else (np.inf, name)
