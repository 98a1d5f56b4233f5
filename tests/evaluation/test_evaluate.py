import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from rsna.evaluation.bootstrap import Interval
from rsna.evaluation.breasts import to_breasts
from rsna.evaluation.calibration import logit, sigmoid
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.counts import OperatingPoints
from rsna.evaluation.evaluate import evaluate, learned_nothing, score_at
from rsna.evaluation.metrics import METRICS, pf1
from rsna.evaluation.slices import slices
from rsna.evaluation.threshold import DEALS, best_threshold
from tests.evaluation.simulate import simulate_images


@pytest.fixture(scope="module")
def images():
    return simulate_images()


@pytest.fixture(scope="module")
def evaluation(images):
    return evaluate(images, resamples=300)


def test_pooled_metrics_are_those_of_the_breasts(images, evaluation):
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
    recalled = pd.Series(False, index=breasts.index)
    for fold in range(4):
        here = breasts["fold"] == fold
        chosen = best_threshold(breasts.loc[~here, "cancer"], breasts.loc[~here, "probability"]).value
        assert evaluation.nested[fold] == chosen
        recalled[here] = breasts.loc[here, "probability"] >= chosen
    assert evaluation.pooled.pf1_nested == pytest.approx(f1_score(breasts["cancer"], recalled))
    assert (breasts["recalled"] == recalled).all()


def test_each_fold_is_scored_by_its_own_breasts(evaluation):
    assert [fold.name for fold in evaluation.folds] == ["fold 0", "fold 1", "fold 2", "fold 3"]
    assert sum(fold.breasts for fold in evaluation.folds) == evaluation.pooled.breasts
    first = evaluation.breasts[evaluation.breasts["fold"] == 0]
    assert evaluation.folds[0].auroc == pytest.approx(roc_auc_score(first["cancer"], first["probability"]))
    assert evaluation.folds[0].pf1_nested == pytest.approx(pf1(first["cancer"], first["recalled"]))
    assert evaluation.folds[0].pf1_optimistic >= evaluation.folds[0].pf1_nested


def test_every_metric_has_an_interval_that_holds_it(evaluation):
    assert set(evaluation.pooled.intervals) == set(METRICS)
    for name, interval in evaluation.pooled.intervals.items():
        assert interval.low <= getattr(evaluation.pooled, name) <= interval.high, name


def test_metrics_are_had_by_name_and_an_unknown_name_lists_them(evaluation):
    assert set(evaluation.pooled.values) == set(METRICS)
    assert evaluation.pooled.auroc == evaluation.pooled.values["auroc"]
    with pytest.raises(AttributeError, match="no metric is named 'auc'; there are pf1_raw, "):
        _ = evaluation.pooled.auc
    assert copy.copy(evaluation.pooled) == evaluation.pooled == pickle.loads(pickle.dumps(evaluation.pooled))


def test_without_folds_thresholds_are_crossfitted_by_patient(images):
    found = evaluate(images.drop(columns="fold"), resamples=0)
    assert found.crossfitted
    assert found.folds == ()
    assert sorted(found.nested) == list(range(5 * DEALS))
    assert (found.breasts.groupby("patient_id")["part"].nunique() == 1).all()
    assert found.pooled.intervals == {}


def test_without_folds_nested_pf1_is_the_mean_over_deals_of_what_each_gives(images):
    found = evaluate(images.drop(columns="fold"), resamples=200)
    single = []
    for deal in found.splits:
        folds = dict(zip(found.breasts["patient_id"], deal, strict=True))
        single.append(evaluate(images.assign(fold=images["patient_id"].map(folds)), resamples=0).pooled.pf1_nested)
    assert np.std(single) > 0.005  # so that one deal alone would be a draw
    assert found.pooled.pf1_nested == pytest.approx(np.mean(single))
    interval = found.pooled.intervals["pf1_nested"]
    assert interval.low < min(single) < max(single) < interval.high
    assert found.pooled.optimism_gap == pytest.approx(found.pooled.pf1_optimistic - found.pooled.pf1_nested)


def test_resamples_of_deals_do_not_depend_on_the_size_of_chunks(images, monkeypatch):
    frame = images.drop(columns="fold")
    whole = evaluate(frame, resamples=50).pooled.intervals
    monkeypatch.setattr("rsna.evaluation.bootstrap.CHUNK_NUMBERS", 3000)
    assert evaluate(frame, resamples=50).pooled.intervals == whole


def test_another_nested_pf1_has_another_name(images):
    """That of one fold alone is not that of the fold among the others."""
    alone, among = (evaluate(frame, resamples=0) for frame in (images[images["fold"] == 2], images))
    assert alone.pooled.pf1_nested != among.folds[2].pf1_nested
    assert alone.table().count("pF1 nested, cross-fitted") == 2  # heading of the folds, and row
    assert "mean over the deals" in alone.table()
    assert "cross-fitted" not in among.table()


