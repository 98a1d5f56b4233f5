import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsna.evaluation.metrics import pf1
from rsna.evaluation.threshold import (
    DEALS,
    PLATEAU_TOLERANCE,
    best_threshold,
    crossfit_folds,
    recalled,
    threshold_curve,
)

# A coarse grid makes ties; free floats make neighbours that no midpoint separates.
SCORE = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1))
ROWS = st.lists(st.tuples(st.booleans(), SCORE, st.sampled_from([0, 1, 2])), min_size=1, max_size=25).filter(
    lambda rows: any(label and weight for label, _, weight in rows)
)


def columns(rows):
    labels, scores, weights = zip(*rows, strict=True)
    return np.array(labels), np.array(scores), np.array(weights, dtype=float)


@given(ROWS, st.sampled_from([0.5, 1.0, 2.0]))
def test_no_cut_beats_the_best_threshold(rows, beta):
    labels, scores, weights = columns(rows)
    best = best_threshold(labels, scores, beta, weights)
    everywhere = [0.0, *scores, *(scores + 1e-9)]
    highest = max(pf1(labels, scores >= t, beta, weights) for t in everywhere)
    assert best.pf1 == pytest.approx(highest)
    assert pf1(labels, recalled(scores, best.value), beta, weights) == pytest.approx(best.pf1)


@given(ROWS)
def test_the_threshold_and_its_plateau_lie_in_the_range_of_probabilities(rows):
    labels, scores, weights = columns(rows)
    best = best_threshold(labels, scores, weights=weights)
    assert 0 <= best.plateau[0] <= best.value <= best.plateau[1] <= 1
    assert best.width == best.plateau[1] - best.plateau[0]
    assert best.recalled == pytest.approx(np.average(scores >= best.value, weights=weights))


@given(ROWS)
def test_the_plateau_is_within_the_tolerance_and_cannot_be_widened(rows):
    labels, scores, weights = columns(rows)
    best = best_threshold(labels, scores, weights=weights)
    low, high = best.plateau
    floor = best.pf1 - PLATEAU_TOLERANCE - 1e-12
    inside = [t for t in (*scores, best.value) if low < t <= high]
    assert all(pf1(labels, scores >= t, weights=weights) >= floor for t in inside)
    if low > 0:
        assert pf1(labels, scores >= low, weights=weights) < best.pf1 - PLATEAU_TOLERANCE + 1e-12
    above = np.nextafter(high, 2)
    if (scores[weights > 0] > high).any():
        assert pf1(labels, scores >= above, weights=weights) < best.pf1 - PLATEAU_TOLERANCE + 1e-12


def test_the_threshold_lies_midway_between_the_scores_that_it_parts():
    best = best_threshold([0, 0, 1, 1], [0.1, 0.3, 0.5, 0.9])
    assert best.value == pytest.approx(0.4)
    assert best.pf1 == 1.0
    assert best.plateau == (0.3, 0.5)
    assert best.recalled == 0.5


def test_a_breast_at_the_threshold_is_recalled():
    assert recalled([0.2, 0.5, 0.7], 0.5).tolist() == [False, True, True]
    assert recalled(np.float32([0.1]), np.float32(0.1)).tolist() == [True]


def test_of_equal_cuts_the_one_that_recalls_fewest_is_taken():
    # Recalling one of two positives without a false alarm, or both with two: 2/3 either way.
    best = best_threshold([1, 0, 0, 1], [0.9, 0.7, 0.6, 0.5])
    assert best.pf1 == pytest.approx(2 / 3)
    assert best.value == pytest.approx(0.8)


def test_all_positive_and_single_rows_recall_all():
    assert best_threshold([1, 1], [0.2, 0.8]).value == pytest.approx(0.1)
    assert best_threshold([1], [0.0]).value == 0.0
    assert best_threshold([1], [0.0]).pf1 == 1.0
    assert best_threshold([1, 0], [0.5, 0.5]).value == pytest.approx(0.25)


def test_neighbouring_floats_are_parted_although_no_number_lies_between():
    low = 0.5
    high = np.nextafter(low, 1)
    best = best_threshold([0, 1], [low, high])
    assert best.pf1 == 1.0
    assert recalled([low, high], best.value).tolist() == [False, True]


def test_no_positive_has_no_threshold():
    with pytest.raises(ValueError, match="at least one positive"):
        best_threshold([0, 0], [0.1, 0.2])
    with pytest.raises(ValueError, match="at least one positive"):
        best_threshold([1, 0], [0.1, 0.2], weights=[0, 1])


@given(ROWS)
def test_the_curve_holds_every_cut(rows):
    labels, scores, weights = columns(rows)
    curve = threshold_curve(labels, scores, weights=weights)
    assert curve.scores.tolist() == sorted(set(scores[weights > 0]), reverse=True)
    for score, value in zip(curve.scores, curve.pf1, strict=True):
        assert value == pytest.approx(pf1(labels, scores >= score, weights=weights))


@given(st.integers(1, 40), st.integers(0, 5))
def test_crossfitting_parts_keep_patients_whole_and_deal_positives_evenly(patients, sick):
    names = np.repeat([str(i) for i in range(patients)], 2)
    labels = np.repeat(np.arange(patients) < sick, 2)
    labels[1::2] = False  # one breast of two
    for part in crossfit_folds(names, labels):
        assert (part[::2] == part[1::2]).all()
        assert set(part) == set(range(min(5, patients)))
        positives = np.bincount(part[labels], minlength=min(5, patients))
        assert positives.max() - positives.min() <= 1


def test_no_deal_is_that_of_another():
    names = np.array([str(i) for i in range(50)])
    deals = crossfit_folds(names, np.arange(50) % 7 == 0)
    assert deals.shape == (DEALS, 50)
    assert len({deal.tobytes() for deal in deals}) == DEALS


def test_crossfitting_parts_do_not_depend_on_the_order_of_rows():
    names = np.array([str(i) for i in range(50)])
    labels = np.arange(50) % 7 == 0
    shuffled = np.random.default_rng(0).permutation(50)
    assert (crossfit_folds(names, labels)[:, shuffled] == crossfit_folds(names[shuffled], labels[shuffled])).all()
