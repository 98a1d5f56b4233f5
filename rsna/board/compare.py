"""Runs against a first one: settings, paired differences in every metric and slice, breasts they disagree on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from rsna.board.leaderboard import by_seed
from rsna.config.settings import flatten, to_mapping
from rsna.evaluation.bootstrap import Difference, difference, resample
from rsna.evaluation.calibration import logit
from rsna.evaluation.checks import Bools, Floats, PredictionError
from rsna.evaluation.compare import Comparison, SeedNoise, check_comparable, compare, compare_seeds
from rsna.evaluation.counts import SortedBreasts
from rsna.evaluation.evaluate import Evaluation, sorted_breasts
from rsna.evaluation.slices import FEWEST, SLICE_METRICS, slice_parts
from rsna.evaluation.tables import number, plain_json
from rsna.parallel.progress import Progress
from rsna.runs.errors import RunError
from rsna.runs.run import SELECTED, Run
from rsna.runs.run_directory import FREE

MOST = 4
"""Configurations side by side: as many as curves and columns can be told apart."""

Kind = Literal["found", "missed", "false alarm", "spared"]
"""A cancer that the run recalls and the first does not, or the other way round; a negative breast likewise."""


@dataclass(frozen=True)
class Setting:
    """A key in which runs differ."""

    key: str
    values: tuple[str, ...]
    """Of each run."""
    free: bool
    """Whether it says where a run is trained, not what it learns."""


@dataclass(frozen=True)
class SliceGap:
    """Some of the breasts in both runs, each cut at the thresholds of the whole."""

    by: str
    value: str
    breasts: int
    positives: int
    differences: Mapping[str, Difference] = field(default_factory=dict)
    """Name in SLICE_METRICS → the run less the first; empty where there are too few of either class."""


@dataclass(frozen=True)
class Disagreement:
    """Breasts that one of two runs recalls and the other does not, the furthest apart first."""

    kind: Kind
    breasts: pd.DataFrame
    """prediction_id, cancer, probability and threshold of the first run, and the same of the other with `_other`."""


@dataclass(frozen=True)
class Side:
    """One configuration: a run, or the runs that differ from it in their seed alone."""

    runs: tuple[Run, ...]
    """By rising seed."""
    evaluations: tuple[Evaluation, ...]
    """Of each."""

    @property
    def run(self) -> Run:
        """The first of its runs, of which everything is shown but the differences of metrics."""
        return self.runs[0]

    @property
    def evaluation(self) -> Evaluation:
        """Of the first of its runs."""
        return self.evaluations[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of its runs."""
        return tuple(run.config.seed for run in self.runs)

    def value(self, name: str) -> float:
        """Mean of a metric over its runs; NaN where one of them has none."""
        return float(np.mean([one.pooled.values[name] for one in self.evaluations]))


@dataclass(frozen=True)
class Against:
    """A configuration less the first one: metrics over all seeds, the rest of the first run of each."""

    side: Side
    comparison: Comparison
    slices: tuple[SliceGap, ...]
    disagreements: tuple[Disagreement, ...]
    recalls: Mapping[str, tuple[int, int, int, int]]
    """`cancers`, `other breasts` → recalled by both, by the first alone, by the other alone, by neither, of those that
    have a nested threshold."""
    correlation: float
    """Of the ranks of the two probabilities (Spearman)."""

    @property
    def evaluation(self) -> Evaluation:
        """Of the first of its runs."""
        return self.side.evaluation