def test_a_single_fold_is_crossfitted_and_named(images):
    found = evaluate(images[images["fold"] == 2], resamples=0)
    assert found.crossfitted
    assert found.pooled.name == "fold 2 alone"
    assert len(found.nested) == 5 * DEALS


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
    for name in METRICS:
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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda p: np.log(p / (1 - p)), r"outside \[0, 1\]: they reach from -.* to .*, as logits do; give 1 /"),
        (lambda p: 100 * p, r"outside \[0, 1\]: .*, as percents do; divide them by 100"),
        (lambda p: 1000 * p, r"outside \[0, 1\]: they reach from [\d.]+ to [\d.]+$"),
        (lambda p: p.mask(p.index == 0, np.inf), r"outside \[0, 1\]: they reach from [\d.]+ to inf"),
    ],
)
def test_what_is_no_probability_is_refused_with_what_it_looks_like(images, values, message):
    with pytest.raises(PredictionError, match=message):
        evaluate(images.assign(probability=values(images["probability"])))


@pytest.mark.parametrize("copy_of", [lambda y: y, lambda y: 1 - y, lambda y: y.astype(bool)])
def test_labels_are_not_scored_as_predictions(images, copy_of):
    with pytest.raises(PredictionError, match="probability is a copy of the labels"):
        evaluate(images.assign(probability=copy_of(images["cancer"])))


def test_a_perfect_order_is_doubted(images):
    noise = np.random.default_rng(0).random(len(images)) / 10
    assert "not made of the labels" in evaluate(images.assign(probability=0.8 * images["cancer"] + noise)).table()
    assert "not made of the labels" not in evaluate(images, resamples=0).table()


def test_decisions_and_what_looks_like_labels_are_said_under_the_table(images):
    decided = evaluate(images.assign(probability=(images["probability"] > 0.5).astype(float)), resamples=0).table()
    assert "AUROC, AUPRC and calibration are those of decisions" in decided
    assert "looks like labels" not in decided
    older = images["cancer"].where(images["prediction_id"] != images["prediction_id"].iloc[0], 0)
    assert "looks like labels: 0.99 stands in " in evaluate(images.assign(probability=older * 0.98 + 0.01)).table()
    assert "of decisions" not in evaluate(images, resamples=0).table()


def test_the_table_says_what_was_scored(images):
    assert "scored: column probability; a breast is the max of its images" in evaluate(images, "max").table()
    breasts = to_breasts(images)  # as a network of breasts writes them
    assert "a breast is predicted as a whole" in evaluate(breasts, resamples=0).table()
    assert "a breast is predicted as a whole" in evaluate(breasts.drop(columns="views"), resamples=0).table()
    images.attrs["scored"] = "column p of a.csv"
    found = evaluate(images, resamples=0)
    assert "scored: column p of a.csv; a breast is the mean of its images" in found.table()
    assert found.to_dict()["scored"] == "column p of a.csv"


@pytest.mark.parametrize(
    ("values", "resamples"),
    [
        (lambda f: np.random.default_rng(0).random(len(f)), 200),
        (lambda f: 1 - f["probability"], 0),
        (lambda f: 0.3, 0),
    ],
)
def test_what_is_below_its_own_floor_has_learned_nothing(images, values, resamples):
    said = evaluate(images.assign(probability=values(images)), resamples=resamples).table()
    assert "has learned nothing that these breasts show: AUROC 0." in said


def test_a_reversed_column_is_told_from_chance(images):
    said = evaluate(images.assign(probability=1 - images["probability"]), resamples=200).table()
    assert "orders these breasts in reverse: AUROC 0." in said
    assert "lies below 0.5: the column seems reversed (a probability of no cancer, or swapped labels)" in said
    assert "chance" not in said


def test_what_has_learned_is_not_said_to_have_learned_nothing(evaluation):
    assert "has learned nothing" not in evaluation.table()


def test_the_floors_are_those_of_pf1_and_auroc():
    values = {"pf1_nested": 0.05, "auroc": 0.8}
    assert "nested pF1 0.0500 is no more than 0.0500" in learned_nothing(values, 0.05, Interval(0.7, 0.9))
    assert learned_nothing(values, 0.049, Interval(0.7, 0.9)) == ""
    assert "AUROC 0.8000 (0.5000 to 0.9000) is not told from" in learned_nothing(values, 0.01, Interval(0.5, 0.9))
    values["auroc"] = 0.3
    assert learned_nothing(values, 0.01, Interval(0.2, 0.499)).startswith("orders these breasts in reverse")
    assert "AUROC 0.3000 (0.2000 to 0.5000) is not told" in learned_nothing(values, 0.01, Interval(0.2, 0.5))
    assert "whether it is reversed an interval says" in learned_nothing(values, 0.01, None)
    undefined = float("nan")
    assert learned_nothing({"pf1_nested": undefined, "auroc": undefined}, 0.1, Interval(undefined, undefined)) == ""
    assert learned_nothing({"pf1_nested": None, "auroc": None}, 0.1, None) == ""


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


def test_one_breast_has_what_metrics_it_can():
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


