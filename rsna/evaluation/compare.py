"""Runs on the same breasts: is one better, or is it noise? Two of them, or a leader against all others.

**Many runs.** The best of many is best by luck, too, so its lead is held against the lead that the best of as many
equal ones has. All are resampled together (the same patients), each pair's difference is divided by its standard error,
and the reference is the largest of all pairs in each resample (max-T; Westfall and Young, 1993), step by step: what is
told from the leader no longer counts against the rest. Whatever the number of runs, p goes down to 1 / (R + 1).

**Seeds.** Patients say what these trained models are worth. What a configuration is worth, seeds say as well: where
some configurations were trained by several, the noise of training enters every standard error, and Student's t stands
in for the normal, since few seeds know their own noise badly. Their variance s² of the metric holds training's σ² and,
because models differ in which patients they fail, a part I of the patients' own noise that resamples know: σ² = s² - I,
not below 0. It is pooled over configurations, which are taken to be equally noisy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from rsna.config.settings import digest
from rsna.evaluation.bootstrap import (
    LEVEL,
    RESAMPLES,
    Difference,
    Interval,
    Resamples,
    difference,
    percentile_interval,
    resample,
    two_sided,
)
from rsna.evaluation.breasts import same_folds
from rsna.evaluation.checks import Floats, Ints, PredictionError, offenders
from rsna.evaluation.counts import OperatingPoints
from rsna.evaluation.evaluate import Evaluation, sorted_breasts
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.tables import Plain, Rows, Tables, interval_text, number


@dataclass(frozen=True)
class Comparison(Plain, Tables):
    """Every metric that both have of a first run less that of a second, from paired resamples."""

    left_out = ("points",)
    differences: Mapping[str, Difference]
    """Name in METRICS → difference; without those that need probabilities where one of the two has none."""
    resamples: int
    redrawn: int
    """Resamples drawn again because they held no positive breast."""
    scored: tuple[str, str] = ("", "")
    """Which column of what, in the first and in the second."""
    level: float = LEVEL
    """Nominal coverage of the intervals."""
    points: OperatingPoints = field(default_factory=OperatingPoints)
    """Of the metrics."""

    def parts(self) -> list[Rows | str]:
        """The differences."""
        rows = [["", "difference", f"{self.level:.0%} interval", "p"]]
        for name, gap in self.differences.items():
            title = METRICS[name].title_at(self.points)
            rows.append([title, number(gap.value, sign=True), interval_text(gap.interval), number(gap.p)])
        return [rows, "scored: {}; less {}".format(*self.scored)]


def compare(
    first: Evaluation,
    second: Evaluation,
    resamples: int = RESAMPLES,
    seed: int = 0,
    names: Iterable[str] = tuple(METRICS),
) -> Comparison:
    """First less second in some metrics, patients resampled alike for both.

    Raises:
        PredictionError: the runs do not hold the same breasts, labels and patients, or split the patients otherwise.
        ValueError: they were evaluated with other operating points or prevalences.
    """
    check_comparable(first, second)
    names = [name for name in names if name in first.metrics and name in second.metrics]
    both = [sorted_breasts(run.breasts, run.points, run.prevalence, run.splits) for run in (first, second)]
    one, other = resample(both, resamples, seed, names)
    found = {name: difference(name, one, other) for name in names}
    return Comparison(found, resamples, one.redrawn, (first.scored, second.scored), points=first.points)


def check_comparable(first: Evaluation, second: Evaluation) -> None:
    """Refuses two runs of which a difference would say nothing; raises what :func:`compare` does."""
    if (first.points, first.prevalence) != (second.points, second.prevalence):
        raise ValueError(
            "runs evaluated differently cannot be compared: "
            f"{first.points}, prevalence {first.prevalence}, against {second.points}, prevalence {second.prevalence}"
        )
    same_breasts(first, second)
    if first.crossfitted != second.crossfitted:
        raise PredictionError("one of the two brings folds, the other none: give folds to both, or take them from both")
    if not first.crossfitted:
        folds = [run.breasts.set_index("patient_id")["fold"] for run in (first, second)]
        same_folds({"the first run": folds[0], "the second run": folds[1]})


def breasts_hash(evaluation: Evaluation) -> str:
    """12 hexadecimal characters over what two runs must share to be compared: see :func:`check_comparable`.

    Folds count by who shares one, whatever their numbers.
    """
    breasts = evaluation.breasts
    # Breasts are in the order of their names, and so is the number that a fold gets here.
    parts = [pd.factorize(split)[0].tolist() for split in evaluation.splits]
    labels = [breasts[column].tolist() for column in ("prediction_id", "patient_id", "cancer")]
    return digest(asdict(evaluation.points), evaluation.prevalence, evaluation.crossfitted, labels, parts)


@dataclass(frozen=True)
class SeedNoise:
    """What training adds to the metric of a configuration from seed to seed."""

    sd: float
    """Standard deviation of one seed's metric, beside the noise of patients; 0 where that explains all."""
    within: float
    """Variance between seeds of one configuration that the draw of patients makes by itself."""
    degrees: int
    """Of freedom: seeds less configurations, of those with several seeds. 0 where none has."""


