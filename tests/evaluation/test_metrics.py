from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, fbeta_score, roc_auc_score

import rsna
from rsna.evaluation.counts import OperatingPoints, SortedBreasts, mass_bins
from rsna.evaluation.metrics import (
    METRICS,
    Metric,
    calibration_floor,
    metrics_of,
    metrics_of_data,
    pf1,
    pf1_of_ones,
    score,
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
        assert score("auroc", labels, scores, weights) == pytest.approx(right / pairs)
    else:
        assert np.isnan(score("auroc", labels, scores, weights))


@given(ROWS)
def test_auprc_is_the_mean_precision_over_positives(rows):
    labels, scores, weights = columns(rows)
    total = weights[labels].sum()
    if not total:
        assert np.isnan(score("auprc", labels, scores, weights))
        return
    expected = 0.0
    for cut, weight in zip(scores[labels], weights[labels], strict=True):
        above = scores >= cut
        if weight:
            expected += weight * weights[above & labels].sum() / weights[above].sum()
    assert score("auprc", labels, scores, weights) == pytest.approx(expected / total)


@given(ROWS)
def test_brier_is_that_of_scikit_learn(rows):
    labels, scores, weights = columns(rows)
    expected = brier_score_loss(labels, scores, sample_weight=weights, pos_label=True)
    assert score("brier", labels, scores, weights) == pytest.approx(expected)


@given(ROWS, st.sampled_from([0.5, 0.9, 0.95]))
def test_sensitivity_at_specificity_is_the_best_cut_that_is_specific_enough(rows, specificity):
    labels, scores, weights = columns(rows)
    positives, negatives = weights[labels].sum(), weights[~labels].sum()
    value = score("sensitivity_at_specificity", labels, scores, weights, OperatingPoints(specificity=specificity))
    if not positives or not negatives:
        assert np.isnan(value)
        return
    best = 0.0
    for cut in scores:
        recalled = scores >= cut
        if weights[~recalled & ~labels].sum() / negatives >= specificity - 1e-9:
            best = max(best, weights[recalled & labels].sum() / positives)
    assert value == pytest.approx(best)


@given(ROWS, st.sampled_from([0.05, 0.1, 0.5]))
def test_sensitivity_at_recall_rate_is_the_best_cut_that_recalls_few_enough(rows, rate):
    labels, scores, weights = columns(rows)
    value = score("sensitivity_at_recall_rate", labels, scores, weights, OperatingPoints(recall_rate=rate))
    low = score("sensitivity_at_low_recall_rate", labels, scores, weights, OperatingPoints(low_recall_rate=rate))
    assert low == value or np.isnan([low, value]).all()
    if not weights[labels].sum():
        assert np.isnan(value)
        return
    best = 0.0
    for cut in scores:
        recalled = scores >= cut
        if weights[recalled].sum() / weights.sum() <= rate + 1e-9:
            best = max(best, weights[recalled & labels].sum() / weights[labels].sum())
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
    assert score("calibration_error", labels, scores, weights, OperatingPoints(bins=bins)) == pytest.approx(expected)


def test_perfect_probabilities_have_no_calibration_error():
    assert score("calibration_error", [0, 0, 1, 1], [0, 0, 1, 1]) == 0.0
    assert score("calibration_error", [1, 1, 1, 1], [0, 0, 0, 0]) == 1.0


def test_a_constant_score_ranks_nothing():
    labels = np.arange(100) < 10
    constant = np.full(100, 0.3)
    assert score("auroc", labels, constant) == 0.5
    assert score("auprc", labels, constant) == pytest.approx(0.1)
    assert score("sensitivity_at_specificity", labels, constant) == 0.0
    assert score("sensitivity_at_recall_rate", labels, constant) == 0.0


def test_metrics_of_one_class_are_nan_where_they_need_two():
    assert np.isnan(score("auroc", [1, 1], [0.1, 0.2]))
    assert np.isnan(score("sensitivity_at_specificity", [1, 1], [0.1, 0.2]))
    assert score("auprc", [1, 1], [0.1, 0.2]) == 1.0
    assert np.isnan(score("auprc", [0, 0], [0.1, 0.2]))
    assert score("brier", [1], [0.25]) == 0.5625


def test_areas_agree_with_scikit_learn_on_many_rows():
    rng = np.random.default_rng(0)
    labels = rng.random(5000) < 0.05
    scores = np.round(rng.normal(0.4 + 0.1 * labels, 0.1), 2)
    assert score("auroc", labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert score("auprc", labels, scores) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_an_empty_set_has_no_metric():
    with pytest.raises(ValueError, match="at least one row"):
        score("auroc", [], [])


WEIGHTED = st.lists(
    st.tuples(st.booleans(), st.floats(-0.5, 1.5), st.sampled_from([0.0, 0.5, 1.0, 3.0])), min_size=1, max_size=30
)


def slow_pf1(labels, probabilities, beta, weights):
    """The competition's definition, row by row."""
    positives = true = false = 0.0
    for label, probability, weight in zip(labels, probabilities, weights, strict=True):
        probability = max(min(probability, 1.0), 0.0)
        if label:
            positives += weight
            true += weight * probability
        else:
            false += weight * probability
    if true == 0:
        return 0.0
    precision, recall = true / (true + false), true / positives
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


@given(WEIGHTED, st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_pf1_equals_the_definition_row_by_row(rows, beta):
    labels, probabilities, weights = zip(*rows, strict=True)
    if not any(label and weight for label, _, weight in rows):
        with pytest.raises(ValueError, match="at least one positive"):
            pf1(labels, probabilities, beta, weights)
        return
    assert pf1(labels, probabilities, beta, weights) == pytest.approx(
        slow_pf1(labels, probabilities, beta, weights), rel=1e-9, abs=1e-12
    )


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30), st.sampled_from([0.5, 1.0, 2.0]))
def test_pf1_of_zeros_and_ones_is_the_ordinary_f_beta(rows, beta):
    labels, recalled = (np.array(column) for column in zip(*rows, strict=True))
    if labels.any():
        assert pf1(labels, recalled, beta) == pytest.approx(fbeta_score(labels, recalled, beta=beta, zero_division=0))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.integers(0, 3)), min_size=1, max_size=20))