@dataclass(frozen=True)
class RunComparison:
    """Everything that is shown of runs side by side."""

    first: Side
    others: tuple[Against, ...]
    noise: SeedNoise | None
    """What training adds to nested pF1 from seed to seed; None where every configuration has one seed."""
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]

    @property
    def sides(self) -> tuple[Side, ...]:
        """Configurations, in the order they were named in."""
        return (self.first, *(one.side for one in self.others))

    @property
    def runs(self) -> tuple[Run, ...]:
        """The first of each configuration."""
        return tuple(side.run for side in self.sides)

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """Of each of these runs."""
        return tuple(side.evaluation for side in self.sides)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the runs' folders, or their paths where two have the same; behind ×, how many seeds."""
        short = [run.name for run in self.runs]
        names = short if len(set(short)) == len(short) else [str(run.path) for run in self.runs]
        sizes = [len(side.runs) for side in self.sides]
        return tuple(f"{name} ×{n}" if n > 1 else name for name, n in zip(names, sizes, strict=True))

    @property
    def scope(self) -> str:
        """What intervals and p of the differences speak of."""
        if self.noise is None:
            return (
                "p is that of each metric by itself, and intervals speak of these trained models: another seed of the "
                "same configuration would differ from it, too"
            )
        return (
            "metrics are means over seeds, their intervals and p over patients and seeds (seeds move nested pF1 by "
            f"{number(self.noise.sd)}, {self.noise.degrees} degrees of freedom), p that of each metric by itself; all "
            "else is of the first seed of each"
        )

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; NaN becomes null."""
        return {
            "runs": [str(run.path) for run in self.runs],
            "seeds": [
                [{"seed": seed, "run": str(run.path)} for seed, run in zip(side.seeds, side.runs, strict=True)]
                for side in self.sides
            ],
            "seed_noise": self.noise and plain_json(self.noise),
            "settings": [{"key": one.key, "values": list(one.values), "free": one.free} for one in self.settings],
            "less_the_first": [
                {
                    "run": str(one.side.run.path),
                    **one.comparison.to_dict(),
                    "spearman": one.correlation,
                    "recalls": {
                        name: dict(zip(("both", "first_alone", "this_alone", "neither"), counts, strict=True))
                        for name, counts in one.recalls.items()
                    },
                    "slices": [plain_json(part) for part in one.slices],
                }
                for one in self.others
            ],
            "notes": list(self.notes),
        }


def compare_runs(runs: Sequence[Run], resamples: int) -> RunComparison:
    """All others less the first run, on the folds that all of them have finished.

    Runs that differ in their seed alone are one configuration, unless all of them do.

    Raises:
        RunError: A run has no predictions, no fold is finished in all of them, or they are of too many configurations.
        PredictionError: They are not of the same breasts, labels, patients and folds.
    """
    folds = sorted(set.intersection(*(set(run.fold_metrics) for run in runs)))
    if not folds:
        finished = "; ".join(f"{run.path}: {', '.join(map(str, run.fold_metrics)) or 'none'}" for run in runs)
        raise RunError(f"no fold is finished in all of these runs ({finished})")
    groups = _configurations(runs)
    whole = all(run.pooled for run in runs)
    with Progress("score", len(runs), "runs") as progress:
        evaluated = {run.path: run.evaluate(() if whole else folds) for run in progress.over(runs)}
    sides = [Side(tuple(group), tuple(evaluated[run.path] for run in group)) for group in groups]
    for run in runs:
        try:
            check_comparable(evaluated[run.path], sides[0].evaluation)
        except PredictionError as error:
            raise PredictionError(f"{run.path} cannot be compared with {runs[0].path}: {error}") from error
    noise = None
    if len(sides) < len(runs):
        comparisons, noise = compare_seeds([side.evaluations for side in sides], resamples)
    else:
        comparisons = [compare(side.evaluation, sides[0].evaluation, resamples) for side in sides[1:]]
    others = [_against(*pair, sides[0].evaluation, resamples) for pair in zip(sides[1:], comparisons, strict=True)]
    notes = [] if whole else [f"on fold {', '.join(map(str, folds))}, which all of them have finished"]
    notes += [f"{run.path}: {why}" for run in runs for why in run.changed.values()]
    notes += [f"{run.path}: {SELECTED}" for run in runs if run.selected]
    notes += [f"{run.path}: {run.shown.doubt}" for run in runs if run.shown and run.shown.doubt]
    for run in runs:
        if uncut := int(evaluated[run.path].breasts["threshold"].isna().sum()):
            notes.append(
                f"{run.path}: {uncut:,} breasts have no nested threshold, since the other folds hold no positive, and "
                "are neither recalled nor not"
            )
    if any(run.record.data.simulated for run in runs):
        notes.append("simulated mammograms: nothing here says anything of real ones")
    settings = different_settings([side.run for side in sides])
    return RunComparison(sides[0], tuple(others), noise, settings, tuple(notes))


def _configurations(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in their seed alone together, in the order they were named in; all apart where all do."""
    groups = by_seed(runs)
    if len(groups) < 2:
        return [[run] for run in runs]
    named = {run.path: place for place, run in enumerate(runs)}
    groups.sort(key=lambda group: min(named[run.path] for run in group))
    if len(groups) > MOST:
        raise RunError(f"runs: at most {MOST} configurations side by side, and these are of {len(groups)}")
    return groups


