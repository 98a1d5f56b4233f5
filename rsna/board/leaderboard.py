"""The CV pF1 leaderboard: run folders ranked by nested pF1, each dataset and split of folds apart."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np

from rsna.evaluation.bootstrap import RESAMPLES, Difference, Resamples
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.compare import SeedNoise, against_leader, check_comparable
from rsna.evaluation.evaluate import Evaluation
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.tables import number
from rsna.parallel.progress import Progress
from rsna.runs.errors import RunError
from rsna.runs.resamples import COMPARED, Resampled, first_resamples, resampled
from rsna.runs.run import Run
from rsna.runs.schema import CV
from rsna.runs.schema import METRICS as METRICS_FILE

_ROUNDING = 1e-6
"""What other versions of a library may make of a metric."""

_MOST_KEPT = 1_000_000
"""Breasts of a run that are kept while others are looked at: some 300 MB."""

NOISE = 0.05
"""A run whose paired difference from the leader has a corrected p at or above this is not told apart from it."""

Against = Literal["leader", "noise", "behind", "not compared"]
"""Where a run stands: it leads, its difference from the leader may be noise, or it may not, or cannot be tested."""


@dataclass(frozen=True)
class Spread:
    """A metric over the seeds of one configuration."""

    mean: float
    sd: float
    """Standard deviation between seeds; NaN of one alone."""
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Member:
    """One run of a place."""

    run: Run
    evaluate: Callable[[], Evaluation] = field(repr=False)
    """The run's breasts, computed once: the page shows what the comparison was made of."""


@dataclass(frozen=True)
class Place:
    """One configuration in the ranking: a run, or the runs that differ from it in their seed alone."""

    members: tuple[Member, ...]
    """By rising seed; one where a run is not ranked."""
    rank: int | None
    """1 for the leader and whoever has just its score; None for runs that are listed, not ranked."""
    against: Against
    interval: tuple[float, float] | None = None
    """Of the nested pF1 that is shown: of several seeds over patients and seeds together; None where there is none."""
    difference: Difference | None = None
    """Nested pF1 of the leader less this one's, on the same resampled patients, and over seeds where the group has
    several of some configuration; its p is that of this test alone."""
    p: float | None = None
    """p of the difference corrected for all that the leader is the best of, by which `against` is decided."""
    why: str = ""
    """What keeps a run out of the ranking or the comparison."""

    @property
    def run(self) -> Run:
        """The first of its runs."""
        return self.members[0].run

    @property
    def evaluate(self) -> Callable[[], Evaluation]:
        """Of the first of its runs."""
        return self.members[0].evaluate

    @property
    def runs(self) -> tuple[Run, ...]:
        """All of its runs, by rising seed."""
        return tuple(member.run for member in self.members)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of its runs."""
        return tuple(run.config.seed for run in self.runs)

    def spread(self, name: str) -> Spread | None:
        """A metric over the runs, as they show it; None where one of them has none."""
        values = [run.shown.get(name) if run.shown else None for run in self.runs]
        known = np.array([value for value in values if value is not None])
        if len(known) < len(values):
            return None
        sd = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
        return Spread(float(known.mean()), sd, float(known.min()), float(known.max()), len(known))

    def value(self, name: str) -> float | None:
        """Mean of a metric over the runs; None where one of them has none."""
        found = self.spread(name)
        return found.mean if found else None

    @property
    def submitted(self) -> tuple[Run, ...]:
        """Those of its runs that the competition has scored."""
        return tuple(run for run in self.runs if (run.lb.public, run.lb.private) != (None, None))

    def lb(self, part: Literal["public", "private"]) -> float | None:
        """Mean of the competition's scores over the runs that have one; None where none has."""
        found = [score for run in self.runs if (score := getattr(run.lb, part)) is not None]
        return float(np.mean(found)) if found else None

    @property
    def seconds(self) -> float | None:
        """Training and predicting, over all of its runs; None where one does not say."""
        spent = [run.seconds for run in self.runs]
        return None if None in spent else sum(filter(None, spent))

    @property
    def hardware(self) -> str:
        """Devices that its runs were trained on, each kind once."""
        return "; ".join(dict.fromkeys(run.hardware for run in self.runs if run.hardware))