@dataclass(frozen=True)
class Standing:
    """One configuration beside the leader."""

    value: float
    """Mean of the metric over its seeds."""
    interval: Interval
    """Of that mean, over patients, and seeds where their noise is known."""
    difference: Difference
    """The leader less this one; its p is that of this test alone."""
    p: float
    """The same corrected for all configurations that the leader is the best of; NaN where no resample defines it."""


@dataclass(frozen=True)
class Standings:
    """Configurations held against the first of them."""

    rows: tuple[Standing, ...]
    """In the order given; the leader's own difference is 0."""
    noise: SeedNoise
    detectable: float
    """Difference from the leader that would just be told, at the median of their standard errors; NaN where there are
    none, as of one alone."""


def against_leader(configurations: Sequence[Sequence[Resamples]], name: str, seed: int = 0) -> Standings:
    """Differences of the first configuration from every other, corrected for their number.

    Args:
        configurations: best first; of each the resamples of its runs, one a seed, all of the same draws.
        name: of the metric.
        seed: of the draws of training noise.
    """
    sizes = np.array([len(runs) for runs in configurations])
    values = np.array([np.mean([run.data[name] for run in runs]) for runs in configurations])
    drawn = np.stack([np.mean([run.values[name] - run.data[name] for run in runs], axis=0) for runs in configurations])
    noise = seed_noise(configurations, name)
    pairs = _Pairs(drawn, sizes, noise, np.random.default_rng([seed, 5]))
    gaps = values[0] - values
    errors = np.sqrt(pairs.variance(0, np.arange(len(sizes))))
    t = _ratio(gaps, errors)
    p, largest = _step_down(pairs, t)
    rows = []
    for k, (value, gap, error) in enumerate(zip(values, gaps, errors, strict=True)):
        if noise.degrees and k:
            of_gap = gap + error * pairs.t(0, np.array([k]))[0]
            most = METRICS[name].high - METRICS[name].low
            alone = Difference(float(gap), percentile_interval(np.clip(of_gap, -most, most)), two_sided(of_gap))
        else:  # patients alone: the paired comparison of the two runs
            alone = difference(name, configurations[0][0], configurations[k][0])
        # Few seeds make wide errors, and no metric leaves its range.
        interval = percentile_interval(np.clip(value + pairs.alone(k), METRICS[name].low, METRICS[name].high))
        rows.append(Standing(float(value), interval, alone, float(np.maximum(p[k], alone.p))))
    others = errors[1:][errors[1:] > 0]  # copies of the leader have none
    told = float(np.quantile(largest, LEVEL) * np.median(others)) if others.size and largest.size else float("nan")
    return Standings(tuple(rows), noise, told)


def seed_noise(configurations: Sequence[Sequence[Resamples]], name: str) -> SeedNoise:
    """Pooled over the configurations that have several seeds; see the module."""
    between = within = 0.0
    degrees = 0
    for runs in configurations:
        data = np.array([run.data[name] for run in runs])
        drawn = np.stack([run.values[name] for run in runs]) - data[:, None]  # (seeds, R)
        between += float(np.sum((data - data.mean()) ** 2))
        within += float(np.nanmean(np.sum((drawn - drawn.mean(axis=0)) ** 2, axis=0)))
        degrees += len(runs) - 1
    if not degrees:
        return SeedNoise(0.0, 0.0, 0)
    return SeedNoise(float(np.sqrt(max(0.0, between - within) / degrees)), within / degrees, degrees)


