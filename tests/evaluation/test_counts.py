import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, fbeta_score, roc_auc_score

from rsna.evaluation.breasts import prevalence_weights
from rsna.evaluation.counts import Counts, OperatingPoints, SortedBreasts, between, mass_bins
from rsna.evaluation.metrics import METRICS, metrics_of
from rsna.evaluation.threshold import best_threshold

POINTS = OperatingPoints(specificity=0.7, recall_rate=0.4, low_recall_rate=0.15, bins=4)
SCORE = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1))
ROW = st.tuples(st.booleans(), SCORE, st.integers(0, 5))  # label, score, patient


def slow_f_beta(y, p, w, beta):
    """From precision and recall, as the competition defines it."""
    true, false = (w * p)[y].sum(), (w * p)[~y].sum()
    if true == 0:
        return 0.0
    precision, recall = true / (true + false), true / w[y].sum()
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def slow_nested_thresholds(y, p, folds, w, beta):
    """fold → the best threshold of all other folds; NaN where these have no positive to choose by."""
    chosen = {}
    for k in np.unique(folds):
        rest = folds != k
        chosen[k] = best_threshold(y[rest], p[rest], beta, w[rest]).value if y[rest].any() else np.nan
    return chosen


def slow_sensitivity(y, p, w, allowed):
    """Highest over every cut of which `allowed` says yes, given the rows it recalls."""
    found = [w[(p >= t) & y].sum() / w[y].sum() for t in np.unique(p) if allowed(p >= t)]
    return max(found, default=0.0)


def slow_metrics(positive, scores, patients, folds, counts, points, prevalence=None):
    """One resample, scored by scikit-learn and by loops as if each breast came as often as its patient was drawn."""
    times = counts[patients]
    rows = np.repeat(np.arange(positive.size), times)
    y, p, f = positive[rows], scores[rows], folds[rows]
    w = prevalence_weights(y, prevalence)
    chosen = slow_nested_thresholds(y, p, f, w, points.beta)
    thresholds = np.array([chosen[fold] for fold in f])
    nested = np.nan if np.isnan(thresholds).any() else slow_f_beta(y, (p >= thresholds) * 1.0, w, points.beta)
    optimistic = max(slow_f_beta(y, (p >= t) * 1.0, w, points.beta) for t in p)
    gaps = np.bincount(mass_bins(scores, points.bins)[rows], weights=w * (p - y))
    two = not y.all()
    negatives = w[~y].sum()
    specific = slow_sensitivity(y, p, w, lambda at: w[at & ~y].sum() <= (1 - points.specificity + 1e-9) * negatives)
    fewer = slow_sensitivity(y, p, w, lambda at: w[at].sum() <= (points.low_recall_rate + 1e-9) * w.sum())
    few = slow_sensitivity(y, p, w, lambda at: w[at].sum() <= (points.recall_rate + 1e-9) * w.sum())
    return {
        "pf1_raw": slow_f_beta(y, p, w, points.beta),
        "pf1_nested": nested,
        "pf1_optimistic": optimistic,
        "optimism_gap": optimistic - nested,
        "auroc": roc_auc_score(y, p, sample_weight=w) if two else np.nan,
        "auprc": average_precision_score(y, p, sample_weight=w),
        "sensitivity_at_specificity": specific if two else np.nan,
        "sensitivity_at_recall_rate": few,
        "sensitivity_at_low_recall_rate": fewer,
        "brier": brier_score_loss(y, p, sample_weight=w, pos_label=True),
        "calibration_error": np.abs(gaps).sum() / w.sum(),
    }


def nested_is_comparable(folds, counts, patients):
    """A fold that a resample leaves empty has no threshold, and needs none."""
    return {int(k) for k in folds} == {int(k) for k in folds[counts[patients] > 0]}


@given(st.lists(ROW, min_size=1, max_size=20), st.lists(st.integers(0, 3), min_size=6, max_size=6), st.integers(1, 3))
def test_every_metric_equals_that_of_the_repeated_rows(rows, times, fold_count):
    positive, scores, patients = (np.array(column) for column in zip(*rows, strict=True))
    folds, counts = patients % fold_count, np.array(times)
    if not counts[patients[positive]].any():
        return
    breasts = SortedBreasts(positive, scores, patients, folds, POINTS)
    values = metrics_of(breasts, counts[: patients.max() + 1, None].astype(float))
    expected = slow_metrics(positive, scores, patients, folds, counts, POINTS)
    for name in METRICS:
        if name in ("pf1_nested", "optimism_gap") and not nested_is_comparable(folds, counts, patients):
            continue
        assert values[name][0] == pytest.approx(expected[name], nan_ok=True, abs=1e-12), name


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
    breasts = SortedBreasts(positive, scores, patients, folds, points, prevalence)
    values = metrics_of(breasts, counts.T.astype(float))
    for r, times in enumerate(counts):
        expected = slow_metrics(positive, scores, patients, folds, times, points, prevalence)
        for name in METRICS:
            assert values[name][r] == pytest.approx(expected[name], abs=1e-9), name