@dataclass(frozen=True)
class Group:
    """Runs on the same images and the same folds."""

    comparable: tuple[str, str]
    """Dataset and folds hashes."""
    data: str
    """Name of the set."""
    sampling: str
    places: tuple[Place, ...]
    """Best nested pF1 first, those not ranked last."""
    simulated: bool
    """Whether the images are the embedded sample's."""
    split: str = ""
    """How patients were split, in words: `4 folds, seed 0`."""
    noise: SeedNoise | None = None
    """What training adds to nested pF1 from seed to seed; None where every configuration has one seed, so that a
    difference is one between these trained models, not between configurations."""
    detectable: float | None = None
    """Difference from the leader that would just be told from noise; None where nothing was compared."""

    @property
    def title(self) -> str:
        """What people call it: set, split, and how much of it is scored."""
        shown = next((place.run.metrics for place in self.ranked if place.run.metrics), None)
        scored = f", {shown.breasts:,} breasts, {shown.positives:,} positive" if shown else ""
        return f"{self.data}, {self.split}{scored}"

    @property
    def ranked(self) -> tuple[Place, ...]:
        """The places that have a rank."""
        return tuple(place for place in self.places if place.rank is not None)


def leaderboard(runs: Sequence[Run], resamples: int = RESAMPLES) -> list[Group]:
    """Ranks runs within each dataset and split of folds; 0 ``resamples`` leaves out the comparison with leaders."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault(run.comparable, []).append(run)
    return [_group(members, resamples) for members in groups.values()]


def _group(runs: list[Run], resamples: int) -> Group:
    evaluate = {run.path: _evaluated(run) for run in runs}
    with Progress("score", len(runs), "runs") as progress:
        why = {run.path: _unranked(run) for run in runs}
        # One alone is compared with nothing, and its interval stands in metrics.json.
        needed = resamples if [*why.values()].count("") > 1 else 0
        scored = {run.path: cache(partial(resampled, run, needed, evaluate[run.path])) for run in runs}
        why |= {run.path: why[run.path] or _differs(run, scored[run.path]) for run in progress.over(runs)}

    def place(members: Sequence[Run], against: Against = "not compared", why: str = "") -> Place:
        found = tuple(Member(run, evaluate[run.path]) for run in members)
        return Place(found, None, against, interval=members[0].ends(COMPARED) if len(members) == 1 else None, why=why)

    places = [place(members) for members in by_seed([run for run in runs if not why[run.path]])]
    places.sort(key=lambda one: (-(one.value(COMPARED) or 0.0), one.run.name))
    scores = [one.value(COMPARED) for one in places]
    # Equal scores share a rank, the next rank is by how many are better; the first by name is compared with.
    places = [replace(one, rank=1 + scores.index(score)) for one, score in zip(places, scores, strict=True)]
    noise = detectable = None
    if places:
        places[0] = replace(places[0], against="leader")
        if needed:
            places, noise, detectable = _compared(places, scored, resamples)
    places += [place([run], why=why[run.path]) for run in sorted(runs, key=lambda run: run.name) if why[run.path]]
    data = runs[0].record.data
    # Runs may say differently of one set; what holds of one of them has to be known of all.
    sampling = "enriched" if any(run.record.data.sampling == "enriched" for run in runs) else data.sampling
    about = runs[0].comparable, data.name, sampling
    return Group(*about, tuple(places), data.simulated, _split(runs[0]), noise, detectable)


def _evaluated(run: Run) -> Callable[[], Evaluation]:
    """The run's own breasts, computed once; where they are very many, each time: thirty of such fill no memory."""
    kept: list[Evaluation] = []

    def evaluate() -> Evaluation:
        found = kept[0] if kept else run.evaluate()
        if not kept and len(found.breasts) <= _MOST_KEPT:
            kept.append(found)
        return found

    return evaluate