def test_a_row_of_weight_n_counts_as_n_rows(rows):
    repeated = [(label, p) for label, p, times in rows for _ in range(times)]
    if any(label for label, _ in repeated):
        labels, probabilities, weights = zip(*rows, strict=True)
        assert pf1(labels, probabilities, 1.0, weights) == pytest.approx(pf1(*zip(*repeated, strict=True)))


def test_nothing_predicted_scores_zero():
    assert pf1([1, 0, 1], [0, 0, 0]) == 0.0
    assert pf1([1, 0], [0, 1]) == 0.0


def test_no_positive_is_an_error():
    with pytest.raises(ValueError, match="at least one positive"):
        pf1([0, 0], [0.5, 0.5])
    with pytest.raises(ValueError, match="at least one positive"):
        pf1([], [])


def test_probabilities_are_clipped():
    assert pf1([1, 0, 1], [7, -3, 0.5]) == pf1([1, 0, 1], [1, 0, 0.5])


def test_predicting_one_everywhere_scores_the_baseline():
    labels = np.arange(1000) < 21
    for beta in (0.5, 1.0, 2.0):
        assert pf1(labels, np.ones(1000), beta) == pytest.approx(pf1_of_ones(0.021, beta))
    assert pf1_of_ones(0.021) == pytest.approx(2 * 0.021 / 1.021)


@pytest.mark.parametrize(
    ("labels", "probabilities", "weights", "message"),
    [
        ([1, 2], [0.5, 0.5], None, "labels must be 0 or 1: 1 are not, first 2 at row 1"),
        ([1, np.nan], [0.5, 0.5], None, "labels must be 0 or 1"),
        ([1, 0], [0.5, np.nan], None, "probabilities must be finite: 1 are not, first nan at row 1"),
        ([1, 0], [0.5], None, r"probabilities must have shape \(2,\)"),
        ([[1], [0]], [0.5, 0.5], None, "labels must have one dimension"),
        ([1, 0], [0.5, 0.5], [1, -1], "weights must be ≥ 0"),
    ],
)
def test_arrays_that_cannot_be_scored_are_refused(labels, probabilities, weights, message):
    with pytest.raises(ValueError, match=message):
        pf1(labels, probabilities, 1.0, weights)


