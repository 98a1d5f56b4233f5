"""A run on breasts that its threshold and its calibration were not chosen on, and what it loses there against home.

Home is the set that it was trained on, out of fold. A patient who stands in both sets is drawn into both at once, every
other into one of them: where no patient is shared the interval is that of two independent bootstraps, where all are it
is the paired one.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from rsna.evaluation.bootstrap import (
    CHUNK_NUMBERS,
    LEVEL,
    RESAMPLES,
    Difference,
    Interval,
    draw_patients,
    metric_interval,
    percentile_interval,
    two_sided,
)
from rsna.evaluation.calibration import calibrate
from rsna.evaluation.checks import Floats, Ints, PredictionError
from rsna.evaluation.counts import SortedBreasts
from rsna.evaluation.evaluate import Evaluation
from rsna.evaluation.metrics import metrics_of
from rsna.evaluation.tables import Plain, Rows, Tables, interval_text, number, percent
from rsna.parallel.progress import Progress

FEWEST = 10
"""Positives, and negatives, below which a part has no metrics of its own and is joined with others as small."""

Pairing = Literal["independent", "paired", "partly paired"]
"""Whether no patient stands in both sets, every one of the other set's stands in home, or some do."""


@dataclass(frozen=True)
class AtOwn(Plain):
    """Some breasts cut at a threshold that was not chosen on them."""

    breasts: int
    positives: int
    patients: int
    values: Mapping[str, float] = field(default_factory=dict)
    """auroc; sensitivity, specificity and recalled (share of all) at the threshold; observed_expected, positives that
    there are for each that the calibrated probabilities promise. Those at the threshold are of breasts that have one.
    NaN where undefined, empty where there are too few."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Patient-level, of the same names."""

    @property
    def too_few(self) -> bool:
        """Whether either class has less than FEWEST breasts."""
        return too_few(self.positives, self.breasts)


@dataclass(frozen=True)
class PartsTable(Plain, Tables):
    """The parts that a run's folds are, each by a network of the others, and all of them pooled."""

    rows: Mapping[str, AtOwn]
    """Name of the part, or `pooled` → what its breasts say, at the thresholds and lines of the other parts."""
    resamples: int

    def parts(self) -> list[Rows | str]:
        """A row a part, pooled last."""
        rows = [["left out", "breasts", "positive", "AUROC", f"{LEVEL:.0%} interval", "sensitivity", "recalled",
                 "observed ÷ expected"]]  # fmt: skip
        for name, own in self.rows.items():
            cells = [name, f"{own.breasts:,}", f"{own.positives:,}"]
            if own.too_few:
                rows.append([*cells, "too few", *[""] * 4])
                continue
            values = own.values
            cells += [number(values["auroc"]), interval_text(own.intervals.get("auroc"))]
            cells += [percent(values["sensitivity"]), percent(values["recalled"])]
            rows.append([*cells, f"{values['observed_expected']:.2f}"])
        how = "each part by a network that was trained on the others, at the threshold and by the calibration of these"
        return [rows, how + (f"; intervals from {self.resamples:,} resamples of patients" if self.resamples else "")]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; a list of parts."""
        return {"rows": [{"part": name, **own.to_dict()} for name, own in self.rows.items()]}


@dataclass(frozen=True)
class Drop(Plain):
    """AUROC at home less that elsewhere."""

    difference: Difference
    pairing: Pairing


def too_few(positives: int, breasts: int) -> bool:
    """Whether either class has less than FEWEST."""
    return min(positives, breasts - positives) < FEWEST


def score_own(breasts: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0) -> AtOwn:
    """Scores breasts at a threshold that comes from elsewhere.

    Args:
        breasts: patient_id, cancer (0, 1), probability, calibrated (both in [0, 1]), recalled (0, 1 or bool;
            NaN where a breast has no threshold).
        resamples: patient-level bootstrap resamples behind each interval; 0 leaves intervals out.
        seed: of the bootstrap.
    """
    counts = len(breasts), int(breasts["cancer"].sum()), breasts["patient_id"].nunique()
    if too_few(counts[1], counts[0]):
        return AtOwn(*counts)
    ready = _Breasts(breasts)
    data = ready.metrics(np.ones((ready.n_patients, 1)))
    values = {name: float(value[0]) for name, value in data.items()}
    if not resamples:
        return AtOwn(*counts, values)
    drawn: dict[str, list[Floats]] = {name: [] for name in data}
    random = np.random.default_rng([seed, 2])
    for size in _chunks(resamples, ready.width):
        for name, found in ready.metrics(draw_patients(random, ready.n_patients, size)).items():
            drawn[name].append(found)
    intervals = {
        name: metric_interval(name, np.concatenate(found), values[name], counts[1]) for name, found in drawn.items()
    }
    return AtOwn(*counts, values, intervals)


def out_of_fold(evaluation: Evaluation) -> pd.DataFrame:
    """The evaluated breasts with ``recalled``, at nested thresholds, and ``calibrated``, by lines of the other folds.

    Where the other folds lack positives or negatives to fit on, probabilities are as given; where they hold no positive
    there is no threshold either, and ``recalled`` is NaN.
    """
    calibrated = evaluation.breasts["probability"].to_numpy(np.float64)
    with suppress(PredictionError):
        calibrated = next(one.probability for one in calibrate(evaluation) if one.calibrator == "Platt")
    breasts = evaluation.breasts
    recalled = breasts["recalled"].astype(float).where(breasts["threshold"].notna())
    return breasts.assign(recalled=recalled, calibrated=calibrated)


def score_parts(evaluation: Evaluation, names: Mapping[int, str], resamples: int = RESAMPLES) -> PartsTable:
    """Scores the parts that folds are; ``names`` are those of the folds."""
    breasts = out_of_fold(evaluation)
    with Progress("score parts", len(names) + 1, "parts") as progress:
        rows = {
            name: score_own(breasts[breasts["fold"] == fold], resamples)
            for fold, name in progress.over(sorted(names.items()))
        }
        rows["pooled"] = score_own(breasts, resamples)
    return PartsTable(rows, resamples)


def auroc_drop(home: pd.DataFrame, there: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0) -> Drop:
    """What AUROC loses from home to another set, with an interval over patients; see the module for how they are drawn.

    Args:
        home, there: patient_id, cancer, probability; a row a breast.
        resamples: of the patients.
        seed: of the bootstrap.
    """
    sides = _Breasts(home), _Breasts(there)
    shared, *places = np.intersect1d(sides[0].patients, sides[1].patients, return_indices=True)
    alone = [np.setdiff1d(np.arange(side.n_patients), place) for side, place in zip(sides, places, strict=True)]
    random = np.random.default_rng([seed, 3])
    gaps = []
    for size in _chunks(resamples, sides[0].width + sides[1].width):
        together = draw_patients(random, len(shared), size)
        areas = []
        for side, place, own in zip(sides, places, alone, strict=True):
            times = np.zeros((side.n_patients, size))
            times[place], times[own] = together, draw_patients(random, len(own), size)
            areas.append(side.auroc(times))
        gaps.append(areas[0] - areas[1])
    drawn = np.concatenate(gaps)
    value = float(np.subtract(*(side.auroc(np.ones((side.n_patients, 1)))[0] for side in sides)))
    paired: Pairing = "independent" if not len(shared) else "partly paired" if len(alone[1]) else "paired"
    return Drop(Difference(value, percentile_interval(drawn), two_sided(drawn)), paired)


def drop_of_intervals(home: float, ends: Interval, there: AtOwn) -> Drop:
    """The same from the two intervals alone, where home's breasts are not at hand, as with a bundle.

    Zou and Donner (Statistics in Medicine 2008): each end of the difference is as far from it as the two ends beside
    it, one of each interval, are from their values, in the root of the sum of squares.
    """
    value, other = there.values["auroc"], there.intervals["auroc"]
    gap = home - value
    low = gap - np.hypot(home - ends.low, other.high - value)
    high = gap + np.hypot(ends.high - home, value - other.low)
    return Drop(Difference(gap, Interval(float(low), float(high)), float("nan")), "independent")


def mean_difference(
    first: Floats, second: Floats, patients: pd.Series, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Mean of a first quantity less that of a second: (n,) values of the same rows, whose patients are drawn."""
    names, numbers = np.unique(patients.to_numpy(dtype=str), return_inverse=True)
    numbers = numbers.astype(np.int64)
    sums = np.stack(
        [_by_patient(numbers, first - second, len(names)), _by_patient(numbers, np.ones(len(first)), len(names))]
    )
    random = np.random.default_rng([seed, 4])
    gaps = []
    for size in _chunks(resamples, len(names)):
        total, count = np.einsum("sp,pr->sr", sums, draw_patients(random, len(names), size))
        gaps.append(total / count)
    drawn = np.concatenate(gaps)
    return Difference(float(np.mean(first - second)), percentile_interval(drawn), two_sided(drawn))


