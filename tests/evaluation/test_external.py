"""Scores at a threshold from elsewhere, and the drop from home: against scikit-learn, and by what pairing changes."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from rsna.evaluation.bootstrap import Interval
from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.external import (
    AtOwn,
    auroc_drop,
    drop_of_intervals,
    mean_difference,
    out_of_fold,
    score_own,
    score_parts,
)


def breasts(patients=400, seed=0, effect=1.5, share=0.2, prefix="p", noise=1.0):
    rng = np.random.default_rng([seed, 7])
    ids = np.repeat([f"{prefix}{i}" for i in range(patients)], 2)
    cancer = (rng.random(2 * patients) < share).astype(int)
    p = 1 / (1 + np.exp(-rng.normal(effect * cancer - 1.5, noise)))
    frame = pd.DataFrame({"patient_id": ids, "cancer": cancer, "probability": p})
    frame["prediction_id"] = frame["patient_id"] + np.tile(["_L", "_R"], patients)
    return frame.assign(recalled=p >= 0.4, calibrated=p)


def test_values_are_those_of_counting_at_the_given_threshold():
    frame = breasts()
    own = score_own(frame, resamples=200)
    sick, called = frame["cancer"].eq(1), frame["recalled"]
    assert (own.breasts, own.positives, own.patients) == (800, sick.sum(), 400)
    assert own.values["auroc"] == pytest.approx(roc_auc_score(sick, frame["probability"]))
    assert own.values["sensitivity"] == pytest.approx(called[sick].mean())
    assert own.values["specificity"] == pytest.approx((~called[~sick]).mean())
    assert own.values["recalled"] == pytest.approx(called.mean())
    assert own.values["observed_expected"] == pytest.approx(sick.sum() / frame["calibrated"].sum())
    for name, value in own.values.items():
        assert own.intervals[name].low < value < own.intervals[name].high


def test_intervals_are_over_patients():
    """Every breast of a patient twice: as many patients, so intervals as wide."""
    frame = breasts()
    twice = pd.concat([frame, frame.assign(prediction_id=frame["prediction_id"] + "2")])
    once, again = (score_own(one, resamples=2000).intervals["sensitivity"] for one in (frame, twice))
    assert again.high - again.low == pytest.approx(once.high - once.low, rel=0.1)


def test_few_of_a_class_have_no_metrics():
    frame = breasts(patients=30, share=0.0)
    frame.loc[:8, "cancer"] = 1
    own = score_own(frame, resamples=100)
    assert own.too_few
    assert (own.positives, own.values) == (9, {})


def test_the_drop_of_other_patients_is_as_uncertain_as_both_sets_together():
    home, there = breasts(seed=1), breasts(seed=2, effect=0.8, prefix="q")
    drop = auroc_drop(home, there, resamples=2000)
    areas = [roc_auc_score(one["cancer"], one["probability"]) for one in (home, there)]
    assert drop.pairing == "independent"
    assert drop.difference.value == pytest.approx(areas[0] - areas[1])
    ends = [score_own(one, resamples=2000).intervals["auroc"] for one in (home, there)]
    expected = np.hypot(*(one.high - one.low for one in ends))
    assert drop.difference.interval.high - drop.difference.interval.low == pytest.approx(expected, rel=0.1)
    assert drop.difference.interval.low > 0
    assert drop.difference.p < 0.01


def test_the_same_patients_in_both_sets_are_paired():
    home = breasts(seed=3)
    rng = np.random.default_rng(0)
    # The same breasts by another machine: as hard, with a little noise.
    logits = np.log(home["probability"] / (1 - home["probability"])) + rng.normal(0, 0.3, len(home))
    there = home.assign(probability=1 / (1 + np.exp(-logits)))
    paired = auroc_drop(home, there, resamples=1000)
    apart = auroc_drop(home, there.assign(patient_id="q" + there["patient_id"]), resamples=1000)
    some = auroc_drop(home, pd.concat([there.iloc[:400], breasts(seed=4, prefix="q")]), resamples=100)
    assert (paired.pairing, apart.pairing, some.pairing) == ("paired", "independent", "partly paired")
    width = [one.difference.interval.high - one.difference.interval.low for one in (paired, apart)]
    assert width[0] < 0.6 * width[1]
    assert auroc_drop(home, home, resamples=100).difference.interval == Interval(0.0, 0.0)


def test_the_drop_from_two_intervals_is_about_that_from_the_breasts():
    home, there = breasts(seed=1), breasts(seed=2, effect=0.8, prefix="q")
    own, elsewhere = (score_own(one, resamples=2000) for one in (home, there))
    found = drop_of_intervals(own.values["auroc"], own.intervals["auroc"], elsewhere).difference
    expected = auroc_drop(home, there, resamples=2000).difference
    assert found.value == pytest.approx(expected.value)
    assert found.interval.low == pytest.approx(expected.interval.low, abs=0.01)
    assert found.interval.high == pytest.approx(expected.interval.high, abs=0.01)
    by_hand = drop_of_intervals(
        0.9, Interval(0.8, 0.95), AtOwn(9, 9, 9, {"auroc": 0.7}, {"auroc": Interval(0.6, 0.73)})
    )
    assert by_hand.difference.interval.low == pytest.approx(0.2 - np.hypot(0.1, 0.03))
    assert by_hand.difference.interval.high == pytest.approx(0.2 + np.hypot(0.05, 0.1))


def test_a_mean_difference_is_paired_over_rows_and_drawn_over_patients():
    rng = np.random.default_rng(0)
    patients = pd.Series(np.repeat(np.arange(300), 2))
    common = rng.normal(0, 5, 600)
    found = mean_difference(common + 0.2, common + rng.normal(0, 0.1, 600), patients, 1000)
    assert found.value == pytest.approx(0.2, abs=0.02)
    assert found.interval.high - found.interval.low < 0.03
    assert found.p < 0.01


def test_parts_are_judged_by_the_others():
    frame = breasts(patients=300, seed=5).drop(columns=["recalled", "calibrated"])
    frame["fold"] = frame["patient_id"].str[1:].astype(int) % 3
    evaluation = evaluate(frame, resamples=0)
    table = score_parts(evaluation, {0: "a", 1: "b", 2: "c"}, resamples=100)
    assert [*table.rows] == ["a", "b", "c", "pooled"]
    assert sum(own.breasts for own in table.rows.values()) == 2 * len(frame)
    judged = out_of_fold(evaluation)
    one = judged[judged["fold"] == 1]
    assert table.rows["b"].values["recalled"] == pytest.approx((one["probability"] >= evaluation.nested[1]).mean())
    # By lines of the other folds, fitted to their share of positives.
    assert table.rows["pooled"].values["observed_expected"] == pytest.approx(1, abs=0.1)
    assert not np.allclose(judged["calibrated"], judged["probability"])
    shown = table.table()
    assert "left out" in shown
    assert f"{table.rows['b'].values['auroc']:.4f}" in shown
