"""Where the time of a prediction goes, how much is predicted for each image, what to give up when time runs short."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, fields, replace
from math import inf

from rsna.runs.trained_model import TrainedModel

MARGIN = 0.95
"""Share of the time left that a projection may fill: the rest is for what it does not foresee."""

RESERVE_S = 90.0
"""Seconds before the end at which no further file is begun. After a quarter of them files in work are given up, after
another one the networks have done; half is for the submission, and for a process with torch to end: 4 s on a busy
machine."""

WARM_UP = 32
"""Images after which a projection means something; loading and first batches are slow."""


@dataclass
class Work:
    """What went into the networks of one member."""

    seconds: float = 0.0
    passes: int = 0
    """Forward passes over one image each."""
    first_seconds: float = 0.0
    """The part of ``seconds`` that went into the first batch of each device."""
    first_passes: int = 0
    """The part of ``passes`` in these."""

    def add(self, other: "Work") -> None:
        """Adds what went into the networks of another process."""
        for one in fields(Work):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    @property
    def a_pass(self) -> float:
        """Seconds; first batches pay for what is loaded, chosen and compiled once."""
        return (self.seconds - self.first_seconds) / max(self.passes - self.first_passes, 1)


@dataclass
class Stages:
    """Where the time goes: seconds, summed over processes and devices but for ``wall``."""

    read: float = 0.0
    decode: float = 0.0
    prepare: float = 0.0
    members: defaultdict[int, Work] = field(default_factory=lambda: defaultdict(Work))
    wall: float = 0.0
    """From the first file to the last prediction."""
    prepared: int = 0
    """Images that were prepared, by the settings of every member at once."""
    doubts: Counter[str] = field(default_factory=Counter)
    """Why predictions may mean nothing, and of how many images."""
    told: Counter[str] = field(default_factory=Counter)
    """Table inputs that headers told, since the table did not, and of how many images: of the member that asks most."""

    def add(self, other: "Stages") -> None:
        """Adds the work of another process but for ``wall``: who works side by side shares it."""
        for name in ("read", "decode", "prepare", "prepared", "doubts", "told"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for member, work in other.members.items():
            self.members[member].add(work)

    @property
    def network(self) -> float:
        """Seconds in networks."""
        return sum(work.seconds for work in self.members.values())


@dataclass(frozen=True)
class PassPlan:
    """What each image gets of one member."""

    networks: int
    """Folds used, from the first; 0 where the member is given up."""
    flip: bool
    """Whether the mirrored image is predicted, too."""

    @classmethod
    def of(cls, trained: TrainedModel, flip: bool | None) -> "PassPlan":
        """Every fold of a model; None mirrors where its out-of-fold predictions did."""
        return cls(len(trained.weights), trained.flip if flip is None else flip)

    @property
    def passes(self) -> int:
        """Forward passes an image."""
        return self.networks * (2 if self.flip else 1)

    def __str__(self) -> str:
        return f"{self.networks} {'fold' if self.networks == 1 else 'folds'}{', mirrored too' if self.flip else ''}"


Plans = tuple[PassPlan, ...]
"""One a member."""


def cheaper(plans: Plans) -> list[Plans]:
    """These plans and every cheaper ones, dearest first.

    Test-time augmentation goes first, then folds, each time of the last member of those that have most, then members,
    from the last.
    """
    found = [plans]
    if any(plan.flip for plan in plans):
        found.append(tuple(replace(plan, flip=False) for plan in plans))
    while sum(plan.networks for plan in found[-1]) > 1:
        left = list(found[-1])
        most = max(plan.networks for plan in left)
        last = max(member for member, plan in enumerate(left) if plan.networks == most)
        left[last] = PassPlan(most - 1, False)
        found.append(tuple(left))
    return found


def in_words(plans: Plans) -> str:
    """`4 folds, mirrored too`; of several members, in their order, `4 folds + 2 folds`."""
    return " + ".join(map(str, plans))


@dataclass(frozen=True)
class Pace:
    """How long an image takes, seconds, as measured over those done."""

    prepare: float
    """Wall time of preparing: a worker's time over the number of workers."""
    networks: tuple[float, ...]
    """Wall time of one forward pass of each member: a device's time over the number of devices."""

    def seconds(self, images: int, plans: Plans) -> float:
        """Time for ``images``: preparing and networks overlap, so the slower of them counts."""
        passes = sum(one * plan.passes for one, plan in zip(self.networks, plans, strict=True))
        return images * max(self.prepare, passes)


def choose_plans(plans: Plans, pace: Pace, images: int, left: float) -> Plans:
    """The dearest plans, from ``plans`` downwards, that predict ``images`` in ``left`` seconds.

    Where none do, the dearest of those that are as fast as the cheapest: with preparing too slow, giving up folds
    gains nothing.
    """
    ladder = cheaper(plans)
    fitting = [p for p in ladder if pace.seconds(images, p) <= MARGIN * left]
    fastest = pace.seconds(images, ladder[-1])
    return fitting[0] if fitting else next(p for p in ladder if pace.seconds(images, p) <= fastest)


class Clock:
    """Time since the start against a budget."""

    def __init__(self, budget: float | None, started: float | None = None) -> None:
        """``budget`` in seconds; ``started`` is a time.monotonic(), of now where it is None."""
        self._started = time.monotonic() if started is None else started
        self.budget = budget
        # A budget of minutes keeps a smaller reserve.
        self._reserve = 0.0 if budget is None else min(RESERVE_S, 0.1 * budget)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds until no further file is begun; endless without a budget."""
        return inf if self.budget is None else self.budget - self._reserve - self.elapsed

    @property
    def deadlines(self) -> tuple[float, float]:
        """time.monotonic() at which files in work are given up, and by which networks must have done."""
        end = self._started + (inf if self.budget is None else self.budget)
        return end - 0.75 * self._reserve, end - 0.5 * self._reserve

    @property
    def over(self) -> bool:
        """Whether it is time to stop."""
        return self.left <= 0