def _split(run: Run) -> str:
    folds = run.config.folds
    if folds.file:
        return f"{run.record.n_folds} folds of {Path(folds.file).name}"
    if folds.by != "chance":
        return f"{run.record.n_folds} parts by {folds.by}"
    return f"{run.record.n_folds} folds, seed {folds.seed}"


def by_seed(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in the seed alone together, by rising seed; one that repeats a seed stands by itself."""
    found: dict[tuple[str, int], list[Run]] = {}
    times: Counter[tuple[str, int]] = Counter()
    for run in sorted(runs, key=lambda run: (run.config.seed, run.record.created, run.name)):
        again = run.configuration, run.config.seed
        found.setdefault((run.configuration, times[again]), []).append(run)
        times[again] += 1
    return list(found.values())


def _compared(
    places: Sequence[Place], scored: Mapping[Path, Callable[[], Resampled]], resamples: int
) -> tuple[list[Place], SeedNoise | None, float | None]:
    """The places against the first of them, what training adds from seed to seed, and what would just be told."""
    leader, done = places[0], list(places)
    tested: dict[int, list[Resamples]] = {}
    breasts = ""
    for place, one in enumerate(places):
        try:
            kept = [scored[run.path]() for run in one.runs]
            breasts = breasts or kept[0].breasts
            if any(each.breasts != breasts for each in kept):
                for member in one.members:  # one that lost an image holds other breasts: its metrics stand
                    check_comparable(leader.evaluate(), member.evaluate())
        except (PredictionError, RunError, ValueError, OSError) as error:
            if not place:
                why = f"the leader {leader.run.path} cannot be compared with: {error}"
                return [leader, *(replace(one, why=why) for one in places[1:])], None, None
            done[place] = replace(one, why=str(error))
        else:
            tested[place] = [first_resamples(each, resamples) for each in kept]
    standings = against_leader(list(tested.values()), COMPARED)
    for place, row in zip(tested, standings.rows, strict=True):
        one = done[place]
        if len(one.members) > 1:
            one = replace(one, interval=(row.interval.low, row.interval.high))
        if place:
            one = replace(one, difference=row.difference, p=row.p, against="behind" if row.p < NOISE else "noise")
        done[place] = one
    detectable = None if np.isnan(standings.detectable) else standings.detectable
    return done, standings.noise if standings.noise.degrees else None, detectable


def _unranked(run: Run) -> str:
    """What keeps a run out of the ranking; empty where nothing does."""
    for why in run.changed.values():
        return why
    if run.metrics is not None:
        undefined = run.metric("pf1_nested") is None
        return "nested pF1 is undefined: some folds lack positives" if undefined else ""
    if "cancer" not in run.record.targets:
        return f"learns {', '.join(run.record.targets)}, not cancer"
    if run.pooled:
        return "no breast of it is positive"
    if len(run.fold_metrics) == run.record.n_folds:
        return "all folds are finished, and not pooled yet; python train.py fold=all does that"
    folds = ", ".join(map(str, run.fold_metrics))
    alone = " alone, nested pF1 cross-fitted on other patients of it" if len(run.fold_metrics) == 1 else ""
    of = f"; the metrics shown are of fold {folds}{alone}" if run.shown else ""
    return f"{len(run.fold_metrics)} of {run.record.n_folds} folds are finished{of}"


def _differs(run: Run, scored: Callable[[], Resampled]) -> str:
    """Where the metrics that a run is ranked by are not those of its predictions; empty where they are.

    Whoever edits metrics.json by hand is found out by its checksum; this finds whoever wrote a checksum, too.
    """
    try:
        found = scored().metrics
    except (PredictionError, RunError, ValueError, OSError):  # is said where it is compared
        return ""
    for name, metric in METRICS.items():
        if run.metrics and not run.metrics.has(name):  # which is newer than the run
            continue
        recorded, value = run.metric(name), found[name]
        if recorded is None and value is None:
            continue
        if recorded is not None and value is not None and abs(recorded - value) <= _ROUNDING:
            continue
        return (
            f"{run.path / CV / METRICS_FILE} says {metric.title} {number(recorded)}, the predictions beside it give "
            f"{number(value)}; python train.py fold=all scores them again"
        )
    return ""
