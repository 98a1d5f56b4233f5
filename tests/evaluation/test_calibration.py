import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from rsna.evaluation.calibration import (
    CLIP,
    HOTTEST,
    RIDGE,
    Platt,
    calibrate,
    calibration_table,
    fit_platt,
    fit_temperature,
    logit,
    reliability,
    sigmoid,
    with_temperature,
)
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.counts import OperatingPoints
from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.metrics import score
from tests.evaluation.simulate import simulate_images


def overconfident(rows=4000, temperature=2.5, seed=0):
    """Labels drawn from probabilities, and the probabilities sharpened by a known temperature."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 1.5, rows)
    return rng.random(rows) < sigmoid(z), sigmoid(z * temperature)


@given(st.floats(CLIP, 1 - CLIP))
def test_sigmoid_undoes_logit(p):
    assert sigmoid(logit(p)) == pytest.approx(p)


def test_certain_probabilities_stay_finite():
    assert np.isfinite(logit([0.0, 1.0])).all()
    assert np.isfinite(sigmoid([-1e9, 1e9])).all()


def test_the_temperature_that_sharpened_is_found_again():
    labels, p = overconfident()
    assert fit_temperature(labels, p) == pytest.approx(2.5, rel=0.1)


def test_the_temperature_is_that_of_a_logistic_regression_without_intercept():
    labels, p = overconfident(500, 0.7, seed=1)
    weights = np.random.default_rng(0).random(500)
    slope = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
    slope.fit(logit(p)[:, None], labels, sample_weight=weights)
    assert fit_temperature(labels, p, weights) == pytest.approx(1 / slope.coef_[0, 0], rel=1e-4)


def test_extreme_sets_stay_within_bounds():
    assert fit_temperature([0, 1], [0.1, 0.9]) == pytest.approx(1 / HOTTEST)  # separated
    assert fit_temperature([1, 0], [0.1, 0.9]) == pytest.approx(HOTTEST)  # upside down
    assert fit_temperature([1, 0], [0.5, 0.5]) == 1.0


def test_temperature_keeps_the_order_and_the_middle():
    p = np.array([0.01, 0.3, 0.5, 0.8])
    cooled = with_temperature(p, 3.0)
    assert (np.diff(cooled) > 0).all()
    assert cooled[2] == 0.5
    assert (np.abs(cooled - 0.5) <= np.abs(p - 0.5)).all()


def test_platt_is_a_logistic_regression_on_logits():
    labels, p = overconfident(500, 0.7, seed=1)
    p = sigmoid(logit(p) + 2)
    weights = np.random.default_rng(0).random(500)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(p)[:, None], labels, weights)
    found = fit_platt(labels, p, weights)
    assert found.slope == pytest.approx(reference.coef_[0, 0], rel=1e-2)
    assert found.intercept == pytest.approx(reference.intercept_[0], rel=1e-2)


@pytest.mark.parametrize("factor", [3.0, 20.0])
def test_odds_raised_by_repeated_positives_are_mended_by_platt_and_not_by_a_temperature(factor):
    """A network that saw each positive `factor` times gives odds that are so many times too high."""
    rng = np.random.default_rng(0)
    z = rng.normal(-3, 1.5, 20_000)
    labels = rng.random(z.size) < sigmoid(z)
    raised = sigmoid(z + np.log(factor))
    platt = fit_platt(labels, raised)
    assert platt.slope == pytest.approx(1, abs=0.1)
    assert platt.intercept == pytest.approx(-np.log(factor), abs=0.2)
    assert score("calibration_error", labels, platt.apply(raised)) < 0.01
    assert score("calibration_error", labels, with_temperature(raised, fit_temperature(labels, raised))) > 0.03


@pytest.mark.parametrize(
    ("labels", "p"),
    [
        ([0, 1], [0.1, 0.9]),
        ([0, 0, 1], [0.0, 0.0, 1.0]),
        ([0] * 5000 + [1] * 50, [0.001] * 5000 + [0.9] * 50),
        ([1, 0], [0.1, 0.9]),
        ([1, 0], [0.5, 0.5]),
        ([0, 1], [0.0, 0.0]),
    ],
)
def test_platt_stays_finite_and_keeps_the_order_where_classes_are_separated_or_upside_down(labels, p):
    found = fit_platt(labels, p)
    assert 1 / HOTTEST <= found.slope < 100
    assert abs(found.intercept) < 100
    assert fit_platt([1, 0], [0.1, 0.9]).slope == pytest.approx(1 / HOTTEST)


def test_platt_has_the_least_penalised_loss_far_from_where_it_starts():
    labels, p = overconfident(4000, 3.0, seed=2)
    found = fit_platt(labels, p)
    share = np.average(found.apply(p))
    assert share == pytest.approx(labels.mean(), abs=1e-4)  # what an intercept is for
    assert found.slope == pytest.approx(1 / 3, rel=0.1)


@pytest.mark.parametrize(("rows", "shift", "stretch"), [(50, 0.0, 1.0), (500, 3.0, 1.0), (4000, -2.0, 3.0)])
def test_the_penalised_loss_is_flat_where_platt_stops(rows, shift, stretch):
    """Newton's step from there, by the second derivative, is below 1e-6."""
    labels, p = overconfident(rows, stretch, seed=3)
    p, w = sigmoid(logit(p) + shift), np.random.default_rng(0).random(rows)
    found = fit_platt(labels, p, w)
    x = np.stack([logit(p), np.ones(rows)])
    q = found.apply(p)
    gradient = x @ (w * (q - labels)) + RIDGE * np.array([found.slope - 1, found.intercept])
    curvature = (x * (w * q * (1 - q))) @ x.T + RIDGE * np.eye(2)
    assert np.abs(np.linalg.solve(curvature, gradient)).max() < 1e-6


