"""Which example comes at which position of an epoch: a function of (seed, epoch, position), on any number of ranks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from rsna.config.settings import ConfigError
from rsna.config.training import SamplerSettings
from rsna.training.data.batch import BatchPlan

Indices = npt.NDArray[np.int64]
"""Places of examples in :class:`rsna.dataset.examples.Examples`."""


class EpochOrder(ABC):
    """An example for every position of an epoch."""

    length: int
    """Positions of an epoch, a multiple of the global batch."""

    def __len__(self) -> int:
        return self.length

    @abstractmethod
    def indices(self, epoch: int) -> Indices:
        """(length,) int64, the example at every position."""


class ShuffledOrder(EpochOrder):
    """Listed examples, shuffled anew each epoch.

    Those beyond the last whole batch wait for another epoch. A list shorter than one batch is repeated to fill it.
    """

    def __init__(self, listed: Indices, seed: int, global_batch_size: int) -> None:
        """Takes (n,) examples; one that is listed twice comes twice an epoch."""
        self.listed, self.seed = listed, seed
        self.length = max(len(listed) // global_batch_size, 1) * global_batch_size

    def indices(self, epoch: int) -> Indices:
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.listed))
        return self.listed[np.resize(order, self.length)]


class BalancedOrder(EpochOrder):
    """At least k positives in every micro-batch; no example is lost over epochs.

    Where there are enough positives, every example comes once an epoch and positives are spread evenly. Where there are
    not, negatives come once and positives as often as the batches need, no one of them twice more than another.
    Examples that do not fill a last step wait for another epoch.
    """

    def __init__(self, positive: npt.NDArray[np.bool_], seed: int, plan: BatchPlan, least: int) -> None:
        """Takes (n,) whether an example is a positive, and the least number of positives in a micro-batch.

        Unlabelled ones, of sets that are only trained on, come where negatives do; the loss leaves their label out.

        Raises:
            ConfigError: There are no positives, or no negatives.
        """
        self.positives, self.negatives = np.flatnonzero(positive), np.flatnonzero(~positive)
        if not len(self.positives) or not len(self.negatives):
            raise ConfigError(
                f"sampler.kind: balanced needs both, and this fold trains on {len(self.positives)} positives and "
                f"{len(self.negatives)} negatives; use plain"
            )
        self.seed, self.micro = seed, plan.per_device
        in_step = plan.devices * plan.accumulate  # micro-batches
        batches = max(len(positive) // (self.micro * in_step), 1) * in_step
        if len(self.positives) < least * batches:
            # Fewer places for negatives, so more batches.
            batches = max(len(self.negatives) // ((self.micro - least) * in_step), 1) * in_step
        self.batches = batches
        self.length = batches * self.micro
        share = round(self.length * len(self.positives) / len(positive))
        self.in_epoch = max(least * batches, min(share, self.length - 1))

    def indices(self, epoch: int) -> Indices:
        generator = np.random.default_rng((self.seed, epoch))
        rounds = -(-self.in_epoch // len(self.positives))
        positives = np.concatenate([generator.permutation(self.positives) for _ in range(rounds)])[: self.in_epoch]
        others = self.length - self.in_epoch
        negatives = np.resize(generator.permutation(self.negatives), others)
        # Each batch gets its share of positives, the first ones of a random order one more where it does not divide.
        share = np.full(self.batches, self.in_epoch // self.batches)
        share[generator.permutation(self.batches)[: self.in_epoch % self.batches]] += 1
        place = np.arange(self.micro) < share[:, None]  # (batches, micro)
        order = np.empty((self.batches, self.micro), dtype=np.int64)
        order[place], order[~place] = positives, negatives
        return generator.permuted(order, axis=1).reshape(-1)


class SpreadOrder(EpochOrder):
    """Another order with the values of a column spread evenly over it, so that every batch mixes them.

    Positions of positives stay such: what a batch holds of them is the other order's.
    """

    def __init__(self, order: EpochOrder, kinds: Indices, positive: npt.NDArray[np.bool_], seed: int) -> None:
        """Takes (n,) the number of each example's value, and whether it is a positive."""
        self.order, self.kinds, self.positive, self.seed = order, kinds, positive, seed
        self.length = len(order)

    def indices(self, epoch: int) -> Indices:
        order, generator = self.order.indices(epoch).copy(), np.random.default_rng((self.seed, epoch, 1))
        for chosen in (self.positive[order], ~self.positive[order]):
            order[chosen] = self._spread(order[chosen], generator)
        return order

    def _spread(self, examples: Indices, generator: np.random.Generator) -> Indices:
        """The same examples in another order: the k-th of n of a value lies at (k + u) / n, u in [0, 1) its own."""
        place = np.empty(len(examples))
        kinds = self.kinds[examples]
        by_kind = np.argsort(kinds, kind="stable")
        for here in np.split(by_kind, np.flatnonzero(np.diff(kinds[by_kind])) + 1):
            if len(here):  # where there is no example, nothing is drawn
                place[here] = (np.arange(len(here)) + generator.random()) / len(here)
        return examples[np.argsort(place, kind="stable")]


def make_order(
    positive: npt.NDArray[np.bool_], settings: SamplerSettings, seed: int, plan: BatchPlan, kinds: Indices | None = None
) -> EpochOrder:
    """The order that ``settings`` ask for, over (n,) whether each example is a positive.

    Args:
        positive: (n,).
        settings: Of the sampler.
        seed: Of the shuffles.
        plan: How a step is made up.
        kinds: (n,) number of the value that is spread; None where none is.
    """
    order: EpochOrder
    if settings.kind == "balanced":
        order = BalancedOrder(positive, seed, plan, settings.positives)
    else:
        listed = np.arange(len(positive))
        if settings.kind == "repeated":
            listed = np.repeat(listed, np.where(positive, settings.repeats, 1))
        order = ShuffledOrder(listed, seed, plan.devices * plan.per_device * plan.accumulate)
    return order if kinds is None else SpreadOrder(order, kinds, positive, seed)


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


def example_generator(draw: Draw) -> np.random.Generator:
    """What is drawn of an example as a whole; of other numbers than any of its images' seeds."""
    return np.random.default_rng((draw.seed, 0, 1))


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
