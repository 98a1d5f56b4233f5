"""What comes at which position of an epoch is a function of (seed, epoch, position), on any number of ranks;
each kind of sampling keeps its promise in every epoch, and loses no image over epochs."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsna.config.settings import ConfigError
from rsna.config.training import SamplerSettings
from rsna.training.data.batch import BatchPlan
from rsna.training.data.sampler import BalancedOrder, EpochSampler, ShardSampler, ShuffledOrder, make_order

PLAN = BatchPlan(2, 8, 1)


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


def mask(positives, n):
    return np.arange(n) % n < positives


def kind(name, **more):
    return SamplerSettings(kind=name, **more)


@pytest.mark.parametrize("name", ["plain", "balanced", "repeated"])
def test_orders_are_functions_of_seed_and_epoch(name):
    positive = mask(7, 100)
    orders = [make_order(positive, kind(name), seed, PLAN).indices(epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    np.testing.assert_array_equal(orders[0], make_order(positive, kind(name), 0, PLAN).indices(0))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


@pytest.mark.parametrize("name", ["plain", "balanced", "repeated"])
def test_no_image_is_lost_over_epochs(name):
    order = make_order(mask(7, 100), kind(name), 0, PLAN)
    assert {int(row) for epoch in range(20) for row in order.indices(epoch)} == set(range(100))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 300), st.floats(0.01, 0.99), st.integers(1, 3), st.sampled_from([4, 8]),
    st.integers(1, 2), st.integers(1, 3), st.integers(0, 5),
)  # fmt: skip
def test_balanced_batches_hold_their_positives_on_every_rank(n, share, least, micro, devices, accumulate, epoch):
    positives = min(max(round(n * share), 1), n - 1)
    plan = BatchPlan(devices, micro, accumulate)
    order = BalancedOrder(mask(positives, n), 0, plan, least)
    rows = order.indices(epoch)
    assert len(rows) == len(order)
    assert len(rows) % (micro * devices * accumulate) == 0
    batches = rows.reshape(-1, micro) < positives
    assert (batches.sum(1) >= least).all()
    assert batches.sum(1).max() - batches.sum(1).min() <= 1
    counts = np.bincount(rows[rows < positives], minlength=positives)
    assert counts.max() - counts.min() <= 1


def test_with_few_positives_an_epoch_still_holds_almost_every_negative_once():
    rows = make_order(mask(5, 500), kind("balanced"), 0, PLAN).indices(0)
    negatives = rows[rows >= 5]
    assert len(set(negatives)) == len(negatives) > 495 - 14


def test_with_enough_positives_no_image_comes_twice():
    rows = make_order(mask(40, 96), kind("balanced"), 0, PLAN).indices(0)
    assert sorted(rows) == list(range(96))


def test_repeated_positives_come_that_often_and_others_once():
    rows = make_order(mask(4, 16), kind("repeated", repeats=5), 0, BatchPlan(1, 4, 1)).indices(0)
    assert np.bincount(rows).tolist() == [5] * 4 + [1] * 12


def test_a_set_smaller_than_a_batch_fills_it():
    assert set(ShuffledOrder(np.arange(5), 0, 16).indices(0)) == set(range(5))


@pytest.mark.parametrize("positives", [0, 10])
def test_balanced_batches_need_both(positives):
    with pytest.raises(ConfigError, match=r"sampler\.kind: balanced needs both"):
        make_order(mask(positives, 10), kind("balanced"), 0, PLAN)


@pytest.mark.parametrize("kind", ["plain", "balanced", "repeated"])
def test_every_batch_mixes_the_values_of_a_spread_column(kind):
    rng = np.random.default_rng(0)
    kinds = np.sort(rng.choice(3, 600, p=[0.5, 0.25, 0.25]))
    positive = rng.random(600) < 0.1
    plan, options = BatchPlan(1, 16, 1), SamplerSettings(kind, positives=2, repeats=3)
    plain = make_order(positive, options, 0, plan)
    spread = make_order(positive, options, 0, plan, kinds)
    for epoch in range(3):
        before, after = plain.indices(epoch), spread.indices(epoch)
        assert np.array_equal(np.sort(before), np.sort(after))  # the same examples
        assert np.array_equal(positive[before], positive[after])  # as many positives in each batch
        counts = np.stack([(kinds[after] == k).reshape(-1, 16).sum(axis=1) for k in range(3)], axis=1)
        expected = np.stack([(kinds[before] == k).reshape(-1, 16).sum(axis=1) for k in range(3)], axis=1)
        assert (counts.min(axis=0) >= [5, 1, 1]).all()
        assert counts.std(axis=0).max() < 0.75 * expected.std(axis=0).max()
    assert np.array_equal(spread.indices(1), spread.indices(1))
    assert not np.array_equal(spread.indices(0), spread.indices(1))


def test_spread_values_lie_where_a_loop_over_each_value_puts_them():
    rng = np.random.default_rng(0)
    positive, kinds = rng.random(500) < 0.1, rng.integers(0, 40, 500)
    plain = make_order(positive, SamplerSettings(), 3, BatchPlan(1, 10, 1)).indices(2)
    generator, expected = np.random.default_rng((3, 2, 1)), plain.copy()
    for chosen in (positive[plain], ~positive[plain]):
        of_kind = kinds[plain[chosen]]
        place = np.empty(chosen.sum())
        for kind in np.unique(of_kind):
            here = of_kind == kind
            place[here] = (np.arange(here.sum()) + generator.random()) / here.sum()
        expected[chosen] = plain[chosen][np.argsort(place, kind="stable")]
    spread = make_order(positive, SamplerSettings(), 3, BatchPlan(1, 10, 1), kinds).indices(2)
    assert spread.tolist() == expected.tolist()
