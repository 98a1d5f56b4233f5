import json
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from rsna.evaluation.errors import PredictionError
from rsna.evaluation.ledger import FIGURES
from rsna.evaluation.metrics import Figures, evaluate, plain_json
from rsna.evaluation.pf1 import pf1
from rsna.evaluation.scores import OperatingPoints
from rsna.evaluation.threshold import best_threshold
from tests.evaluation.simulate import simulate_images


@pytest.fixture(scope="module")
def images():
    return simulate_images()


@pytest.fixture(scope="module")
def evaluation(images):
    return evaluate(images, resamples=300)


def test_pooled_figures_are_those_of_the_breasts(images, evaluation):
    breasts = images.groupby("prediction_id").agg(y=("cancer", "first"), p=("probability", "mean"))
    pooled = evaluation.pooled
    assert (pooled.name, pooled.breasts, pooled.patients) == ("pooled", 240, 120)
    assert pooled.positives == breasts["y"].sum()
    assert pooled.pf1_raw == pytest.approx(pf1(breasts["y"], breasts["p"]))
    assert pooled.pf1_optimistic == pytest.approx(best_threshold(breasts["y"], breasts["p"]).pf1)
    assert pooled.auroc == pytest.approx(roc_auc_score(breasts["y"], breasts["p"]))
    assert pooled.auprc == pytest.approx(average_precision_score(breasts["y"], breasts["p"]))
    share = breasts["y"].mean()
    assert pooled.baseline == pytest.approx(2 * share / (1 + share))
    assert pooled.optimism_gap == pytest.approx(pooled.pf1_optimistic - pooled.pf1_nested)


def test_nested_pf1_cuts_each_fold_by_the_others(evaluation):
    breasts = evaluation.breasts
    calls = pd.Series(False, index=breasts.index)
    for fold in range(4):
        here = breasts["fold"] == fold
        chosen = best_threshold(breasts.loc[~here, "cancer"], breasts.loc[~here, "probability"]).value
        assert evaluation.nested[fold] == chosen
        calls[here] = breasts.loc[here, "probability"] >= chosen
    assert evaluation.pooled.pf1_nested == pytest.approx(f1_score(breasts["cancer"], calls))
    assert (breasts["recalled"] == calls).all()


def test_each_fold_is_scored_by_its_own_breasts(evaluation):
    assert [fold.name for fold in evaluation.folds] == ["fold 0", "fold 1", "fold 2", "fold 3"]
    assert sum(fold.breasts for fold in evaluation.folds) == evaluation.pooled.breasts
    first = evaluation.breasts[evaluation.breasts["fold"] == 0]
    assert evaluation.folds[0].auroc == pytest.approx(roc_auc_score(first["cancer"], first["probability"]))
    assert evaluation.folds[0].pf1_nested == pytest.approx(pf1(first["cancer"], first["recalled"]))
    assert evaluation.folds[0].pf1_optimistic >= evaluation.folds[0].pf1_nested


def test_every_figure_has_an_interval_that_holds_it(evaluation):
    assert set(evaluation.pooled.intervals) == set(FIGURES)
    for name, interval in evaluation.pooled.intervals.items():
        assert interval.low <= getattr(evaluation.pooled, name) <= interval.high, name


def test_the_figures_and_their_names_are_one_list():
    assert set(FIGURES) <= {field.name for field in fields(Figures)}


def test_without_folds_thresholds_are_crossfitted_by_patient(images):
    found = evaluate(images.drop(columns="fold"), resamples=0)
    assert found.crossfitted
    assert found.folds == ()
    assert sorted(found.nested) == [0, 1, 2, 3, 4]
    assert (found.breasts.groupby("patient_id")["part"].nunique() == 1).all()
    assert found.pooled.intervals == {}


def test_a_single_fold_is_crossfitted_and_named(images):
    found = evaluate(images[images["fold"] == 2], resamples=0)
    assert found.crossfitted
    assert found.pooled.name == "fold 2"
    assert len(found.nested) == 5


def test_a_fold_without_positives_has_no_pf1_but_the_others_have(images):
    healthy = images.assign(cancer=images["cancer"].where(images["fold"] != 1, 0))
    found = evaluate(healthy, resamples=0)
    assert np.isnan(found.folds[1].pf1_raw)
    assert np.isnan(found.folds[1].auroc)
    assert found.folds[1].positives == 0
    assert not np.isnan(found.pooled.pf1_nested)


