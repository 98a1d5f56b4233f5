"""How much is predicted for each image of an example, and what to give up when time runs short."""

import time
from dataclasses import dataclass

from rsna.runs.trained_model import TrainedModel

MARGIN = 0.95
"""Share of the time left that a projection may fill: the rest is for what it does not foresee."""

RESERVE_S = 90.0
"""Seconds before the end at which no further file is begun: one file's time-out, the last batch, the submission."""

WARM_UP = 32
"""Images after which a projection means something; loading and first batches are slow."""


@dataclass(frozen=True)
class PassPlan:
    """What each image gets."""

    networks: int
    """Folds used, from the first."""
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

    def cheaper(self) -> "list[PassPlan]":
        """This plan and every cheaper one, dearest first: test-time augmentation goes first, then folds."""
        plans = [self] if self.flip else []
        return plans + [PassPlan(n, False) for n in range(self.networks, 0, -1)]

    def __str__(self) -> str:
        return f"{self.networks} {'fold' if self.networks == 1 else 'folds'}{', mirrored too' if self.flip else ''}"


@dataclass(frozen=True)
class Pace:
    """How long an image takes, seconds, as measured over those done."""

    prepare: float
    """Wall time of preparing: a worker's time over the number of workers."""
    network: float
    """Wall time of one forward pass: a device's time over the number of devices."""

    def seconds(self, images: int, plan: PassPlan) -> float:
        """Time for ``images``: preparing and networks overlap, so the slower of them counts."""
        return images * max(self.prepare, self.network * plan.passes)


def choose_plan(plan: PassPlan, pace: Pace, images: int, left: float) -> PassPlan:
    """The dearest plan, from ``plan`` downwards, that predicts ``images`` in ``left`` seconds.

    Where none does, the dearest of those that are as fast as the cheapest: with preparing too slow, giving up folds
    gains nothing.
    """
    plans = plan.cheaper()
    fitting = [p for p in plans if pace.seconds(images, p) <= MARGIN * left]
    fastest = pace.seconds(images, plans[-1])
    return fitting[0] if fitting else next(p for p in plans if pace.seconds(images, p) <= fastest)


class Clock:
    """Time since the start against a budget."""

    def __init__(self, budget: float | None) -> None:
        self._started = time.monotonic()
        self.budget = budget

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds until no further file is begun; endless without a budget."""
        if self.budget is None:
            return float("inf")
        # A budget of minutes keeps a smaller reserve.
        return self.budget - min(RESERVE_S, 0.1 * self.budget) - self.elapsed

    @property
    def over(self) -> bool:
        """Whether it is time to stop."""
        return self.left <= 0
