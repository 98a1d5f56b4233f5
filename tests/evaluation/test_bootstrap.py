import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import rsna.evaluation.bootstrap as bootstrap
from rsna.evaluation.bootstrap import (
    FALSE_ALARMS,
    SENSITIVITIES,
    Resamples,
    curve_bands,
    difference,
    logit_interval,
    percentile_interval,
    recentred,
    resample,
)
from rsna.evaluation.counts import OperatingPoints, SortedBreasts
from rsna.evaluation.metrics import METRICS, Metric

POINTS = OperatingPoints()


def screening(rng, patients, prevalence, separation):
    """Labels, scores and patient numbers of two breasts each, alike within a patient."""
    positive = rng.random(2 * patients) < prevalence
    shared = np.repeat(rng.normal(0, 0.6, patients), 2)
    scores = 1 / (1 + np.exp(3 - separation * positive - shared - rng.normal(0, 1, 2 * patients)))
    return positive, scores, np.repeat(np.arange(patients), 2)


def simulated(seed=0, patients=150, prevalence=0.15, separation=1.5):
    positive, scores, numbers = screening(np.random.default_rng(seed), patients, prevalence, separation)
    return SortedBreasts(positive, scores, numbers, numbers % 4, POINTS)


def test_the_same_seed_draws_the_same_and_another_seed_others():
    one, again, other = (resample([simulated()], 50, seed)[0] for seed in (1, 1, 2))
    for name in METRICS:
        np.testing.assert_array_equal(one.values[name], again.values[name])
    assert not np.array_equal(one.values["auroc"], other.values["auroc"])


def test_chunks_do_not_change_the_draws(monkeypatch):
    whole = resample([simulated(prevalence=0.005)], 60)[0]
    assert whole.redrawn
    monkeypatch.setattr(bootstrap, "CHUNK_NUMBERS", 7 * 1000)
    parts = resample([simulated(prevalence=0.005)], 60)[0]
    assert whole.redrawn == parts.redrawn
    for name in METRICS:
        np.testing.assert_allclose(whole.values[name], parts.values[name], atol=1e-12)


def test_whole_patients_are_drawn():
    # Both breasts of a patient have one score and label: as if each were a single breast drawn twice.
    rng = np.random.default_rng(0)
    positive, scores = rng.random(60) < 0.4, rng.random(60)
    single = SortedBreasts(positive, scores, np.arange(60), np.arange(60) % 3, POINTS)
    twice = SortedBreasts(
        np.repeat(positive, 2),
        np.repeat(scores, 2),
        np.repeat(np.arange(60), 2),
        np.repeat(np.arange(60) % 3, 2),
        POINTS,
    )
    one, two = resample([single], 100)[0], resample([twice], 100)[0]
    for name in ("pf1_raw", "pf1_nested", "auroc", "auprc"):
        np.testing.assert_allclose(one.values[name], two.values[name], atol=1e-12)


def test_resamples_without_a_positive_are_redrawn_and_counted():
    scores = np.linspace(0, 1, 20)
    only = SortedBreasts(np.arange(20) == 15, scores, np.arange(20), np.arange(20) % 2, POINTS)
    drawn = resample([only], 400)[0]
    # A given patient is missed by (1 - 1/20)^20 = 0.358 of resamples, by as many of the redrawn, and so on.
    assert drawn.redrawn == pytest.approx(400 * 0.358 / (1 - 0.358), rel=0.2)
    assert not np.isnan(drawn.values["pf1_raw"]).any()
    assert (drawn.values["auprc"] > 0).all()


def test_no_positive_at_all_is_an_error():
    with pytest.raises(ValueError, match="at least one positive"):
        resample([SortedBreasts(np.zeros(4, dtype=bool), np.ones(4), np.arange(4), np.arange(4), POINTS)], 10)


def test_at_least_one_resample_is_drawn():
    with pytest.raises(ValueError, match="resamples must be"):
        resample([simulated()], 0)


def test_undefined_resamples_are_left_out_and_counted():
    interval = percentile_interval(np.array([0.0, np.nan, 1.0, 0.5, np.nan]), 0.5)
    assert (interval.low, interval.high, interval.undefined) == (0.25, 0.75, 2)
    nothing = percentile_interval(np.full(3, np.nan))
    assert np.isnan(nothing.low)
    assert nothing.undefined == 3


