"""Which example comes at which position of an epoch: a function of (seed, epoch, position), on any number of ranks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from rsna.training.data.batch import BatchPlan
from rsna.training.data.order import EpochOrder


@dataclass(frozen=True)
class Draw:
    """One position of an epoch."""

    index: int
    """Place of the example in :class:`rsna.dataset.examples.Examples`."""
    seed: int
    """Seed of its augmentation, below 2^32."""


def draw_seed(seed: int, epoch: int, position: int) -> int:
    """Seed of the example at ``position`` of ``epoch``."""
    return int(np.random.SeedSequence((seed, epoch, position)).generate_state(1)[0])


def image_seed(draw: Draw, place: int) -> int:
    """Seed of the image at ``place`` within its example: the views of a breast are changed each by itself.

    The first image has the example's own seed.
    """
    return draw.seed if place == 0 else int(np.random.SeedSequence((draw.seed, place)).generate_state(1)[0])


class EpochSampler(Sampler[list[Draw]]):
    """Micro-batches of one rank over one epoch.

    The global batch at optimiser step s holds positions s·G to (s + 1)·G − 1. Its micro-batch m on rank r of R takes
    the examples at m·R·b + r·b onwards, b at a time: with accumulation or with more ranks, the same examples make up a
    step.
    """

    def __init__(self, order: EpochOrder, plan: BatchPlan, seed: int, rank: int) -> None:
        self.order, self.plan, self.seed, self.rank = order, plan, seed, rank
        self.epoch = 0
        self.position = 0
        """Micro-batches of this epoch that have been trained on; the training loop keeps it."""

    def __len__(self) -> int:
        return len(self.order) // (self.plan.devices * self.plan.per_device)

    def set_epoch(self, epoch: int) -> None:
        """Starts an epoch from its beginning, unless it is the one that was resumed."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def resume(self, epoch: int, position: int) -> None:
        """Goes on at micro-batch ``position`` of ``epoch``."""
        self.epoch, self.position = epoch, position

    def __iter__(self) -> Iterator[list[Draw]]:
        order = self.order.indices(self.epoch)
        micro = self.plan.per_device
        for batch in range(self.position, len(self)):
            first = (batch * self.plan.devices + self.rank) * micro
            positions = range(first, first + micro)
            yield [Draw(int(order[p]), draw_seed(self.seed, self.epoch, p)) for p in positions]


class ShardSampler(Sampler[list[Draw]]):
    """Every example once over all ranks, in order; short ranks repeat the first so that all have as many batches.

    With unequal numbers of batches, the ranks would wait for each other for ever.
    """

    def __init__(self, n: int, batch_size: int, rank: int, world: int) -> None:
        self.n, self.batch_size, self.rank, self.world = n, batch_size, rank, world

    def __len__(self) -> int:
        return -(-self.n // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[Draw]]:
        for batch in range(len(self)):
            first = (batch * self.world + self.rank) * self.batch_size
            indices = [index for index in range(first, first + self.batch_size) if index < self.n] or [0]
            yield [Draw(index, 0) for index in indices]