@pytest.fixture(scope="module")
def many():
    return simulate_images(patients=200, prevalence=0.2)


def test_pf1_at_a_threshold_is_scikit_learns(many):
    found = evaluate(many, resamples=0)
    score = score_at(found, 0.3, resamples=200)
    at = found.breasts["probability"] >= 0.3
    assert score.pf1 == pytest.approx(f1_score(found.breasts["cancer"], at))
    assert score.recalled == pytest.approx(at.mean())
    assert score.interval.low < score.pf1 < score.interval.high
    assert score_at(found, 0.3, resamples=0).interval is None


def test_a_threshold_equal_to_a_score_reat_it(many):
    found = evaluate(many, resamples=0)
    highest = found.breasts["probability"].max()
    assert score_at(found, highest, resamples=0).recalled == pytest.approx(1 / len(found.breasts))


def test_scores_lower_than_those_behind_the_threshold_show(many):
    """A threshold chosen anew hides a shift of all scores; the one that is shipped does not."""
    shipped = evaluate(many, resamples=0)
    lower = many.assign(probability=sigmoid(logit(many["probability"]) - 3))
    shifted = evaluate(lower, resamples=0)
    assert shifted.pooled.pf1_nested == pytest.approx(shipped.pooled.pf1_nested, abs=0.01)
    at_home = score_at(shipped, shipped.threshold.value, resamples=200)
    elsewhere = score_at(shifted, shipped.threshold.value, resamples=200)
    assert at_home.pf1 == pytest.approx(shipped.threshold.pf1)
    assert elsewhere.pf1 < at_home.pf1 / 2
    assert elsewhere.interval.high < at_home.interval.low
    assert elsewhere.recalled < at_home.recalled / 2


def test_reweighted_negatives_weigh_at_a_threshold_too(many):
    plain = score_at(evaluate(many, sampling="enriched", resamples=0), 0.3, resamples=100)
    screening = evaluate(many, sampling="enriched", prevalence=0.02, resamples=0)
    weighted = score_at(screening, 0.3, resamples=100)
    rows = screening.breasts
    at = rows["probability"] >= 0.3
    assert weighted.pf1 == pytest.approx(f1_score(rows["cancer"], at, sample_weight=rows["weight"]))
    assert weighted.recalled == pytest.approx(np.average(at, weights=rows["weight"]))
    assert weighted.pf1 < plain.pf1
    assert weighted.interval.high < plain.interval.high


def test_the_line_says_threshold_score_interval_and_share(many):
    found = evaluate(many, resamples=0)
    score = score_at(found, 1.0, resamples=100)
    assert score.line() == (
        "pF1 at the run's threshold 1.0000: 0.0000 (95% interval 0.0000 to 0.0000), share recalled 0.00%"
    )
    assert "interval" not in score_at(found, 0.3, resamples=0).line()


def test_exams_are_scored_by_the_higher_breast_and_named(images):
    found = evaluate(images, unit="exam", resamples=50)
    rows = to_breasts(images).groupby("patient_id").agg({"cancer": "max", "probability": "max"})
    assert found.pooled.auroc == pytest.approx(roc_auc_score(rows["cancer"], rows["probability"]))
    assert found.pooled.breasts == images["patient_id"].nunique()
    table = found.table()
    assert " exams " in table.splitlines()[0]
    assert "an exam is the maximum of its breasts" in table
    assert found.to_dict()["unit"] == "exam"
    assert found.to_dict()["pooled"]["exams"] == found.pooled.breasts
    assert "exams" in slices(found, resamples=0).table().splitlines()[0]
    assert "a breast is the mean of its images\n" in evaluate(images, resamples=0).table()


def test_ranks_have_no_metric_that_needs_probabilities_and_the_table_says_why(images):
    ranks = images.assign(probability=(images["probability"].rank() - 0.5) / len(images))
    found = evaluate(ranks, "max", probabilities=False, resamples=30)
    whole = evaluate(ranks, "max", resamples=30)
    missing = {"pf1_raw", "brier", "calibration_error"}
    for name in METRICS:
        if name in missing:
            assert np.isnan(found.pooled.values[name])
            assert name not in found.pooled.intervals
            assert all(np.isnan(fold.values[name]) for fold in found.folds)
        else:
            assert found.pooled.values[name] == whole.pooled.values[name]
            assert found.pooled.intervals[name] == whole.pooled.intervals[name]
    assert {name for name, value in found.to_dict()["pooled"].items() if value is None} == missing
    assert "an order of breasts, no probabilities, so without pF1 raw, Brier score, calibration error" in found.table()
    assert f"{whole.pooled.pf1_raw:.4f}" not in found.table()
    assert "no probabilities" not in whole.table()


def test_a_notebook_shows_the_tables_as_html(evaluation):
    html = evaluation._repr_html_()
    assert html.count("<table>") == 2
    assert f"<td>{evaluation.pooled.auroc:.4f}</td>" in html
    assert "300 resamples" in html