def test_the_interval_of_an_area_is_symmetric_on_the_logit():
    rng = np.random.default_rng(0)
    logits = rng.normal(2.0, 0.5, 4000)
    values = np.append(1 / (1 + np.exp(-logits)), np.nan)
    found = logit_interval(values, 0.9, 41)
    low, high = np.log(found.low / (1 - found.low)), np.log(found.high / (1 - found.high))
    assert (low + high) / 2 == pytest.approx(np.log(9))
    # Student's t of 40 degrees, from a table; the standard deviation is that of 41 draws.
    assert (high - low) / 2 == pytest.approx(2.021 * logits.std() * np.sqrt(41 / 40), rel=1e-3)
    assert found.undefined == 1


def test_an_area_at_its_end_has_the_interval_of_percentiles():
    assert logit_interval(np.ones(9), 1.0, 20) == percentile_interval(np.ones(9))
    some = np.array([0.5, 1.0, 0.75, 1.0])
    assert logit_interval(some, 1.0, 20) == percentile_interval(some)
    assert logit_interval(some, 0.75, 2) == percentile_interval(some)
    inside = logit_interval(some, 0.75, 20)  # those at 1 count as 0.75, the nearest below
    assert 0 < inside.low < 0.75 < inside.high < 1


def test_bands_hold_the_curves_and_end_where_these_do():
    one = simulated()
    roc, precision_recall = curve_bands(one, 200)
    for band in (roc, precision_recall):
        assert (band.low <= band.y + 1e-9).mean() > 0.95
        assert (band.high >= band.y - 1e-9).mean() > 0.95
    assert (np.diff(roc.y) >= 0).all()
    assert roc.y[-1] == roc.low[-1] == 1
    for x, y in zip(FALSE_ALARMS, roc.y, strict=True):  # the highest sensitivity of any cut
        cuts = [one.scores >= cut for cut in [*one.scores, 2.0]]
        expected = max(c[one.positive].mean() for c in cuts if c[~one.positive].mean() <= x + 1e-9)
        assert y == pytest.approx(expected)
    recalled = one.scores >= one.scores[one.positive].min()
    assert precision_recall.y[-1] == pytest.approx(one.positive[recalled].mean())
    first = np.flatnonzero(np.cumsum(one.positive) >= SENSITIVITIES[24] * one.positive.sum() - 1e-9)[0]
    assert precision_recall.y[24] == pytest.approx(one.positive[: first + 1].mean())


def test_resamples_without_a_negative_are_in_no_band_of_the_roc_curve():
    worst = SortedBreasts(np.array([False, True]), np.array([0.9, 0.1]), np.arange(2), np.arange(2), POINTS)
    assert curve_bands(worst, 100)[0].high[0] == 0  # that of the positive alone has nothing to be outranked by


def test_one_positive_breast_leaves_nested_metrics_undefined():
    lone = SortedBreasts(np.array([True, False, False]), np.array([0.9, 0.1, 0.2]), np.arange(3), np.arange(3), POINTS)
    drawn = resample([lone], 30)[0]
    assert np.isnan(drawn.data["pf1_nested"])
    assert drawn.intervals["pf1_nested"].undefined == 30
    assert drawn.intervals["pf1_optimistic"].high == 1.0


def test_chosen_metrics_are_centred_on_the_data():
    drawn = resample([simulated()], 501)[0]
    for name in (name for name, metric in METRICS.items() if metric.recentred):
        assert np.median(drawn.values[name]) == pytest.approx(drawn.data[name])


@pytest.mark.parametrize(("high", "greatest"), [(1.0, 1.0), (math.inf, 2.1)])
def test_resamples_that_are_moved_stay_in_the_range_of_their_metric(monkeypatch, high, greatest):
    metric = Metric("log_loss", "log loss", METRICS["brier"].function, recentred=True, low_is_best=True, high=high)
    monkeypatch.setitem(METRICS, "log_loss", metric)
    moved = recentred({"log_loss": np.array([0.5, 0.6, 2.0])}, {"log_loss": 0.7}).values["log_loss"]
    np.testing.assert_allclose(moved, [0.6, 0.7, greatest])


def test_a_run_does_not_differ_from_itself():
    one, same = resample([simulated(), simulated()], 100)
    for name in METRICS:
        gap = difference(name, one, same)
        assert (gap.value, gap.interval.low, gap.interval.high, gap.p) == (0, 0, 0, 1)