def test_platt_that_does_nothing_gives_back_what_it_is_given():
    np.testing.assert_allclose(Platt().apply([0.01, 0.5, 0.9]), [0.01, 0.5, 0.9])


def test_reliability_counts_every_row_once_and_agrees_with_the_calibration_error():
    labels, p = overconfident(1000)
    table = reliability(labels, p, bins=10)
    assert len(table) == 10
    assert table["breasts"].sum() == 1000
    assert table["positives"].sum() == labels.sum()
    assert (table["low"] <= table["predicted"]).all()
    assert (table["predicted"] <= table["high"]).all()
    assert (table["high"].to_numpy()[:-1] < table["low"].to_numpy()[1:]).all()
    error = np.average(np.abs(table["predicted"] - table["observed"]), weights=table["breasts"])
    assert error == pytest.approx(score("calibration_error", labels, p, points=OperatingPoints(bins=10)))


@pytest.fixture(scope="module")
def evaluation():
    images = simulate_images(patients=600, prevalence=0.2)
    return evaluate(images.assign(probability=with_temperature(images["probability"], 0.3)), resamples=0)


def test_calibrators_mend_overconfidence(evaluation):
    given_, *all_mended = calibrate(evaluation)
    assert [one.calibrator for one in (given_, *all_mended)] == ["as given", "temperature", "Platt", "isotonic"]
    assert given_.metrics["brier"] == pytest.approx(evaluation.pooled.brier)
    for mended in all_mended:
        assert mended.metrics["log_loss"] < given_.metrics["log_loss"]
        assert mended.metrics["calibration_error"] < given_.metrics["calibration_error"]
        assert ((mended.probability >= 0) & (mended.probability <= 1)).all()


def test_a_fold_is_calibrated_by_the_others_alone(evaluation):
    before = {one.calibrator: one for one in calibrate(evaluation)}
    here = (evaluation.breasts["part"] == 1).to_numpy()
    cancer = evaluation.breasts["cancer"]
    turned = replace(evaluation, breasts=evaluation.breasts.assign(cancer=np.where(here, 1 - cancer, cancer)))
    after = {one.calibrator: one for one in calibrate(turned)}
    for name in ("temperature", "Platt", "isotonic"):
        np.testing.assert_array_equal(before[name].probability[here], after[name].probability[here])
        assert not np.array_equal(before[name].probability[~here], after[name].probability[~here])
    assert before["temperature"].temperatures[1] == after["temperature"].temperatures[1]
    assert before["Platt"].lines[1] == after["Platt"].lines[1]


def test_folds_whose_others_lack_a_class_cannot_be_calibrated():
    images = simulate_images(patients=20)
    only = images.assign(cancer=(images["prediction_id"] == "10000_L").astype(int))
    with pytest.raises(PredictionError, match=r"folds other than 0 lack .*; leave calibration out"):
        calibrate(evaluate(only, resamples=0))
    with pytest.raises(PredictionError, match="folds other than 0 lack"):
        calibrate(evaluate(images.assign(cancer=1), resamples=0))


def test_calibration_is_json_and_text(evaluation):
    found = calibrate(evaluation)
    back = json.loads(json.dumps([one.to_dict() for one in found], allow_nan=False))
    assert back[0]["reliability"].keys() == {"low", "high", "breasts", "positives", "predicted", "observed"}
    assert back[1]["temperatures"].keys() == {"0", "1", "2", "3"}
    assert back[2]["lines"].keys() == {"0", "1", "2", "3"}
    assert back[2]["lines"]["0"].keys() == {"slope", "intercept"}
    assert [line.split("  ")[0] for line in calibration_table(found).splitlines()[1:]] == [
        "as given", "temperature", "Platt", "isotonic",
    ]  # fmt: skip


def test_ranks_are_not_calibrated():
    with pytest.raises(PredictionError, match="no probabilities"):
        calibrate(evaluate(simulate_images(), probabilities=False, resamples=0))
