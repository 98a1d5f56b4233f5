"""Breasts of a fold for which the others hold no positive have no threshold: neither recalled nor left alone."""

import numpy as np
import pandas as pd
import pytest

from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.external import out_of_fold, score_own, score_parts


@pytest.fixture(scope="module")
def evaluation():
    """Two folds, all positives in fold 0: only fold 1 has a threshold, and none with cancer."""
    rng = np.random.default_rng(0)
    patients = np.arange(80)
    cancer = (patients < 12).astype(int)
    p = np.clip(0.3 * cancer + 0.6 * rng.random(80), 0, 1)
    frame = pd.DataFrame({"patient_id": patients.astype(str), "cancer": cancer, "probability": p})
    fold = (patients >= 40).astype(int)
    return evaluate(frame.assign(prediction_id=frame["patient_id"] + "_L", fold=fold), resamples=0)


def test_a_part_without_a_threshold_has_no_sensitivity_and_no_share_recalled(evaluation):
    table = score_parts(evaluation, {0: "a", 1: "b"}, resamples=20)
    own = table.rows["a"].values
    assert own["auroc"] > 0.5
    assert all(np.isnan(own[name]) for name in ("sensitivity", "specificity", "recalled"))
    assert [line.split()[-3:-1] for line in table.table().splitlines() if line.startswith("a ")] == [["–", "–"]]


def test_the_whole_counts_breasts_with_a_threshold_alone(evaluation):
    judged = out_of_fold(evaluation)
    own = score_own(judged, resamples=0).values
    cut = judged[judged["fold"] == 1]
    assert judged["recalled"].isna().sum() == 40
    assert (
        own["recalled"]
        == pytest.approx(cut["recalled"].mean())
        == pytest.approx(evaluation.cut_breasts["recalled"].mean())
    )
    assert own["specificity"] == pytest.approx(1 - cut["recalled"].mean())
    assert np.isnan(own["sensitivity"])
