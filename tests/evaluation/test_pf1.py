import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score

import rsna
from rsna.evaluation.pf1 import pf1, pf1_of_ones

ROWS = st.lists(
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


@given(ROWS, st.sampled_from([0.0, 0.5, 1.0, 2.0]))
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
def test_pf1_of_calls_is_the_ordinary_f_beta(rows, beta):
    labels, calls = (np.array(column) for column in zip(*rows, strict=True))
    if labels.any():
        assert pf1(labels, calls, beta) == pytest.approx(fbeta_score(labels, calls, beta=beta, zero_division=0))


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
