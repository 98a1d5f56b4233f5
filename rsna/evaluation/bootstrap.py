"""Patient-level bootstrap: intervals of one run, and the paired test of two.

Patients are drawn with replacement, with both breasts and all their images, since these are alike. A resample without
any positive breast has no pF1: it is drawn again, and counted.

Thresholds are chosen anew within each resample, nested ones on the other folds of that resample, so that an interval
holds the noise of the choice as well as that of the rows scored. (With thresholds held fixed, simulated 95 % intervals
of nested pF1 cover 90 to 93 %.) A resample is a rougher copy of the data, though: what is chosen on it is chosen worse
and flatters itself more, which shifts all resamples one way. Metrics that say `recentred` are therefore moved until
their median is the value on the data, which brings simulated coverage to 96 or 97 %.

Areas under curves lie in [0, 1], and near an end their resamples are skewed and too narrow: with 40 positives the
central 95 % of an AUROC cover 90 %. Metrics that say `on_logits` get an interval that is symmetric on the logit, around
the value on the data and as wide as the resamples' standard deviation there says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from rsna.evaluation.checks import Bools, Floats
from rsna.evaluation.counts import Counts, SortedBreasts
from rsna.evaluation.metrics import METRICS, ROUNDING, metrics_of, metrics_of_data
from rsna.parallel.progress import Progress

RESAMPLES = 2000
"""Resamples of an interval: its ends then move by about 2 % of its width from seed to seed."""

LEVEL = 0.95
"""Nominal coverage of every interval."""

BAND_RESAMPLES = 500
"""Resamples of a band, which is drawn a few pixels wide."""

FALSE_ALARMS: Floats = np.unique(np.concatenate([np.geomspace(1e-3, 0.1, 25), np.linspace(0, 1, 51)]))
"""Shares of false alarms at which an ROC curve gets its band: closer together where a screening test works."""

SENSITIVITIES: Floats = np.linspace(0.02, 1, 50)
"""At which a precision-recall curve does; at 0 there is no precision."""

CHUNK_NUMBERS = 2_000_000
"""Float64 numbers (16 MB) that a chunk of resamples may take."""


@dataclass(frozen=True)
class Interval:
    """Interval of a metric."""

    low: float
    high: float
    undefined: int = 0
    """Resamples left out because they leave the metric undefined, such as AUROC without a negative."""


@dataclass(frozen=True)
class Band:
    """A curve with the interval of every point of it: the points one by one, not the curve as a whole."""

    x: Floats
    """(points,) rising."""
    y: Floats
    """(points,) on the data."""
    low: Floats
    high: Floats
    """(points,) each."""


@dataclass(frozen=True)
class Resamples:
    """Metrics of one run in every resample."""

    values: dict[str, Floats]
    """Name → (R,), NaN where a resample leaves it undefined; empty where none was asked for."""
    data: dict[str, float]
    """Name → value on the data itself."""
    redrawn: int
    """Resamples drawn again because they held no positive breast."""
    positives: int = 0
    """Positive breasts of the data."""

    @property
    def intervals(self) -> dict[str, Interval]:
        """Name → interval; (NaN, NaN) where no resample defines the metric."""
        return {
            name: metric_interval(name, drawn, self.data[name], self.positives) for name, drawn in self.values.items()
        }


@dataclass(frozen=True)
class Difference:
    """One metric of a first run less that of a second, on the same resampled patients."""

    value: float
    """Difference on the data."""
    interval: Interval
    p: float
    """Two-sided: twice the smaller share of resamples on either side of 0. At least 2 / (R + 1); not an exact test."""


def percentile_interval(values: Floats, level: float = LEVEL) -> Interval:
    """(R,) resampled values → their central `level` share, over those that are defined."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return Interval(float("nan"), float("nan"), values.size)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), values.size - defined.size)


def metric_interval(name: str, values: Floats, data: float, positives: int, level: float = LEVEL) -> Interval:
    """Interval of a metric, on the logit or of percentiles, as its row in METRICS says.

    Args:
        name: in METRICS; others get percentiles.
        values: (R,) resampled.
        data: value on the data.
        positives: positive breasts of the data.
        level: nominal coverage.
    """
    if name in METRICS and METRICS[name].on_logits:
        return logit_interval(values, data, positives, level)
    return percentile_interval(values, level)


