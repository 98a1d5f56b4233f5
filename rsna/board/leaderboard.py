"""The CV pF1 leaderboard: run folders ranked by nested pF1, each dataset and split of folds apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

from rsna.evaluation.bootstrap import RESAMPLES, Difference
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.compare import compare, holm
from rsna.evaluation.evaluate import Evaluation
from rsna.runs.run import Run

NOISE = 0.05
"""A run whose paired difference from the leader has a corrected p at or above this is not told apart from it."""

Against = Literal["leader", "noise", "behind", "not compared"]
"""Where a run stands: it leads, its difference from the leader may be noise, or it may not, or cannot be tested."""


@dataclass(frozen=True)
class Place:
    """One run in the ranking."""

    run: Run
    rank: int | None
    """1 for the leader; None for runs that are listed, not ranked."""
    against: Against
    difference: Difference | None = None
    """Nested pF1 of the leader less this run's, on the same resampled patients; its p is that of this test alone."""
    p: float | None = None
    """p of the difference corrected (Holm) for all comparisons with this leader, by which `against` is decided."""
    why: str = ""
    """What keeps a run out of the ranking or the comparison."""
    evaluate: Callable[[], Evaluation] = field(repr=False, kw_only=True)
    """The run's breasts, computed once: the page shows what the comparison was made of."""


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
    runs = sorted(runs, key=lambda run: (-(run.metric("pf1_nested") or 0.0), run.name))
    places = [
        Place(run, rank, "leader" if rank == 1 else "not compared", evaluate=cache(run.evaluate))
        for rank, run in enumerate((run for run in runs if run.metric("pf1_nested") is not None), 1)
    ]
    if resamples:
        compared = [_compared(places[0], place, resamples) for place in places[1:]]
        # With many runs some p is small by chance alone.
        corrected = holm([place.difference.p if place.difference else float("nan") for place in compared])
        places[1:] = [
            replace(place, p=p, against="behind" if p < NOISE else "noise") if place.difference else place
            for place, p in zip(compared, corrected, strict=True)
        ]
    places += [
        Place(run, None, "not compared", why=_unranked(run), evaluate=cache(run.evaluate))
        for run in runs
        if run.metric("pf1_nested") is None
    ]
    data = runs[0].record.data
    return Group(runs[0].comparable, data.name, data.sampling, tuple(places))


def _compared(leader: Place, place: Place, resamples: int) -> Place:
    for one, whose in ((place, ""), (leader, f"the leader {leader.run.path} cannot be compared with: ")):
        try:
            one.evaluate()
        except (PredictionError, ValueError, OSError) as error:
            return replace(place, why=f"{whose}{error}")
    try:
        gap = compare(leader.evaluate(), place.evaluate(), resamples, names=("pf1_nested",)).differences["pf1_nested"]
    except PredictionError as error:
        # A run that lost an image holds other breasts: its metrics stand, the paired test cannot.
        return replace(place, why=str(error))
    return replace(place, difference=gap)


def _unranked(run: Run) -> str:
    if run.metrics is not None:
        return "nested pF1 is undefined: some folds lack positives"
    if "cancer" not in run.record.targets:
        return f"learns {', '.join(run.record.targets)}, not cancer"
    return f"{len(run.fold_metrics)} of {run.record.n_folds} folds are finished"