def compare_seeds(
    configurations: Sequence[Sequence[Evaluation]],
    resamples: int = RESAMPLES,
    seed: int = 0,
    names: Iterable[str] = tuple(METRICS),
) -> tuple[list[Comparison], SeedNoise]:
    """Every other configuration less the first, means over the seeds of each, over patients and seeds together.

    Args:
        configurations: Of each, its runs, one a seed; of one at least there are several.
        resamples: Of patients, alike in all runs.
        seed: Of the resamples and of the draws of training noise.
        names: Of metrics.

    Returns:
        A comparison for each configuration but the first, and what training adds to nested pF1.

    Raises:
        PredictionError, ValueError: See :func:`compare`.
    """
    runs = [run for one in configurations for run in one]
    for run in runs[1:]:
        check_comparable(run, runs[0])
    names = [name for name in names if all(name in run.metrics for run in runs)]
    drawn = resample(
        [sorted_breasts(run.breasts, run.points, run.prevalence, run.splits) for run in runs], resamples, seed, names
    )
    parts = iter(drawn)
    groups = [[next(parts) for _ in one] for one in configurations]
    found = []
    for k in range(1, len(groups)):
        # The one that is compared leads, so that differences are it less the first; all know the noise of seeds.
        order = [groups[k], groups[0], *(group for place, group in enumerate(groups) if place not in (0, k))]
        gaps = {name: against_leader(order, name, seed).rows[1].difference for name in names}
        scored = configurations[k][0].scored, configurations[0][0].scored
        found.append(Comparison(gaps, resamples, drawn[0].redrawn, scored, points=runs[0].points))
    return found, seed_noise(groups, "pf1_nested")


class _Pairs:
    """Studentised differences of configurations in draws of patients and of training.

    Args:
        drawn: (k, R) the metric of each, mean over its seeds, less its value on the data.
        sizes: (k,) seeds of each.
        noise: of training.
        random: draws what the seeds do.
    """

    def __init__(self, drawn: Floats, sizes: Ints, noise: SeedNoise, random: np.random.Generator) -> None:
        self._drawn, self._sizes, self._noise = drawn, sizes, noise
        self._moved = drawn + noise.sd * random.standard_normal(drawn.shape) / np.sqrt(sizes)[:, None]
        self._scale: Floats = np.ones(drawn.shape[1])  # (R,) estimated variance of seeds, of which the true one is 1
        if noise.degrees:
            self._scale = np.asarray(random.chisquare(noise.degrees, drawn.shape[1:])) / noise.degrees

    def variance(self, one: int, others: Ints) -> Floats:
        """(n,) of the differences between one configuration and others."""
        shared, own = self._parts(one, others)
        return shared + own

    def t(self, one: int, others: Ints) -> Floats:
        """(n, R) differences between one configuration and others, were all equal, by their standard errors."""
        shared, own = self._parts(one, others)
        return _ratio(self._moved[one] - self._moved[others], np.sqrt(shared[:, None] + own[:, None] * self._scale))

    def alone(self, one: int) -> Floats:
        """(R,) the metric of one, less its value on the data; of several seeds with the noise of training."""
        if self._sizes[one] < 2:
            return np.asarray(self._drawn[one])
        whole = float(np.nanvar(self._drawn[one]))
        of_seeds = min(whole, self._noise.within / self._sizes[one])
        added = self._noise.sd**2 / self._sizes[one]
        error = np.sqrt(whole - of_seeds + (of_seeds + added) * self._scale)
        return np.asarray(self._moved[one] * _ratio(np.sqrt(whole + added), error))

    def _parts(self, one: int, others: Ints) -> tuple[Floats, Floats]:
        """(n,) variance that resamples of patients know, and that which is estimated from seeds."""
        by_patients = np.nanvar(self._drawn[one] - self._drawn[others], axis=1)
        share = 1 / self._sizes[one] + 1 / self._sizes[others]
        of_seeds = np.minimum(by_patients, self._noise.within * share)
        return by_patients - of_seeds, of_seeds + self._noise.sd**2 * share


def _step_down(pairs: _Pairs, t: Floats) -> tuple[Floats, Floats]:
    """(k,) t of each against the first → (k,) corrected p, and the largest of all pairs in each draw that defines any.

    What no draw defines has a p of NaN.
    """
    order = np.argsort(t, kind="stable")
    order = np.append(0, order[order != 0])
    p, largest = np.ones(t.size), np.full(1, np.nan)
    for place, k in enumerate(order[1:], 1):
        # Against the leader and all that are nearer to it: those behind were told apart before.
        largest = np.fmax(largest, np.fmax.reduce(np.abs(pairs.t(k, order[:place])), axis=0))
        defined = np.count_nonzero(~np.isnan(largest))
        p[k] = (1 + np.count_nonzero(largest >= t[k])) / (1 + defined) if defined else np.nan
    p[order[1:]] = np.maximum.accumulate(p[order[:0:-1]])[::-1]
    return p, largest[~np.isnan(largest)]


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """0 where both are 0, as between runs of the same predictions."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((top == 0) & (bottom == 0), 0.0, np.divide(top, bottom))


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
