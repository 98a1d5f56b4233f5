import json

import numpy as np
import pytest

from rsna.evaluation.checks import PredictionError
from rsna.evaluation.compare import compare, holm
from rsna.evaluation.counts import OperatingPoints
from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.metrics import METRICS
from tests.evaluation.simulate import simulate_images


@pytest.fixture(scope="module")
def images():
    return simulate_images(patients=200)


def noisier(images, amount=2.0):
    z = np.log(images["probability"] / (1 - images["probability"]))
    noise = np.random.default_rng(9).normal(0, amount, len(images))
    return images.assign(probability=1 / (1 + np.exp(-z - noise)))


def test_the_difference_is_that_of_the_metrics_and_its_interval_is_paired(images):
    good, bad = evaluate(images, resamples=0), evaluate(noisier(images), resamples=0)
    found = compare(good, bad, resamples=300)
    assert set(found.differences) == set(METRICS)
    for name, gap in found.differences.items():
        assert gap.value == pytest.approx(getattr(good.pooled, name) - getattr(bad.pooled, name)), name
    auroc = found.differences["auroc"]
    assert 0 < auroc.interval.low < auroc.value < auroc.interval.high
    assert auroc.p < 0.05


def test_the_order_of_rows_does_not_matter(images):
    shuffled = images.sample(frac=1, random_state=0)
    found = compare(evaluate(images, resamples=0), evaluate(shuffled, resamples=0), resamples=20)
    assert all(gap.value == 0 and gap.p == 1 for gap in found.differences.values())


def test_runs_over_other_breasts_labels_or_patients_are_refused(images):
    whole = evaluate(images, resamples=0)
    with pytest.raises(PredictionError, match=r"1 \(10000_R\) breasts are in one run only"):
        compare(whole, evaluate(images[images["prediction_id"] != "10000_R"], resamples=0))
    flipped = images.assign(cancer=images["cancer"].where(images["prediction_id"] != "10000_L", 0))
    with pytest.raises(PredictionError, match=r"1 of 400 \(10000_L\) breasts differ in cancer"):
        compare(whole, evaluate(flipped, resamples=0))


def test_runs_evaluated_differently_are_refused(images):
    other = evaluate(images, points=OperatingPoints(beta=2), resamples=0)
    with pytest.raises(ValueError, match="evaluated differently"):
        compare(evaluate(images, resamples=0), other)


def test_the_comparison_is_json_and_text(images):
    found = compare(evaluate(images, resamples=0), evaluate(noisier(images), resamples=0), resamples=50)
    back = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert back["differences"]["pf1_nested"].keys() == {"value", "interval", "p"}
    line = next(line for line in found.table().splitlines() if line.startswith("AUROC"))
    assert f"{found.differences['auroc'].value:+.4f}" in line
    assert f"<td>{found.differences['auroc'].value:+.4f}</td>" in found._repr_html_()


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    # Worked by hand: 0.01 · 4, 0.02 · 3, then 0.03 · 2 = 0.06 and 0.04 · 1, which may not fall below 0.06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_does_not_count_what_could_not_be_tested():
    first, second, third = holm([0.02, float("nan"), 0.04])
    assert (first, third) == (pytest.approx(0.04), pytest.approx(0.04))
    assert np.isnan(second)


def test_of_ranks_only_the_metrics_of_an_order_are_compared(images):
    given, ranks = evaluate(images, resamples=0), evaluate(noisier(images), probabilities=False, resamples=0)
    found = compare(given, ranks, resamples=20)
    assert set(METRICS) - set(found.differences) == {"pf1_raw", "brier", "calibration_error"}
