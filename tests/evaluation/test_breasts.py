import numpy as np
import pandas as pd
import pytest

from rsna.config.settings import ConfigError
from rsna.evaluation.breasts import (
    breast_probabilities,
    check_prevalence,
    doubts_of,
    negative_weight,
    prevalence_weights,
    to_breasts,
    to_exams,
)
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.metrics import pf1, pf1_of_ones


def images(**columns):
    """Three images of breast 1_L, one of 1_R, two of 2_L."""
    frame = pd.DataFrame(
        {
            "image_id": ["a", "b", "c", "d", "e", "f"],
            "prediction_id": ["2_L", "2_L", "1_L", "1_L", "1_L", "1_R"],
            "patient_id": ["2", "2", "1", "1", "1", "1"],
            "cancer": [0, 0, 1, 1, 1, 0],
            "probability": [0.2, 0.4, 0.1, 0.9, 0.5, 0.3],
        }
    )
    return frame.assign(**columns)


@pytest.mark.parametrize(
    ("aggregate", "expected"), [("mean", [0.5, 0.3, 0.3]), ("max", [0.9, 0.3, 0.4]), ("top2", [0.7, 0.3, 0.3])]
)
def test_images_become_breasts(aggregate, expected):
    breasts = to_breasts(images(), aggregate)
    assert breasts["prediction_id"].tolist() == ["1_L", "1_R", "2_L"]
    assert breasts["probability"].tolist() == pytest.approx(expected)
    assert breasts["cancer"].tolist() == [1, 0, 0]
    assert breasts["views"].tolist() == [3, 1, 2]
    assert "fold" not in breasts


def exams(**columns):
    rows = images(**columns)
    return to_exams(to_breasts(rows), rows)


def test_breasts_become_exams_by_the_higher_one():
    found = exams(fold=[1, 1, 0, 0, 0, 0], age=[50, 50, 61, 61, 61, 61], BIRADS=[None, None, 2, 2, 2, 0])
    assert found["prediction_id"].tolist() == ["1", "2"]
    assert found["probability"].tolist() == pytest.approx([0.5, 0.3])
    assert found["cancer"].tolist() == [1, 0]
    assert found["views"].tolist() == [4, 2]
    assert found["age"].tolist() == [61, 50]
    assert found["fold"].tolist() == [0, 1]
    assert "BIRADS" not in found  # of one breast


def test_a_patient_is_recalled_by_each_of_several_exams():
    later = images().assign(exam_id="x").replace({"1_L": "1_x_L", "1_R": "1_x_R", "2_L": "2_x_L"})
    two = pd.concat([images().assign(exam_id="w"), later[later["patient_id"] == "1"].assign(image_id=list("uvwx"))])
    two["prediction_id"] = two["prediction_id"].replace({"1_L": "1_w_L", "1_R": "1_w_R"})
    found = to_exams(to_breasts(two), two)
    assert found["prediction_id"].tolist() == ["1_w", "1_x", "2"]
    assert found["patient_id"].tolist() == ["1", "1", "2"]
    assert found["views"].tolist() == [4, 4, 2]
    assert to_exams(to_breasts(found), found).equals(found)


def test_exams_of_two_patients_are_two_whatever_their_ids():
    rows = pd.DataFrame(
        {
            "prediction_id": ["A", "B", "C", "D"],
            "patient_id": ["1", "1", "1_2", "1_2"],
            "exam_id": ["2_3", "x", "3", "y"],
            "cancer": [1, 0, 0, 0],
            "probability": [0.9, 0.2, 0.3, 0.1],
        }
    )
    found = to_exams(to_breasts(rows), rows)
    assert sorted(found["probability"]) == [0.1, 0.2, 0.3, 0.9]
    assert found.groupby("patient_id")["cancer"].sum().to_dict() == {"1": 1, "1_2": 0}


def test_exams_that_nothing_tells_apart_are_said():
    two_exams = images().replace({"prediction_id": {"2_L": "1_x_L"}, "patient_id": {"2": "1"}})
    (said,) = doubts_of(two_exams, "exam")
    assert said.startswith("1 of 1 (1) patients have more than two breasts and no exam_id")
    assert doubts_of(two_exams, "breast") == ()
    assert doubts_of(two_exams.assign(exam_id=list("yywwww")), "exam") == ()
    half = images().assign(exam_id=[None, None, "a", "a", "a", None])
    (said,) = doubts_of(half, "exam")
    assert said.startswith("1 of 2 (1) patients have breasts of an exam that is named and others of none")
    assert doubts_of(images(), "exam") == ()


def test_folds_and_the_competitions_columns_travel_along():
    breasts = to_breasts(images(fold=[1, 1, 0, 0, 0, 0], age=[50, 50, np.nan, 61, 61, 61], laterality="L"))
    assert breasts["fold"].tolist() == [0, 0, 1]
    assert breasts["age"].tolist() == [61, 61, 50]
    assert "laterality" not in breasts