def test_p_is_twice_the_smaller_tail_and_never_zero():
    def run(values):
        return Resamples({"auroc": np.array(values)}, {"auroc": 0.5}, 0)

    zeros = run([0.0] * 9)
    assert difference("auroc", run([1.0] * 9), zeros).p == pytest.approx(2 * 1 / 10)
    assert difference("auroc", run([1.0] * 7 + [-1.0] * 2), zeros).p == pytest.approx(2 * 3 / 10)
    assert difference("auroc", run([np.nan] * 5 + [1.0] * 4), zeros).p == pytest.approx(2 * 1 / 5)
    assert np.isnan(difference("auroc", run([np.nan] * 9), zeros).p)


def test_a_clear_difference_is_seen_although_single_intervals_overlap():
    rng = np.random.default_rng(5)
    positive, scores, numbers = screening(rng, 1200, 0.1, 1.5)
    worse = 1 / (1 + np.exp(-(np.log(scores / (1 - scores)) + rng.normal(0, 0.9, scores.size))))
    good, bad = (SortedBreasts(positive, s, numbers, numbers % 4, POINTS) for s in (scores, worse))
    one, two = resample([good, bad], 500)
    gap = difference("auroc", one, two)
    assert gap.value == pytest.approx(roc_auc_score(positive, scores) - roc_auc_score(positive, worse))
    assert one.intervals["auroc"].low < two.intervals["auroc"].high  # apart, they say nothing
    assert 0 < gap.interval.low < gap.value < gap.interval.high
    assert gap.p < 0.05
    mirrored = difference("auroc", two, one)
    assert mirrored.p == gap.p
    assert mirrored.interval.low == pytest.approx(-gap.interval.high)


@pytest.fixture(scope="module")
def coverage():
    """Metric → share of simulated sets whose 95 % interval holds the truth.

    The truth of a metric is its mean over all simulated sets: what the procedure gives on sets of this size.
    """
    rng = np.random.default_rng(7)
    values, lows, highs = [], [], []
    for seed in range(800):
        positive, scores, numbers = screening(rng, 300, 0.12, 1.5)
        drawn = resample([SortedBreasts(positive, scores, numbers, numbers % 4, POINTS)], 250, seed)[0]
        intervals = [drawn.intervals[name] for name in METRICS]
        values.append([drawn.data[name] for name in METRICS])
        lows.append([interval.low for interval in intervals])
        highs.append([interval.high for interval in intervals])
    truth = np.mean(values, axis=0)
    return dict(zip(METRICS, np.mean((lows <= truth) & (truth <= highs), axis=0), strict=True))


WIDE = ("optimism_gap", "sensitivity_at_low_recall_rate")  # the latter of the first nine breasts: it moves in steps


@pytest.mark.parametrize("name", [name for name in METRICS if name not in WIDE])
def test_nominal_95_percent_intervals_cover_92_to_98(coverage, name):
    assert 0.92 <= coverage[name] <= 0.98


@pytest.mark.parametrize("name", WIDE)
def test_some_intervals_are_too_wide_rather_than_too_narrow(coverage, name):
    assert coverage[name] >= 0.95


def test_paired_tests_of_equal_runs_rarely_find_a_difference():
    rng = np.random.default_rng(2)
    different = []
    for seed in range(200):
        positive, scores, numbers = screening(rng, 200, 0.15, 1.5)
        base = np.log(scores / (1 - scores))
        runs = [1 / (1 + np.exp(-base - rng.normal(0, 0.7, base.size))) for _ in range(2)]
        one, two = resample([SortedBreasts(positive, s, numbers, numbers % 4, POINTS) for s in runs], 200, seed)
        different.append([difference(name, one, two).p < 0.05 for name in ("pf1_nested", "auroc")])
    assert (np.mean(different, axis=0) <= 0.09).all()


def test_the_value_on_the_data_is_that_of_scikit_learn():
    one = simulated()
    assert resample([one], 5)[0].data["auroc"] == pytest.approx(roc_auc_score(one.positive, one.scores))


def test_some_metrics_alone_are_drawn_as_beside_all():
    one = simulated()
    alone, all_of_them = resample([one], 40, names=["auroc", "pf1_nested"])[0], resample([one], 40)[0]
    assert list(alone.values) == ["auroc", "pf1_nested"]
    for name in alone.values:
        np.testing.assert_array_equal(alone.values[name], all_of_them.values[name])