def different_settings(runs: Sequence[Run]) -> tuple[Setting, ...]:
    """Keys of the configuration and the record in which not all runs are alike: those that matter first."""
    sides = [{**flatten(to_mapping(run.config)), **_recorded(run)} for run in runs]
    keys = dict.fromkeys(key for side in sides for key in side if key not in ("name", "run"))
    found = []
    for key in keys:
        values = tuple(str(side.get(key, "–")) for side in sides)
        if len(set(values)) > 1:
            free = any(key == one or key.startswith(f"{one}.") for one in (*FREE, "commit", "hardware", "versions"))
            found.append(Setting(key, values, free))
    return tuple(sorted(found, key=lambda one: one.free))


def _recorded(run: Run) -> dict[str, str]:
    hashes = {f"{name} hash": value for name, value in run.record.hashes.model_dump().items()}
    versions = {f"versions.{name}": version for name, version in run.record.versions.items()}
    return {**hashes, "commit": run.commit or "–", "hardware": run.hardware or "–", **versions}


def _against(side: Side, comparison: Comparison, first: Evaluation, resamples: int) -> Against:
    evaluation = side.evaluation
    one, other = first.breasts, evaluation.breasts
    both = one[["prediction_id", "cancer", "probability", "threshold", "recalled"]].assign(
        **{f"{name}_other": other[name].to_numpy() for name in ("probability", "threshold", "recalled")}
    )
    apart = _margins(other) - _margins(one)
    both = both.assign(apart=np.abs(apart)).dropna(subset=["threshold", "threshold_other"])
    recalls: dict[str, tuple[int, int, int, int]] = {}
    disagreements: list[Disagreement] = []
    ways: tuple[tuple[str, int, Kind, Kind], ...] = (
        ("cancers", 1, "found", "missed"), ("other breasts", 0, "false alarm", "spared"),
    )  # fmt: skip
    for name, cancer, alone, not_alone in ways:
        rows = both[both["cancer"] == cancer]
        here, there = rows["recalled"].to_numpy(dtype=bool), rows["recalled_other"].to_numpy(dtype=bool)
        of_first, of_other = here & ~there, ~here & there
        counts = (here & there).sum(), of_first.sum(), of_other.sum(), (~here & ~there).sum()
        recalls[name] = (int(counts[0]), int(counts[1]), int(counts[2]), int(counts[3]))
        kinds: tuple[tuple[Kind, Any], ...] = ((alone, of_other), (not_alone, of_first))
        for kind, mask in kinds:
            apart_most = rows[mask].sort_values("apart", ascending=False, kind="stable")
            disagreements.append(Disagreement(kind, apart_most))
    ranks = [frame["probability"].rank().to_numpy(dtype=np.float64) for frame in (one, other)]
    constant = any(np.ptp(rank) == 0 for rank in ranks)
    correlation = float("nan") if constant else float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    slices = compare_slices(evaluation, first, resamples)
    return Against(side, comparison, slices, tuple(disagreements), recalls, correlation)


def compare_slices(run: Evaluation, first: Evaluation, resamples: int, seed: int = 0) -> tuple[SliceGap, ...]:
    """A run less a first one in every slice of the breasts, patients resampled alike for both."""
    names = [name for name in SLICE_METRICS if name in run.metrics and name in first.metrics]
    found = []
    parts = slice_parts(first.breasts)
    with Progress("slices", len(parts), "slices") as progress:
        for by, value, chosen in progress.over(parts):
            rows = chosen.to_numpy()
            positives = int(first.breasts.loc[rows, "cancer"].sum())
            part = SliceGap(by, value, int(rows.sum()), positives)
            if min(positives, part.breasts - positives) >= FEWEST:
                pair = resample([_cut(one, rows) for one in (run, first)], resamples, seed, names)
                gaps = {name: difference(name, pair[0], pair[1]) for name in names}
                part = SliceGap(by, value, part.breasts, positives, gaps)
            found.append(part)
    return tuple(found)


def _cut(run: Evaluation, rows: Bools) -> SortedBreasts:
    """Some breasts of a run, recalled at the thresholds of the whole."""
    breasts = run.breasts[rows]
    at_nested = breasts["recalled"].where(breasts["threshold"].notna())
    return sorted_breasts(breasts, run.points, run.prevalence, at_fixed=at_nested)


def _margins(breasts: pd.DataFrame) -> Floats:
    """(n,) how far each breast lies above its threshold, in logits: scales of two runs need not be the same."""
    return logit(breasts["probability"]) - logit(breasts["threshold"])