class _Breasts:
    """Breasts with their patients numbered, ready to be counted in resamples."""

    def __init__(self, breasts: pd.DataFrame) -> None:
        self.patients, numbers = np.unique(breasts["patient_id"].to_numpy(dtype=str), return_inverse=True)
        self.n_patients = len(self.patients)
        cancer = breasts["cancer"].to_numpy() == 1
        numbers = numbers.astype(np.int64)
        self._sorted = SortedBreasts(
            cancer, breasts["probability"].to_numpy(np.float64), numbers, np.zeros_like(numbers)
        )
        self.width = self._sorted.width + self.n_patients
        if {"recalled", "calibrated"} <= set(breasts):
            recalled = breasts["recalled"].to_numpy(np.float64)
            promised = breasts["calibrated"].to_numpy(np.float64)
            cut, at = ~np.isnan(recalled), np.nan_to_num(recalled)
            rows = (cancer, promised, cut, cut * cancer, at, at * cancer, cut * ~cancer * (1 - at))
            self._sums = np.stack([_by_patient(numbers, row, self.n_patients) for row in rows])

    def auroc(self, times: Floats) -> Floats:
        """(P, R) how often each patient is drawn → (R,)."""
        return metrics_of(self._sorted, times, ("auroc",))["auroc"]

    def metrics(self, times: Floats) -> dict[str, Floats]:
        """The same for every name in `AtOwn.values`."""
        positives, promised, cut, sick, recalled, hits, rests = np.einsum("sp,pr->sr", self._sums, times)
        with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 is NaN: undefined
            return {
                "auroc": self.auroc(times),
                "sensitivity": hits / sick,
                "specificity": rests / (cut - sick),
                "recalled": recalled / cut,
                "observed_expected": positives / promised,
            }


def _by_patient(numbers: Ints, values: Floats, patients: int) -> Floats:
    return np.asarray(np.bincount(numbers, weights=values, minlength=patients), dtype=np.float64)


def _chunks(resamples: int, width: int) -> Iterator[int]:
    size = max(1, CHUNK_NUMBERS // max(width, 1))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)
