import json

import numpy as np
import pandas as pd
import pytest

from rsna.evaluation.calibration import logit, sigmoid
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.ensemble import STEPS, combine, ensemble, fit_weights
from rsna.evaluation.evaluate import evaluate
from tests.evaluation.simulate import simulate_images


def members(patients=250, folds=4):
    """Two runs of equal worth with noise of their own, and one that knows nothing."""
    images = simulate_images(patients=patients, folds=folds)
    rng = np.random.default_rng(4)

    def noisy(amount, signal=1.0):
        z = signal * logit(images["probability"]) + rng.normal(0, amount, len(images))
        return images.assign(probability=sigmoid(z))

    return {"one": noisy(1.5), "two": noisy(1.5), "noise": noisy(2.0, signal=0.0)}


def test_averages_are_what_they_say():
    scores = np.array([[0.1, 0.5, 0.9], [0.3, 0.5, 0.2]])
    np.testing.assert_allclose(combine(scores, "mean"), [0.2, 0.5, 0.55])
    np.testing.assert_allclose(combine(scores, "logit_mean"), sigmoid((logit(scores[0]) + logit(scores[1])) / 2))
    np.testing.assert_allclose(
        combine(scores, "rank_mean"), [(1 / 6 + 3 / 6) / 2, (3 / 6 + 5 / 6) / 2, (5 / 6 + 1 / 6) / 2]
    )
    np.testing.assert_allclose(combine(scores, "weights", [1, 0]), scores[0])


def test_any_recalls_what_one_member_recalls():
    scores = np.array([[0.9, 0.1, 0.2, 0.3], [0.01, 0.02, 0.05, 0.03]])
    at = combine(scores, "any") >= 0.875  # the first of four of either member
    assert at.tolist() == [True, False, True, False]


def test_any_member_is_held_against_the_mean_at_equal_recall():
    found = ensemble(members(), "mean", unit="exam", resamples=50)
    gain = found.any_recalls.differences["sensitivity_at_low_recall_rate"]
    scores = np.stack([member.breasts["probability"] for member in found.members.values()])
    positive = found.joint.breasts["cancer"] == 1
    sensitivities = []
    for how in ("any", "mean"):
        joined = combine(scores, how)
        cuts = [cut for cut in joined if (joined >= cut).mean() <= 0.015 + 1e-9]
        sensitivities.append(max(((joined >= cut)[positive].mean() for cut in cuts), default=0.0))
    assert gain.value == pytest.approx(sensitivities[0] - sensitivities[1])
    assert "recalled by any member, less by their mean" in found.table()
    positions = len(positive) * 0.015
    assert found.any_recalled[0] <= found.any_recalled[1] == int(positions)
    assert f"{found.any_recalled[0]} by any member, {found.any_recalled[1]} by their mean" in found.table()
    assert found.to_dict()["any_recalled"] == list(found.any_recalled)
    assert found.joint.unit == "exam"
    assert found.joint.pooled.breasts == members()["one"]["patient_id"].nunique()


def test_that_any_member_recalls_fewer_than_the_mean_is_said():
    numbers = np.arange(200)
    ids = [f"p{number}" for number in numbers]
    shared = {"prediction_id": ids, "patient_id": ids, "cancer": (numbers % 5 == 0).astype(int), "fold": numbers % 4}
    given = {"one": numbers / 200, "two": ((numbers + 100) % 200 / 200) ** 2}
    runs = {name: pd.DataFrame(shared | {"probability": probability}) for name, probability in given.items()}
    found = ensemble(runs, resamples=20)
    assert found.any_recalled == (2, 3)  # of 200; the first of either, and then the second of both at once
    assert "not as many, so the difference is not one at equal recall" in found.table()


def test_a_recall_rate_below_one_breast_is_said():
    found = ensemble(members(patients=20), resamples=0)
    line = "a recall rate of 0.015 is less than one of 40 breasts, and sensitivity at it 0 whatever was predicted"
    assert line in found.joint.table()
    assert found.joint.pooled.values["sensitivity_at_low_recall_rate"] == 0
    assert "is less than one of" not in ensemble(members(patients=200), resamples=0).joint.table()


@pytest.mark.parametrize(
    "weights", [[np.nan, 1, 1], [1, 1, np.nan], [np.inf, 1, 1], [-1, 1, 1], [0, 0, 0], [1, 1], np.array([1, -1, 1])]
)
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="are not those of 3 members joined by weights"):
        ensemble(members(patients=20), "weights", weights=weights, resamples=0)


@pytest.mark.parametrize("weights", [[1e308, 1e308, 0], np.array([2.0, 2.0, 0.0])])
def test_weights_are_divided_by_their_sum_whatever_it_is(weights):
    found = ensemble(members(patients=20), "weights", weights=weights, resamples=0)
    assert found.weights.loc["all"].tolist() == [0.5, 0.5, 0.0]


def test_tied_rows_share_their_rank():
    np.testing.assert_allclose(combine([[0.2, 0.2, 0.7, 0.1]], "rank_mean"), [0.5, 0.5, 0.875, 0.125])