def test_what_is_recalled_can_be_held_fixed():
    rng = np.random.default_rng(0)
    positive, scores = rng.random(60) < 0.3, rng.random(60)
    recalled, patients = rng.random(60) < 0.4, np.arange(60)
    counts = rng.integers(0, 3, size=60)
    folds = np.zeros(60, dtype=int)
    breasts = SortedBreasts(positive, scores, patients, folds, POINTS, recalled=recalled)
    value = metrics_of(breasts, counts[:, None].astype(float), ["pf1_nested"])["pf1_nested"][0]
    assert value == pytest.approx(fbeta_score(positive, recalled, beta=1, sample_weight=counts))
    unknown = np.where(np.arange(60) == 3, np.nan, recalled)
    breasts = SortedBreasts(positive, scores, patients, folds, POINTS, recalled=unknown)
    assert np.isnan(metrics_of(breasts, np.ones((60, 2)), ["pf1_nested"])["pf1_nested"]).all()


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    positive, scores, patients = rng.random(80) < 0.3, np.round(rng.random(80), 1), np.arange(80) // 2
    counts = rng.integers(0, 3, size=(40, 5)).astype(float)
    shuffled = rng.permutation(80)
    rows = positive, scores, patients, patients % 3
    one = metrics_of(SortedBreasts(*rows, POINTS), counts)
    other = metrics_of(SortedBreasts(*(column[shuffled] for column in rows), POINTS), counts)
    for name in METRICS:
        np.testing.assert_allclose(one[name], other[name], atol=1e-12)


def test_all_positive_breasts_leave_metrics_of_two_classes_undefined():
    scores = np.array([0.1, 0.5, 0.5, 1.0])
    values = metrics_of(SortedBreasts(np.ones(4, dtype=bool), scores, np.arange(4), np.arange(4) % 2), np.ones((4, 2)))
    assert np.isnan(values["auroc"]).all()
    assert np.isnan(values["sensitivity_at_specificity"]).all()
    assert (values["auprc"] == 1).all()
    assert (values["pf1_optimistic"] == 1).all()


@pytest.mark.parametrize("prevalence", [None, 0.1])
def test_no_positive_breast_leaves_brier_score_and_calibration_error_alone(prevalence):
    scores = np.array([0.1, 0.5, 0.5, 1.0])
    breasts = SortedBreasts(np.zeros(4, dtype=bool), scores, np.arange(4), np.arange(4) % 2, POINTS, prevalence)
    values = metrics_of(breasts, np.ones((4, 1)))
    assert {name for name, value in values.items() if not np.isnan(value[0])} == {"brier", "calibration_error"}
    assert values["brier"][0] == pytest.approx((0.01 + 0.25 + 0.25 + 1) / 4)


def nested(labels, scores, folds):
    one = np.arange(len(labels))
    breasts = SortedBreasts(np.array(labels, dtype=bool), np.array(scores, dtype=float), one, np.array(folds))
    chosen = Counts(breasts, np.ones((len(labels), 1))).nested_thresholds
    return {fold: value[0] for fold, value in chosen.items()}


def test_a_nested_threshold_is_the_best_of_the_other_folds_and_never_sees_its_own():
    rng = np.random.default_rng(0)
    labels = rng.random(200) < 0.3
    scores = np.clip(rng.normal(0.3 + 0.2 * labels, 0.2), 0, 1)
    folds = np.arange(200) % 4
    chosen = nested(labels, scores, folds)
    assert chosen == {k: best_threshold(labels[folds != k], scores[folds != k]).value for k in range(4)}
    changed = np.where(folds == 2, 1 - scores, scores)
    assert nested(np.where(folds == 2, ~labels, labels), changed, folds)[2] == chosen[2]


def test_a_fold_whose_others_hold_no_positive_has_no_nested_threshold():
    chosen = nested([1, 0, 0, 0], [0.9, 0.2, 0.3, 0.1], [0, 0, 1, 1])
    assert np.isnan(chosen[0])
    assert chosen[1] == pytest.approx(0.55)


def test_neighbouring_floats_have_no_midpoint():
    high = np.nextafter(0.5, 1)
    assert between(0.5, high) == high
    assert between(0.25, 0.75) == 0.5


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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beta", -1.0),
        ("specificity", 0.0),
        ("specificity", 1.0),
        ("recall_rate", 1.5),
        ("low_recall_rate", 0.0),
        ("bins", 0),
    ],
)
def test_operating_points_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        OperatingPoints(**{field: value})


def test_an_empty_set_is_refused():
    empty = np.array([], dtype=int)
    with pytest.raises(ValueError, match="at least one row"):
        SortedBreasts(empty.astype(bool), empty.astype(float), empty, empty)
