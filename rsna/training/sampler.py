"""Which image comes at which position of an epoch: a function of (seed, epoch, position), on any number of ranks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler


@dataclass(frozen=True)
class Draw:
    """One position of an epoch."""

    index: int
    """Row of the training table."""
    seed: int
    """Seed of the image's augmentation, below 2^32."""


def epoch_order(n: int, seed: int, epoch: int, global_batch_size: int) -> npt.NDArray[np.int64]:
    """Row indices of an epoch, a whole number of global batches.

    The rows are shuffled anew each epoch; those beyond the last whole batch wait for another epoch. A table smaller
    than one batch is repeated to fill it.
    """
    order = np.random.default_rng((seed, epoch)).permutation(n)
    whole = max(n // global_batch_size, 1) * global_batch_size
    return np.resize(order, whole)


def draw_seed(seed: int, epoch: int, position: int) -> int:
    """Seed of the image at ``position`` of ``epoch``."""
    return int(np.random.SeedSequence((seed, epoch, position)).generate_state(1)[0])


class EpochSampler(Sampler[list[Draw]]):
    """Micro-batches of one rank over one epoch.

    The global batch at optimiser step s holds positions s·G to (s + 1)·G − 1. Its micro-batch m on rank r of R takes
    the images at m·R·b + r·b onwards, b at a time: with accumulation or with more ranks, the same images make up a
    step.
    """

    def __init__(self, n: int, seed: int, global_batch_size: int, micro_batch_size: int, rank: int, world: int) -> None:
        self.n, self.seed = n, seed
        self.global_batch_size, self.micro_batch_size = global_batch_size, micro_batch_size
        self.rank, self.world = rank, world
        self.epoch = 0
        self.position = 0
        """Micro-batches of this epoch that have been trained on; the training loop keeps it."""

    def __len__(self) -> int:
        whole = max(self.n // self.global_batch_size, 1) * self.global_batch_size
        return whole // (self.world * self.micro_batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Starts an epoch from its beginning, unless it is the one that was resumed."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def resume(self, epoch: int, position: int) -> None:
        """Goes on at micro-batch ``position`` of ``epoch``; at an epoch's end that is the next one's first."""
        self.epoch, self.position = (epoch + 1, 0) if position >= len(self) else (epoch, position)

    def __iter__(self) -> Iterator[list[Draw]]:
        order = epoch_order(self.n, self.seed, self.epoch, self.global_batch_size)
        for batch in range(self.position, len(self)):
            first = (batch * self.world + self.rank) * self.micro_batch_size
            positions = range(first, first + self.micro_batch_size)
            yield [Draw(int(order[p]), draw_seed(self.seed, self.epoch, p)) for p in positions]


class ShardSampler(Sampler[list[Draw]]):
    """Every row once over all ranks, in order; short ranks repeat row 0 so that all have as many batches."""

    def __init__(self, n: int, batch_size: int, rank: int, world: int) -> None:
        self.n, self.batch_size, self.rank, self.world = n, batch_size, rank, world

    def __len__(self) -> int:
        return -(-self.n // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[Draw]]:
        for batch in range(len(self)):
            first = (batch * self.world + self.rank) * self.batch_size
            rows = [row for row in range(first, first + self.batch_size) if row < self.n] or [0]
            yield [Draw(row, 0) for row in rows]