@pytest.mark.parametrize(
    ("scores", "method", "weights", "message"),
    [
        ([0.1, 0.2], "mean", None, "shape"),
        (np.empty((2, 0)), "mean", None, "shape"),
        ([[0.1]], "median", None, "mean, logit_mean, rank_mean, any, weights"),
        ([[0.1]], "mean", [1.0], "weights belong"),
        ([[0.1]], "weights", None, "weights belong"),
    ],
)
def test_what_cannot_be_combined_is_refused(scores, method, weights, message):
    with pytest.raises(ValueError, match=message):
        combine(scores, method, weights)


def test_weights_go_to_members_that_know_something():
    rng = np.random.default_rng(0)
    labels = rng.random(2000) < 0.1
    useful = sigmoid(rng.normal(-2 + 2 * labels, 1))
    weights = fit_weights(labels, [rng.random(2000), useful])
    assert weights.sum() == pytest.approx(1)
    assert weights[1] > 0.8
    assert np.allclose(weights * STEPS, np.round(weights * STEPS))


def test_of_equal_members_the_first_is_taken():
    labels = np.arange(20) < 5
    same = np.linspace(0.9, 0.1, 20)
    assert fit_weights(labels, [same, same]).tolist() == [1, 0]


@pytest.mark.parametrize("method", ["mean", "logit_mean", "rank_mean", "weights"])
def test_two_runs_with_noise_of_their_own_gain_by_joining(method):
    runs = members()
    found = ensemble({name: runs[name] for name in ("one", "two")}, method, resamples=100)
    for name, member in found.members.items():
        assert found.joint.pooled.auroc > member.pooled.auroc
        assert found.gains[name].differences["auroc"].value == pytest.approx(
            found.joint.pooled.auroc - member.pooled.auroc
        )
    assert found.joint.pooled.breasts == found.members["one"].pooled.breasts
    assert found.correlation.loc["one", "one"] == pytest.approx(1)
    assert 0 < found.correlation.loc["one", "two"] < 1


def test_members_are_scored_as_they_are_alone():
    runs = members()
    found = ensemble(runs, "mean", "max", resamples=0)
    for name, images in runs.items():
        assert found.members[name].pooled == evaluate(images, "max", resamples=0).pooled
    assert found.gains == {}


def test_a_folds_weights_come_from_the_other_folds():
    runs = members(patients=150)
    found = ensemble(runs, "weights", resamples=0)
    assert list(found.weights.index) == ["0", "1", "2", "3", "all"]
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    # In one fold the noise turns into the truth: what that fold itself is given must not follow.
    here = runs["noise"]["fold"] == 2
    truth = 0.01 + 0.98 * runs["noise"]["cancer"]
    lucky = runs | {"noise": runs["noise"].assign(probability=runs["noise"]["probability"].mask(here, truth))}
    other = ensemble(lucky, "weights", resamples=0)
    assert other.weights.loc["2"].tolist() == found.weights.loc["2"].tolist()
    for fold in ("0", "1", "3", "all"):
        assert other.weights.loc[fold, "noise"] > found.weights.loc[fold, "noise"]


def test_fitting_weights_among_noise_reports_no_gain_that_is_not_there():
    rng = np.random.default_rng(1)
    images = simulate_images(patients=200, prevalence=0.1)
    noise = {str(i): images.assign(probability=rng.random(len(images))) for i in range(6)}
    joint = ensemble(noise, "weights", resamples=300).joint.pooled
    assert joint.intervals["auroc"].low < 0.5 < joint.intervals["auroc"].high


def test_members_without_folds_take_those_of_the_others():
    runs = members(patients=100)
    runs["two"] = runs["two"].drop(columns="fold")
    found = ensemble(runs, resamples=0)
    assert not any(member.crossfitted for member in (*found.members.values(), found.joint))


def test_folds_of_other_numbers_are_the_same_split():
    runs = members(patients=100)
    runs["two"] = runs["two"].assign(fold=(runs["two"]["fold"] + 1) % 4)
    found = ensemble(runs, resamples=0)
    assert not any(member.crossfitted for member in (*found.members.values(), found.joint))
    assert found.members["one"].breasts["part"].tolist() == found.members["two"].breasts["part"].tolist()


def test_members_of_other_folds_are_refused_with_both():
    runs = members(patients=100)
    other = runs["two"]["fold"].mask(runs["two"]["patient_id"] == "10003", 1)
    runs["two"] = runs["two"].assign(fold=other)
    with pytest.raises(PredictionError, match=r"10003 is in fold 3 of one, in fold 1 of two"):
        ensemble(runs, resamples=0)


def test_members_without_any_folds_are_crossfitted_alike():
    runs = {name: frame.drop(columns="fold") for name, frame in members(patients=100).items()}
    found = ensemble(runs, resamples=20)
    assert all(member.crossfitted for member in (*found.members.values(), found.joint))
    assert "pF1 nested, cross-fitted, together less" in found.table()
    gain = found.gains["one"].differences["pf1_nested"]
    assert gain.value == pytest.approx(found.joint.pooled.pf1_nested - found.members["one"].pooled.pf1_nested)


