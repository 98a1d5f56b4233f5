import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsna.evaluation.ledger import FIGURES, Ledger
from rsna.evaluation.pf1 import pf1
from rsna.evaluation.prevalence import prevalence_weights
from rsna.evaluation.scores import (
    OperatingPoints,
    auprc,
    auroc,
    brier,
    mass_bins,
    sensitivity_at_recall_rate,
    sensitivity_at_specificity,
)
from rsna.evaluation.threshold import best_threshold, nested_thresholds

POINTS = OperatingPoints(specificity=0.7, recall_rate=0.4, bins=4)
SCORE = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1))
ROW = st.tuples(st.booleans(), SCORE, st.integers(0, 5))  # label, score, patient


def slow_figures(positive, scores, patients, folds, counts, points, prevalence=None):
    """One resample, scored as if each breast came as often as its patient was drawn."""
    times = counts[patients]
    rows = np.repeat(np.arange(positive.size), times)
    y, p, f = positive[rows], scores[rows], folds[rows]
    w = prevalence_weights(y, prevalence)
    chosen = nested_thresholds(y, p, f, points.beta, w)
    thresholds = np.array([chosen[fold] for fold in f])
    nested = np.nan if np.isnan(thresholds).any() else pf1(y, p >= thresholds, points.beta, w)
    optimistic = best_threshold(y, p, points.beta, w).pf1
    gaps = np.bincount(mass_bins(scores, points.bins)[rows], weights=w * (p - y))
    return {
        "pf1_raw": pf1(y, p, points.beta, w),
        "pf1_nested": nested,
        "pf1_optimistic": optimistic,
        "optimism_gap": optimistic - nested,
        "auroc": auroc(y, p, w),
        "auprc": auprc(y, p, w),
        "sensitivity_at_specificity": sensitivity_at_specificity(y, p, w, points.specificity),
        "sensitivity_at_recall_rate": sensitivity_at_recall_rate(y, p, w, points.recall_rate),
        "brier": brier(y, p, w),
        "calibration_error": np.abs(gaps).sum() / w.sum(),
    }


def nested_is_comparable(folds, counts, patients):
    """A fold that a resample leaves empty has no threshold, and needs none."""
    return {int(k) for k in folds} == {int(k) for k in folds[counts[patients] > 0]}


@given(st.lists(ROW, min_size=1, max_size=20), st.lists(st.integers(0, 3), min_size=6, max_size=6), st.integers(1, 3))
def test_every_figure_equals_that_of_the_repeated_rows(rows, times, fold_count):
    positive, scores, patients = (np.array(column) for column in zip(*rows, strict=True))
    folds, counts = patients % fold_count, np.array(times)
    if not counts[patients[positive]].any():
        return
    ledger = Ledger(positive, scores, patients, folds, POINTS)
    figures = ledger.figures(counts[: patients.max() + 1, None].astype(float))
    expected = slow_figures(positive, scores, patients, folds, counts, POINTS)
    for name in FIGURES:
        if name in ("pf1_nested", "optimism_gap") and not nested_is_comparable(folds, counts, patients):
            continue
        assert figures[name][0] == pytest.approx(expected[name], nan_ok=True, abs=1e-12), name


@pytest.mark.parametrize("prevalence", [None, 0.05])
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("ties", [False, True])
def test_many_resamples_at_once_equal_each_alone(prevalence, beta, ties):
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(150), 2)
    positive = rng.random(300) < 0.2
    scores = np.clip(rng.normal(0.35 + 0.2 * positive, 0.15), 0, 1)
    scores = np.round(scores, 2) if ties else scores
    folds = patients % 4
    counts = rng.multinomial(150, np.full(150, 1 / 150), size=20)
    points = OperatingPoints(beta=beta)
    figures = Ledger(positive, scores, patients, folds, points, prevalence).figures(counts.T.astype(float))
    for r, times in enumerate(counts):
        expected = slow_figures(positive, scores, patients, folds, times, points, prevalence)
        for name in FIGURES:
            assert figures[name][r] == pytest.approx(expected[name], abs=1e-9), name


def test_given_calls_are_held_fixed():
    rng = np.random.default_rng(0)
    positive, scores = rng.random(60) < 0.3, rng.random(60)
    calls, patients = rng.random(60) < 0.4, np.arange(60)
    counts = rng.integers(0, 3, size=60)
    folds = np.zeros(60, dtype=int)
    ledger = Ledger(positive, scores, patients, folds, POINTS, calls=calls)
    value = ledger.figures(counts[:, None].astype(float))["pf1_nested"][0]
    assert value == pytest.approx(pf1(positive, calls, weights=counts))


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    positive, scores, patients = rng.random(80) < 0.3, np.round(rng.random(80), 1), np.arange(80) // 2
    counts = rng.integers(0, 3, size=(40, 5)).astype(float)
    shuffled = rng.permutation(80)
    one = Ledger(positive, scores, patients, patients % 3, POINTS).figures(counts)
    other = Ledger(positive[shuffled], scores[shuffled], patients[shuffled], patients[shuffled] % 3, POINTS).figures(
        counts
    )
    for name in FIGURES:
        np.testing.assert_allclose(one[name], other[name], atol=1e-12)


def test_all_positive_breasts_leave_figures_of_two_classes_undefined():
    ledger = Ledger(np.ones(4, dtype=bool), np.array([0.1, 0.5, 0.5, 1.0]), np.arange(4), np.arange(4) % 2, POINTS)
    figures = ledger.figures(np.ones((4, 2)))
    assert np.isnan(figures["auroc"]).all()
    assert np.isnan(figures["sensitivity_at_specificity"]).all()
    assert (figures["auprc"] == 1).all()
    assert (figures["pf1_optimistic"] == 1).all()