@pytest.mark.parametrize("beta", [-1.0, np.nan, np.inf])
def test_beta_must_be_a_number_from_zero(beta):
    with pytest.raises(ValueError, match="beta"):
        pf1([1], [1], beta)


def test_the_package_offers_pf1():
    assert rsna.pf1 is pf1


def test_a_metric_is_one_function_and_one_row_of_the_table(monkeypatch):
    """A new row is scored on the data and in every resample, and only what is asked for is computed."""
    asked = []

    def share_recalled_at_all(c):
        asked.append(c)
        return c.positives / (c.positives + c.negatives)

    monkeypatch.setitem(METRICS, "share", Metric("share", "share of positives", share_recalled_at_all))
    breasts = SortedBreasts(np.array([True, False, False]), np.array([0.9, 0.1, 0.5]), np.arange(3), np.arange(3))
    times = np.array([[1.0, 2.0], [1.0, 0.0], [1.0, 2.0]])
    assert metrics_of(breasts, times, ["share"])["share"].tolist() == [1 / 3, 1 / 2]
    assert metrics_of_data(breasts, ["auroc"]) == {"auroc": 1.0}
    assert len(asked) == 1


def test_names_and_titles_are_unique():
    assert [metric.name for metric in METRICS.values()] == list(METRICS)
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "optimism_gap"])
def test_the_truth_is_better_than_its_reverse_by_every_metric(name):
    positive, patients = np.arange(400) % 4 == 0, np.arange(400)
    place = (np.argsort(np.argsort(positive + patients / 1000)) + 0.5) / 400  # every positive above every negative
    truth, reverse = (
        metrics_of_data(SortedBreasts(positive, scores, patients, patients // 4 % 5), [name])[name]
        for scores in (place, 1 - place)
    )
    said = f"{name}: {truth} of the truth and {reverse} of its reverse: low_is_best of its row in METRICS is wrong"
    assert (truth < reverse) if METRICS[name].low_is_best else (truth > reverse), said


@pytest.mark.parametrize("name", list(METRICS))
def test_what_needs_no_probabilities_is_the_same_of_ranks(name):
    rng = np.random.default_rng(0)
    positive = rng.random(300) < 0.2
    scores = np.clip(rng.normal(0.3 + 0.2 * positive, 0.15), 0, 1)
    ranks = (np.argsort(np.argsort(scores)) + 0.5) / 300
    patients = np.arange(300)
    given_, ranked = (
        metrics_of_data(SortedBreasts(positive, values, patients, patients % 4), [name])[name]
        for values in (scores, ranks)
    )
    if METRICS[name].needs_probabilities:
        assert abs(given_ - ranked) > 0.01
    else:
        # Scores below the other folds' cut by less than half a step may change sides of a midpoint, no more.
        assert ranked == pytest.approx(given_, abs=0.02)


def test_titles_end_on_the_operating_point():
    points = replace(OperatingPoints(), specificity=0.95)
    assert METRICS["sensitivity_at_specificity"].title_at(points) == "sensitivity at specificity 0.95"
    assert METRICS["auroc"].title_at(points) == "AUROC"


@pytest.mark.parametrize("weight", [1, 8])
def test_probabilities_that_mean_what_they_say_have_the_calibration_error_that_is_told(weight):
    """Also in a set that was enriched, whose negatives count several times to make up for it."""
    rng = np.random.default_rng(0)
    p, rows = rng.beta(1, 4, 600), np.arange(600)
    errors = []
    for _ in range(300):
        positive = rng.random(600) < p * weight / (p * weight + 1 - p)
        prevalence = positive.sum() / (positive.sum() + weight * (~positive).sum())
        one = SortedBreasts(positive, p, rows, rows, OperatingPoints(), prevalence)
        errors.append(metrics_of_data(one, ["calibration_error"])["calibration_error"])
    assert calibration_floor(one, draws=400) == pytest.approx(np.mean(errors), rel=0.05)


def test_certain_probabilities_have_no_calibration_error_by_chance():
    labels = np.arange(40) % 4 == 0
    rows = np.arange(40)
    assert calibration_floor(SortedBreasts(labels, labels.astype(float), rows, rows)) == 0
