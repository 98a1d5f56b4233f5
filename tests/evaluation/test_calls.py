import numpy as np
import pytest
from sklearn.metrics import f1_score

from rsna.evaluation.calibration import logit, sigmoid
from rsna.evaluation.calls import score_calls
from rsna.evaluation.metrics import evaluate
from tests.evaluation.simulate import simulate_images


@pytest.fixture(scope="module")
def images():
    return simulate_images(patients=200, prevalence=0.2)


def test_calls_are_scored_as_scikit_learn_does(images):
    found = evaluate(images, resamples=0)
    score = score_calls(found, 0.3, resamples=200)
    calls = found.breasts["probability"] >= 0.3
    assert score.pf1 == pytest.approx(f1_score(found.breasts["cancer"], calls))
    assert score.recalled == pytest.approx(calls.mean())
    assert score.interval.low < score.pf1 < score.interval.high
    assert score_calls(found, 0.3, resamples=0).interval is None


def test_a_threshold_equal_to_a_score_recalls_it(images):
    found = evaluate(images, resamples=0)
    highest = found.breasts["probability"].max()
    assert score_calls(found, highest, resamples=0).recalled == pytest.approx(1 / len(found.breasts))


def test_scores_lower_than_those_behind_the_threshold_show(images):
    """A threshold chosen anew hides a shift of all scores; the one that is shipped does not."""
    shipped = evaluate(images, resamples=0)
    lower = images.assign(probability=sigmoid(logit(images["probability"]) - 3))
    shifted = evaluate(lower, resamples=0)
    assert shifted.pooled.pf1_nested == pytest.approx(shipped.pooled.pf1_nested, abs=0.01)
    at_home = score_calls(shipped, shipped.threshold.value, resamples=200)
    elsewhere = score_calls(shifted, shipped.threshold.value, resamples=200)
    assert at_home.pf1 == pytest.approx(shipped.threshold.pf1)
    assert elsewhere.pf1 < at_home.pf1 / 2
    assert elsewhere.interval.high < at_home.interval.low
    assert elsewhere.recalled < at_home.recalled / 2


def test_reweighted_negatives_weigh_in_calls_too(images):
    plain = score_calls(evaluate(images, sampling="enriched", resamples=0), 0.3, resamples=100)
    screening = evaluate(images, sampling="enriched", prevalence=0.02, resamples=0)
    weighted = score_calls(screening, 0.3, resamples=100)
    rows = screening.breasts
    calls = rows["probability"] >= 0.3
    assert weighted.pf1 == pytest.approx(f1_score(rows["cancer"], calls, sample_weight=rows["weight"]))
    assert weighted.recalled == pytest.approx(np.average(calls, weights=rows["weight"]))
    assert weighted.pf1 < plain.pf1
    assert weighted.interval.high < plain.interval.high


def test_the_line_says_threshold_figure_interval_and_share(images):
    found = evaluate(images, resamples=0)
    score = score_calls(found, 1.0, resamples=100)
    assert score.line() == (
        "pF1 at the run's threshold 1.0000: 0.0000 (95% interval 0.0000 to 0.0000), share recalled 0.00%"
    )
    assert "interval" not in score_calls(found, 0.3, resamples=0).line()