def test_no_positive_at_all_is_an_error(images):
    with pytest.raises(PredictionError, match="none of the 240 breasts is positive"):
        evaluate(images.assign(cancer=0))


def test_reweighting_equals_that_many_more_negatives():
    images = simulate_images(folds=4, seed=3)
    prevalence = images.drop_duplicates("prediction_id")["cancer"].mean()
    negatives = 3 * (1 - prevalence)
    found = evaluate(images, prevalence=prevalence / (prevalence + negatives), sampling="enriched", resamples=100)
    # Every negative breast three times, under other names of the same patient.
    copies = [images] + [
        images[images["cancer"] == 0].assign(
            image_id=lambda f, i=i: f["image_id"] + f"-{i}", prediction_id=lambda f, i=i: f["prediction_id"] + f"-{i}"
        )
        for i in range(2)
    ]
    tripled = evaluate(pd.concat(copies), resamples=0)
    for name in FIGURES:
        if name != "calibration_error":  # its bins are of the rows
            assert getattr(found.pooled, name) == pytest.approx(getattr(tripled.pooled, name)), name
    assert found.pooled.baseline == pytest.approx(tripled.pooled.baseline)
    assert found.pooled.intervals["pf1_raw"].low < found.pooled.pf1_raw < found.pooled.intervals["pf1_raw"].high


def test_a_population_set_is_not_reweighted(images):
    with pytest.raises(ValueError, match="sampling=population"):
        evaluate(images, prevalence=0.021)


def test_wrong_predictions_are_refused(images):
    with pytest.raises(PredictionError, match="outside"):
        evaluate(images.assign(probability=images["probability"] * 3))


def test_operating_points_are_used(images):
    strict = evaluate(images, points=OperatingPoints(specificity=0.99, recall_rate=0.02), resamples=0).pooled
    loose = evaluate(images, points=OperatingPoints(specificity=0.5, recall_rate=0.6), resamples=0).pooled
    assert strict.sensitivity_at_specificity < loose.sensitivity_at_specificity
    assert strict.sensitivity_at_recall_rate < loose.sensitivity_at_recall_rate


def test_the_dictionary_is_json_without_nan(images):
    healthy = images.assign(cancer=images["cancer"].where(images["fold"] != 1, 0))
    text = json.dumps(evaluate(healthy, resamples=20).to_dict(), allow_nan=False)
    back = json.loads(text)
    assert back["folds"][1]["pf1_raw"] is None
    assert back["pooled"]["intervals"]["auroc"].keys() == {"low", "high", "undefined"}
    assert back["threshold"].keys() == {"value", "pf1", "plateau", "recalled"}
    assert back["nested"].keys() == {"0", "1", "2", "3"}
    assert "breasts" not in back


def test_numpy_values_become_plain():
    given = {1: np.int64(2), "b": (np.float64("nan"), np.bool_(True)), "c": [None, "x", float("inf")]}
    assert plain_json(given) == {"1": 2, "b": [None, True], "c": [None, "x", None]}


def test_one_breast_has_what_figures_it_can():
    one = pd.DataFrame({"prediction_id": ["1_L"], "patient_id": ["1"], "cancer": [1], "probability": [0.7]})
    found = evaluate(one, resamples=10)
    assert found.pooled.pf1_raw == pytest.approx(2 * 0.7 / 1.7)
    assert found.pooled.pf1_optimistic == 1.0
    assert np.isnan(found.pooled.pf1_nested)
    assert found.pooled.intervals["auroc"].undefined == 10
    assert "–" in found.table()


def test_the_table_shows_folds_pooled_intervals_and_thresholds(evaluation):
    table = evaluation.table()
    lines = table.splitlines()
    assert [line.split("  ")[0] for line in lines[1:6]] == ["fold 0", "fold 1", "fold 2", "fold 3", "pooled"]
    for value in (evaluation.pooled.pf1_nested, evaluation.pooled.baseline, evaluation.threshold.value):
        assert f"{value:.4f}" in table
    interval = evaluation.pooled.intervals["pf1_nested"]
    assert f"{interval.low:.4f} to {interval.high:.4f}" in table
    assert "300 resamples" in table


def test_the_table_says_when_prevalence_was_made(images):
    assert "enriched set" in evaluate(images, sampling="enriched", resamples=0).table()
    assert (
        "reweighted to a prevalence of 0.02"
        in evaluate(images, sampling="enriched", prevalence=0.02, resamples=0).table()
    )
