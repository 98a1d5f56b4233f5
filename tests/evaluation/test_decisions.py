import numpy as np
import pytest

from rsna.evaluation.decisions import net_benefit, operating_points
from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.metrics import score
from tests.board.runs import drawn


def test_a_rate_recalls_as_many_as_it_may_and_what_that_does_is_counted():
    evaluation = evaluate(drawn(200), resamples=0)
    breasts = evaluation.breasts
    for point in operating_points(evaluation, (0.02, 0.1, 0.5)):
        at = breasts["probability"] >= point.threshold
        positive = breasts["cancer"] == 1
        assert point.recalled == pytest.approx(at.mean())
        assert point.recalled <= point.rate < point.recalled + 1.5 / len(breasts)
        assert point.sensitivity == pytest.approx(at[positive].mean())
        assert point.specificity == pytest.approx((~at)[~positive].mean())
        assert point.precision == pytest.approx(positive[at].mean())
        assert point.found == pytest.approx(1000 * (at & positive).mean())


def test_sensitivity_is_that_of_the_metric_with_an_interval_around_it():
    evaluation = evaluate(drawn(), resamples=0)
    point = operating_points(evaluation, (0.1,), resamples=50)[0]
    breasts = evaluation.breasts
    expected = score("sensitivity_at_recall_rate", breasts["cancer"], breasts["probability"])
    assert point.sensitivity == pytest.approx(expected)
    assert point.interval.low <= point.sensitivity <= point.interval.high


def test_a_score_that_too_many_share_recalls_none():
    flat = evaluate(drawn(40).assign(probability=0.3), resamples=0)
    point = operating_points(flat, (0.05,))[0]
    assert (point.recalled, point.sensitivity, point.threshold) == (0, 0, 1)
    assert np.isnan(point.precision)
    sure = evaluate(drawn(40).assign(probability=1.0), resamples=0)
    point = operating_points(sure, (0.05,))[0]
    assert point.recalled == 0
    assert np.isnan(point.threshold)  # 1 would recall them all


def test_net_benefit_is_its_definition():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    p, w = np.round(rng.random(300), 1), rng.random(300)  # with ties on the thresholds
    thresholds = [0.1, 0.3, 0.55]
    found = net_benefit(labels, p, thresholds, w)
    for t, benefit in zip(thresholds, found, strict=True):
        at = p >= t
        tp, fp = w[at & (labels == 1)].sum(), w[at & (labels == 0)].sum()
        assert benefit == pytest.approx((tp - fp * t / (1 - t)) / w.sum())


def test_a_threshold_that_all_reach_is_worth_what_recalling_all_is():
    labels, p = np.array([1, 0, 0, 0]), np.array([0.9, 0.5, 0.4, 0.3])
    assert net_benefit(labels, p, [0.2])[0] == pytest.approx(0.25 - 0.75 * 0.25)
    assert net_benefit(labels, p, [0.95])[0] == 0
