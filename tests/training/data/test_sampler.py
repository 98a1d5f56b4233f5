"""What comes at which position of an epoch is a function of (seed, epoch, position), on any number of ranks."""

import itertools

import numpy as np
import pytest

from rsna.training.data.batch import BatchPlan
from rsna.training.data.order import ShuffledOrder
from rsna.training.data.sampler import EpochSampler, ShardSampler


def sampler(n, seed, world, micro, rank=0, global_batch=16):
    plan = BatchPlan(world, micro, global_batch // (world * micro))
    return EpochSampler(ShuffledOrder(np.arange(n), seed, global_batch), plan, seed, rank)


def steps(n, seed, epoch, world, micro, global_batch=16):
    """The draws of each optimiser step, over all ranks."""
    ranks = []
    for rank in range(world):
        one = sampler(n, seed, world, micro, rank, global_batch)
        one.set_epoch(epoch)
        ranks.append(list(one))
        assert len(ranks[-1]) == len(one)
    accumulate = global_batch // (world * micro)
    merged = [list(itertools.chain(*batches)) for batches in zip(*ranks, strict=True)]
    return [list(itertools.chain(*merged[i : i + accumulate])) for i in range(0, len(merged), accumulate)]


@pytest.mark.parametrize(("world", "micro"), [(1, 8), (2, 8), (2, 4), (4, 1)])
def test_steps_hold_the_same_images_with_the_same_draws_however_they_are_made_up(world, micro):
    assert steps(100, 3, 2, world, micro) == steps(100, 3, 2, 1, 16)


def test_an_epoch_holds_no_image_twice_and_epochs_differ():
    flat = [draw for step in steps(100, 0, 0, 2, 8) for draw in step]
    assert len({draw.index for draw in flat}) == len(flat) == 96
    assert len({draw.seed for draw in flat}) == 96
    assert flat != [draw for step in steps(100, 0, 1, 2, 8) for draw in step]


def test_a_resumed_sampler_goes_on_where_it_was():
    whole = sampler(100, 0, 1, 8)
    whole.set_epoch(1)
    resumed = sampler(100, 0, 1, 8)
    resumed.resume(1, 5)
    resumed.set_epoch(1)  # Lightning says the epoch again
    assert list(resumed) == list(whole)[5:]
    resumed.set_epoch(2)
    assert resumed.position == 0


@pytest.mark.parametrize(("n", "world"), [(10, 2), (9, 2), (1, 2), (33, 3)])
def test_validation_covers_every_row_with_as_many_batches_a_rank(n, world):
    shards = [list(ShardSampler(n, 4, rank, world)) for rank in range(world)]
    assert {draw.index for shard in shards for batch in shard for draw in batch} == set(range(n))
    assert len({len(shard) for shard in shards}) == 1