def test_breasts_can_be_aggregated_again_without_change():
    once = to_breasts(images(), "max")
    pd.testing.assert_frame_equal(to_breasts(once, "mean"), once)


def test_labels_are_not_needed_for_the_probabilities_alone():
    bare = images().drop(columns=["cancer", "patient_id"])
    assert breast_probabilities(bare, "top2").to_dict() == pytest.approx({"1_L": 0.7, "1_R": 0.3, "2_L": 0.3})


def test_predictions_in_single_precision_are_averaged_in_double():
    frame = images(probability=np.float32([0.2, 0.4, 0.1, 0.9, 0.5, 0.3]))
    assert to_breasts(frame)["probability"].dtype == np.float64


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"probability": [0.2, np.nan, 0.1, np.nan, 0.5, 0.3]}, r"2 of 6 \(b, d\) rows have no probability"),
        ({"probability": [0.2, 1.4, 0.1, 0.9, -0.1, 0.3]}, r"2 of 6 \(b, e\) rows have a probability outside"),
        ({"image_id": ["a", "a", "c", "d", "e", "f"]}, r"1 of 6 \(a\) rows are duplicate image_id"),
        ({"cancer": [0, 0, 1, 1, 2, 0]}, r"1 of 6 \(e\) rows have a label other than 0 or 1"),
        ({"cancer": [0, 0, 1, 1, np.nan, 0]}, r"1 of 6 \(e\) rows have a label other than 0 or 1"),
        ({"cancer": [0, 0, 1, 0, 1, 0]}, r"1 of 3 \(1_L\) prediction_id have more than one cancer"),
        ({"patient_id": ["2", "2", "1", "3", "1", "1"]}, r"1 of 3 \(1_L\) prediction_id have more than one patient"),
        ({"patient_id": ["2", None, "1", "1", "1", "1"]}, r"1 of 6 \(b\) rows have no patient_id"),
        ({"fold": [1, 1, 0, 0, 0, 1]}, r"1 of 2 \(1\) patient_id have more than one fold"),
        ({"fold": [1, 1, 0, 0, 1, 0]}, r"1 of 3 \(1_L\) prediction_id have more than one fold"),
        ({"fold": [1, np.nan, 0, 0, 0, 0]}, r"1 of 6 \(b\) rows have no fold"),
        ({"fold": [1, 1, 0.5, 0, 0, 0]}, r"1 of 6 \(c\) rows have a fold that is no whole number"),
    ],
)
def test_what_cannot_be_scored_is_counted_and_named(columns, message):
    with pytest.raises(PredictionError, match=message):
        to_breasts(images(**columns))


def test_missing_columns_and_rows_are_named():
    with pytest.raises(PredictionError, match=r"lack the columns \['patient_id', 'cancer'\]"):
        to_breasts(images().drop(columns=["patient_id", "cancer"]))
    with pytest.raises(PredictionError, match="no rows"):
        to_breasts(images().iloc[:0])


def test_an_unknown_aggregate_is_refused():
    with pytest.raises(ValueError, match="mean, max, top2"):
        to_breasts(images(), "median")


def test_labels_may_be_booleans():
    assert to_breasts(images(cancer=images()["cancer"].astype(bool)))["cancer"].tolist() == [1, 0, 0]


def test_prevalence_weights_give_positives_the_stated_share():
    labels = np.arange(100) < 50
    weights = prevalence_weights(labels, 0.021)
    assert weights[labels].sum() / weights.sum() == pytest.approx(0.021)
    assert (weights[labels] == 1).all()
    assert pf1(labels, np.ones(100), weights=weights) == pytest.approx(pf1_of_ones(0.021))


def test_without_a_prevalence_all_weigh_one():
    assert prevalence_weights([1, 0], None).tolist() == [1, 1]


def test_a_set_without_negatives_keeps_its_weights():
    assert prevalence_weights([1, 1], 0.02).tolist() == [1, 1]
    assert negative_weight([3, 3], [0, 6], 0.2).tolist() == [1, 2]
    assert negative_weight(0, 6, 0.2) == 1


def test_a_population_set_is_never_reweighted():
    with pytest.raises(ConfigError, match="sampling=population"):
        check_prevalence(0.021, "population")
    check_prevalence(0.021, "enriched")
    check_prevalence(None, "population")


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, 2.1, np.nan])
def test_a_prevalence_is_a_share(prevalence):
    with pytest.raises(ConfigError, match="prevalence must lie"):
        check_prevalence(prevalence, "enriched")
    with pytest.raises(ConfigError, match="prevalence must lie"):
        check_prevalence(prevalence, "population")


def test_an_unknown_sampling_is_refused():
    with pytest.raises(ConfigError, match="population, enriched"):
        check_prevalence(None, "enrichd")