def test_the_table_says_what_each_member_scored_and_that_joining_taught_nothing():
    rng = np.random.default_rng(0)
    runs = members(patients=100)
    for name in runs:
        runs[name] = runs[name].assign(probability=rng.random(len(runs[name])))
        runs[name].attrs["scored"] = f"column p of {name}.csv"
    table = ensemble(runs, "mean", resamples=50).table()
    assert "two: scored column p of two.csv" in table
    assert "together: has learned nothing" in table


def test_the_table_says_which_member_is_reversed_or_hardly_predicted():
    runs = members(patients=100)
    one, two, *_ = runs.values()
    made = (0.8 * one["cancer"] + one["probability"] / 10).clip(0, 1)
    table = ensemble({"labels": one.assign(probability=made), "turned": two.assign(probability=1 - two["probability"])},
                     "mean", resamples=50).table()  # fmt: skip
    assert "labels: every positive lies above every negative: make sure that the column is not made of" in table
    assert "turned: orders these breasts in reverse" in table


def test_the_table_says_which_member_is_of_decisions():
    runs = members(patients=50)
    runs["two"] = runs["two"].assign(probability=(runs["two"]["probability"] > 0.5).astype(float))
    table = ensemble(runs, "mean", resamples=0).table()
    assert "two: two values alone, 0 and 1: AUROC, AUPRC and calibration are those of decisions" in table
    assert "one: two values" not in table


def test_the_table_says_which_member_is_another_once_more():
    three = members(40)
    three["two"] = three["one"]
    found = ensemble(three, "logit_mean", resamples=0)
    assert found.copies == ["two: predicts what one predicts, to the last digit: one model that counts twice?"]
    assert found.copies[0] in found.table()
    assert ensemble(members(40), resamples=0).copies == []


def test_members_over_other_breasts_are_refused():
    runs = members(patients=50)
    runs["two"] = runs["two"][runs["two"]["prediction_id"] != "10003_L"]
    with pytest.raises(PredictionError, match=r"1 \(10003_L\) breasts are in one run only"):
        ensemble(runs, resamples=0)


def test_one_member_is_no_ensemble():
    with pytest.raises(ValueError, match="two members or more"):
        ensemble({"one": simulate_images()})


def test_weights_need_positives_in_the_other_folds():
    images = simulate_images(patients=20)
    only = images.assign(cancer=(images["prediction_id"] == "10000_L").astype(int))
    with pytest.raises(PredictionError, match="the folds other than 0 have no positive breast to fit on"):
        ensemble({"one": only, "two": only}, "weights", resamples=0)


def test_the_ensemble_is_json_and_text():
    found = ensemble(members(patients=80), "weights", resamples=30)
    back = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert back["members"].keys() == back["gains"].keys() == back["correlation"].keys() == {"one", "two", "noise"}
    assert back["weights"]["all"].keys() == {"one", "two", "noise"}
    table = found.table()
    for text in ("together (weights)", "rank correlation", f"{found.joint.pooled.pf1_nested:.4f}"):
        assert text in table


NEED_PROBABILITIES = {"pf1_raw", "brier", "calibration_error"}


def test_an_ensemble_of_ranks_has_no_metric_that_needs_probabilities_and_says_why():
    runs = members(patients=80)
    found = ensemble(runs, "rank_mean", resamples=20)
    back = found.to_dict()
    for name in NEED_PROBABILITIES:
        assert back["joint"]["pooled"][name] is None
        assert name not in back["joint"]["pooled"]["intervals"]
        assert back["members"]["one"]["pooled"][name] is not None
        assert all(name not in gain["differences"] for gain in back["gains"].values())
    table = found.table()
    line = next(line for line in table.splitlines() if line.startswith("together (rank_mean)"))
    assert line.split()[2] == "–"
    assert "together (rank_mean): an order of breasts, no probabilities" in table
    assert "no probabilities" not in ensemble(runs, "mean", resamples=0).table()


@pytest.mark.parametrize("method", ["mean", "logit_mean", "weights"])
def test_a_member_of_ranks_makes_what_is_joined_with_it_no_probability(method):
    runs = members(patients=80)
    runs["two"] = runs["two"].assign(probability=(runs["two"]["probability"].rank() - 0.5) / len(runs["two"]))
    found = ensemble(runs, method, ranks=["two"], resamples=0)
    assert found.members["one"].probabilities
    for name in NEED_PROBABILITIES:
        assert np.isnan(found.members["two"].pooled.values[name])
        assert np.isnan(found.joint.pooled.values[name])
    assert f"two, together ({method}): an order of breasts" in found.table()


def test_ranks_of_no_member_are_refused():
    with pytest.raises(ValueError, match="ranks: three is none of the members one, two"):
        ensemble(members(patients=20), ranks=["three"], resamples=0)


def test_a_notebook_shows_names_of_members_escaped():
    runs = members(patients=60)
    html = ensemble({"<b>": runs["one"], "two": runs["two"]}, resamples=0)._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