def logit_interval(values: Floats, data: float, positives: int, level: float = LEVEL) -> Interval:
    """(R,) resampled values of a metric in [0, 1] → interval around the value on the data, symmetric on the logit.

    Positives are the few that such a metric is uncertain of: the standard deviation of resamples is that of as many
    draws, short by √((n - 1) / n), and Student's t of n - 1 degrees takes the normal's place. Resamples at 0 or 1,
    which have no logit, count as the nearest that is not; where the data or all resamples lie there, or of fewer than
    three positives, the interval is that of percentiles.
    """
    defined = values[~np.isnan(values)]
    inside = defined[(defined > 0) & (defined < 1)]
    if not (0 < data < 1 and inside.size and positives > 2):
        return percentile_interval(values, level)
    clipped = np.clip(defined, inside.min(), inside.max())
    error = np.std(np.log(clipped / (1 - clipped))) * np.sqrt(positives / (positives - 1))
    reach = _student(level, positives - 1) * error
    low, high = 1 / (1 + (1 - data) / data * np.exp([reach, -reach]))
    return Interval(float(low), float(high), values.size - defined.size)


def _student(level: float, degrees: int) -> float:
    """Student's t with `level` between ±t, by Cornish and Fisher's expansion: SciPy's takes a second to import."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + (z**3 + z) / (4 * degrees) + second / degrees**2 + third / degrees**3


def score_breasts(breasts: SortedBreasts, resamples: int, seed: int, names: Iterable[str]) -> Resamples:
    """The named metrics of one run on the data, and in as many resamples, which may be 0."""
    if resamples:
        return resample([breasts], resamples, seed, names)[0]
    return Resamples({}, metrics_of_data(breasts, names), 0)


def resample(
    runs: Sequence[SortedBreasts], resamples: int = RESAMPLES, seed: int = 0, names: Iterable[str] = tuple(METRICS)
) -> list[Resamples]:
    """Metrics of each run in the same resamples of the same patients.

    Args:
        runs: over the same breasts, labels and patient numbers; only their scores differ.
        resamples: how many to draw, ≥ 1.
        seed: of the draws; neither chunk sizes nor the number of runs change them.
        names: of the metrics, in METRICS; others cost nothing.
    """
    names = tuple(names)
    drawn, redrawn = draw(runs, resamples, seed, names)
    positives = int(runs[0].positive.sum())
    return [
        recentred(values, metrics_of_data(run, names), redrawn, positives)
        for run, values in zip(runs, drawn, strict=True)
    ]


def draw(
    runs: Sequence[SortedBreasts], resamples: int, seed: int, names: Sequence[str]
) -> tuple[list[dict[str, Floats]], int]:
    """What :func:`resample` draws, as it comes: name → (R,) of each run, and how many resamples were drawn again.

    The first of many resamples are those of few: what was drawn may be kept, and a part of it taken.
    """
    chunks: list[list[dict[str, Floats]]] = [[] for _ in runs]
    redrawn = done = 0
    for times, again in patient_draws(runs, resamples, seed):
        redrawn += again
        for chunk, run in zip(chunks, runs, strict=True):
            chunk.append(metrics_of(run, times, names, done))
        done += times.shape[1]
    return [{name: np.concatenate([one[name] for one in chunk]) for name in names} for chunk in chunks], redrawn


def curve_bands(breasts: SortedBreasts, resamples: int = BAND_RESAMPLES, seed: int = 0) -> tuple[Band, Band]:
    """ROC and precision-recall curve of one run, each with a band over patients."""
    data = _curves(Counts(breasts, np.ones((breasts.n_patients, 1))))
    drawn = [_curves(Counts(breasts, times)) for times, _ in patient_draws([breasts], resamples, seed)]
    bands = []
    for curve, x, y in zip((0, 1), (FALSE_ALARMS, SENSITIVITIES), data, strict=True):
        values = np.concatenate([one[curve] for one in drawn], axis=1)  # (points, R)
        ends, known = np.full((2, len(x)), np.nan), ~np.isnan(values).all(axis=1)
        if known.any():
            ends[:, known] = np.nanquantile(values[known], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        bands.append(Band(x, y[:, 0], ends[0], ends[1]))
    return bands[0], bands[1]


def _curves(counts: Counts) -> tuple[Floats, Floats]:
    """(points, R) sensitivity at FALSE_ALARMS, and precision at SENSITIVITIES; no interpolation between cuts."""
    none = np.zeros((1, counts.positives.size))
    tp, fp = np.concatenate([none, counts.tp]), np.concatenate([none, counts.fp])
    every = np.arange(counts.positives.size)
    allowed = [(fp <= (x + ROUNDING) * counts.negatives).sum(axis=0) - 1 for x in FALSE_ALARMS]
    sensitivity = np.stack([tp[cut, every] for cut in allowed]) / counts.positives
    needed = [(tp < (x - ROUNDING) * counts.positives).sum(axis=0) for x in SENSITIVITIES]
    precision = np.stack([tp[cut, every] / (tp + fp)[cut, every] for cut in needed])
    return np.where(counts.negatives > 0, sensitivity, np.nan), precision  # without a negative there is no ROC curve


def recentred(drawn: Mapping[str, Floats], data: dict[str, float], redrawn: int = 0, positives: int = 0) -> Resamples:
    """What was drawn of one run, with the metrics that say so moved until their median is the value on the data.

    Args:
        drawn: name → (R,), see :func:`draw`.
        data: name → value on the data.
        redrawn, positives: see `Resamples`.
    """
    values = dict(drawn)
    for name, of_metric in drawn.items():
        defined = of_metric[~np.isnan(of_metric)]
        metric = METRICS[name]
        if metric.recentred and defined.size and not np.isnan(data[name]):
            values[name] = np.clip(of_metric + data[name] - np.median(defined), metric.low, metric.high)
    return Resamples(values, data, redrawn, positives)


def difference(name: str, first: Resamples, second: Resamples, level: float = LEVEL) -> Difference:
    """What separates two runs, resampled together, in one metric."""
    gap = first.values[name] - second.values[name]
    return Difference(first.data[name] - second.data[name], percentile_interval(gap, level), two_sided(gap))


def two_sided(gaps: Floats) -> float:
    """(R,) resampled differences → twice the smaller share on either side of 0; NaN where none is defined."""
    defined = gaps[~np.isnan(gaps)]
    tail = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (defined.size + 1)) if defined.size else float("nan")


def draw_patients(random: np.random.Generator, patients: int, resamples: int) -> Floats:
    """(patients, resamples) how often each is drawn, as many in each resample as there are."""
    if not patients:
        return np.zeros((0, resamples))
    drawn = random.integers(0, patients, size=(resamples, patients))
    flat = drawn * resamples + np.arange(resamples)[:, None]
    return np.bincount(flat.ravel(), minlength=patients * resamples).reshape(patients, resamples).astype(np.float64)


def patient_draws(runs: Sequence[SortedBreasts], resamples: int, seed: int) -> Iterator[tuple[Floats, int]]:
    """Yields (P, R) how often each patient is drawn and how many of these R were drawn again; R sums to `resamples`.

    Raises:
        ValueError: no breast is positive, or no resample is asked for.
    """
    first = runs[0]
    has_positive = np.zeros(first.n_patients, dtype=np.bool_)
    has_positive[first.patients[first.positive]] = True
    if not has_positive.any():
        raise ValueError("a bootstrap needs at least one positive breast")
    size = max(1, CHUNK_NUMBERS // (has_positive.size + max(run.width for run in runs)))
    with Progress("bootstrap", resamples, "resamples") as progress:
        for times, again in _draws(has_positive, resamples, seed, size):
            yield times, again
            progress.step(times.shape[1])


def _draws(has_positive: Bools, resamples: int, seed: int, chunk: int) -> Iterator[tuple[Floats, int]]:
    """Yields (P, R) multiplicities and how many of these R were drawn again; R sums to `resamples`."""
    if resamples < 1:
        raise ValueError(f"resamples must be ≥ 1, not {resamples}")
    patients = has_positive.size
    draws, redraws = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        counts = draw_patients(draws, patients, size)
        again = 0
        for column in np.flatnonzero(counts[has_positive].sum(axis=0) == 0):
            while not counts[has_positive, column].any():
                counts[:, column] = np.bincount(redraws.integers(0, patients, size=patients), minlength=patients)
                again += 1
        yield counts, again
