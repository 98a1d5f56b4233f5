import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from rsna.evaluation.scores import (
    OperatingPoints,
    auprc,
    auroc,
    brier,
    calibration_error,
    mass_bins,
    sensitivity_at_recall_rate,
    sensitivity_at_specificity,
)

SCORE = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1))
ROWS = st.lists(st.tuples(st.booleans(), SCORE, st.sampled_from([0.0, 1.0, 2.5])), min_size=1, max_size=25).filter(
    lambda rows: any(weight for _, _, weight in rows)
)


def columns(rows):
    labels, scores, weights = zip(*rows, strict=True)
    return np.array(labels), np.array(scores), np.array(weights)


@given(ROWS)
def test_auroc_is_the_share_of_pairs_in_order(rows):
    labels, scores, weights = columns(rows)
    right = pairs = 0.0
    for p, w in zip(scores[labels], weights[labels], strict=True):
        for q, v in zip(scores[~labels], weights[~labels], strict=True):
            pairs += w * v
            right += w * v * (1.0 if p > q else 0.5 if p == q else 0.0)
    if pairs:
        assert auroc(labels, scores, weights) == pytest.approx(right / pairs)
    else:
        assert np.isnan(auroc(labels, scores, weights))


@given(ROWS)
def test_auprc_is_the_mean_precision_over_positives(rows):
    labels, scores, weights = columns(rows)
    total = weights[labels].sum()
    if not total:
        assert np.isnan(auprc(labels, scores, weights))
        return
    expected = 0.0
    for score, weight in zip(scores[labels], weights[labels], strict=True):
        above = scores >= score
        if weight:
            expected += weight * weights[above & labels].sum() / weights[above].sum()
    assert auprc(labels, scores, weights) == pytest.approx(expected / total)


@given(ROWS)
def test_brier_is_that_of_scikit_learn(rows):
    labels, scores, weights = columns(rows)
    expected = brier_score_loss(labels, scores, sample_weight=weights, pos_label=True)
    assert brier(labels, scores, weights) == pytest.approx(expected)


@given(ROWS, st.sampled_from([0.5, 0.9, 0.95]))
def test_sensitivity_at_specificity_is_the_best_cut_that_is_specific_enough(rows, specificity):
    labels, scores, weights = columns(rows)
    positives, negatives = weights[labels].sum(), weights[~labels].sum()
    value = sensitivity_at_specificity(labels, scores, weights, specificity)
    if not positives or not negatives:
        assert np.isnan(value)
        return
    best = 0.0
    for cut in scores:
        called = scores >= cut
        if weights[~called & ~labels].sum() / negatives >= specificity - 1e-9:
            best = max(best, weights[called & labels].sum() / positives)
    assert value == pytest.approx(best)


@given(ROWS, st.sampled_from([0.05, 0.1, 0.5]))
def test_sensitivity_at_recall_rate_is_the_best_cut_that_recalls_few_enough(rows, rate):
    labels, scores, weights = columns(rows)
    value = sensitivity_at_recall_rate(labels, scores, weights, rate)
    if not weights[labels].sum():
        assert np.isnan(value)
        return
    best = 0.0
    for cut in scores:
        called = scores >= cut
        if weights[called].sum() / weights.sum() <= rate + 1e-9:
            best = max(best, weights[called & labels].sum() / weights[labels].sum())
    assert value == pytest.approx(best)


@given(ROWS, st.integers(1, 6))
def test_calibration_error_is_the_mean_gap_of_the_bins(rows, bins):
    labels, scores, weights = columns(rows)
    members = mass_bins(scores, bins)
    expected = 0.0
    for b in set(members):
        inside = members == b
        if weights[inside].sum():
            gap = np.average(scores[inside], weights=weights[inside]) - np.average(
                labels[inside], weights=weights[inside]
            )
            expected += weights[inside].sum() / weights.sum() * abs(gap)
    assert calibration_error(labels, scores, weights, bins) == pytest.approx(expected)


@given(st.lists(SCORE, min_size=1, max_size=40), st.integers(1, 8))
def test_bins_rise_with_the_score_and_never_part_equal_ones(scores, bins):
    members = mass_bins(scores, bins)
    assert set(members) == set(range(members.max() + 1))
    assert members.max() < bins
    for score, member in zip(scores, members, strict=True):
        assert all(m == member for s, m in zip(scores, members, strict=True) if s == score)
        assert all(m <= member for s, m in zip(scores, members, strict=True) if s < score)


def test_bins_of_distinct_scores_hold_the_same_number_of_rows():
    counts = np.bincount(mass_bins(np.random.default_rng(0).random(1500), 15))
    assert counts.size == 15
    assert counts.min() >= 99
    assert counts.max() <= 101


def test_perfect_probabilities_have_no_calibration_error():
    assert calibration_error([0, 0, 1, 1], [0, 0, 1, 1]) == 0.0
    assert calibration_error([1, 1, 1, 1], [0, 0, 0, 0]) == 1.0


def test_a_constant_score_ranks_nothing():
    labels = np.arange(100) < 10
    constant = np.full(100, 0.3)
    assert auroc(labels, constant) == 0.5
    assert auprc(labels, constant) == pytest.approx(0.1)
    assert sensitivity_at_specificity(labels, constant) == 0.0
    assert sensitivity_at_recall_rate(labels, constant) == 0.0


def test_figures_of_one_class_are_nan_where_they_need_two():
    assert np.isnan(auroc([1, 1], [0.1, 0.2]))
    assert np.isnan(sensitivity_at_specificity([1, 1], [0.1, 0.2]))
    assert auprc([1, 1], [0.1, 0.2]) == 1.0
    assert np.isnan(auprc([0, 0], [0.1, 0.2]))
    assert brier([1], [0.25]) == 0.5625


def test_auroc_agrees_with_scikit_learn_on_many_rows():
    rng = np.random.default_rng(0)
    labels = rng.random(5000) < 0.05
    scores = np.round(rng.normal(0.4 + 0.1 * labels, 0.1), 2)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize(
    ("field", "value"),
    [("beta", -1.0), ("specificity", 0.0), ("specificity", 1.0), ("recall_rate", 1.5), ("bins", 0)],
)
def test_operating_points_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        OperatingPoints(**{field: value})


def test_an_empty_set_has_no_metric():
    with pytest.raises(ValueError, match="at least one row"):
        auroc([], [])
