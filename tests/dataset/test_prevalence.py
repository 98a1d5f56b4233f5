"""A label's breast is counted once, what is unlabelled is no negative, and odd shares are questioned."""

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.prevalence import LabelCounts, label_doubts


def images(*patients):
    """Two images a breast; a patient is the labels of its left and its right breast."""
    rows = [
        {"patient_id": str(number), "laterality": side, "cancer": label}
        for number, labels in enumerate(patients)
        for side, label in zip("LR", labels, strict=True)
        for _ in range(2)
    ]
    return pd.DataFrame(rows)


NO, YES, UNKNOWN = (0, 0), (0, 1), (np.nan, np.nan)


def test_unlabelled_breasts_are_no_negatives():
    counts = LabelCounts.of(images((0, 1), (1, 0), (0, np.nan), (np.nan, np.nan)))
    assert counts == LabelCounts(breasts=8, labelled=5, positive=2)
    assert str(counts) == "2 of 5 labelled breasts with cancer (40.0%; the others have no label)"
    assert str(LabelCounts.of(images((0, 1)))) == "1 breasts with cancer (50.0%)"
    assert str(LabelCounts.of(images(UNKNOWN))) == "none of 2 breasts has a cancer label"


def test_a_breast_of_which_one_image_is_labelled_is_labelled_and_odd_values_are_no_labels():
    frame = images((0, 1), (0, 0)).assign(cancer=[np.nan, 0, 1, np.nan, 2, np.nan, "yes", -1])
    assert LabelCounts.of(frame) == LabelCounts(4, 2, 1)


@pytest.mark.parametrize(
    ("patients", "questioned"),
    [
        ([NO] * 70 + [YES] * 30, "30 breasts with cancer (15.0%), where screening finds 0.1% to 3.0%"),
        ([NO] * 40 + [YES] * 30 + [UNKNOWN] * 900, "30 of 140 labelled breasts with cancer (21.4%; the others"),
        ([NO] * 10_000, "0 breasts with cancer (0.0%), where"),
        ([NO] * 958 + [YES] * 42, None),  # the competition's share
        ([NO] * 995 + [YES] * 5, None),
        ([NO] * 5 + [YES] * 2, None),  # too few to say
        ([NO] * 300, None),
        ([UNKNOWN] * 300, None),
    ],
)
def test_shares_far_from_screening_are_questioned_where_they_pass_for_the_true_one(patients, questioned):
    frame = images(*patients)
    said = label_doubts(frame, "population")
    assert len(said) == (questioned is not None)
    if questioned:
        assert said[0].startswith(questioned)
        assert "say sampling=enriched" in said[0]
    assert label_doubts(frame, "enriched") == []


def test_labels_of_patients_are_told_by_the_other_breast():
    bilateral = [(1, 1)] * 20
    [said] = label_doubts(images(*bilateral, *[YES] * 5, *[(1, np.nan)] * 3), "enriched")
    assert said.startswith("20 of 25 patients with cancer are labelled so in both breasts")
    assert label_doubts(images(*[(1, 1)] * 2, *[YES] * 20), "enriched") == []
    assert label_doubts(images(*[(1, 1)] * 4), "enriched") == []


def test_breasts_of_two_exams_are_two():
    frame = pd.concat([images((0, 1)).assign(exam_id="a"), images((0, 0)).assign(exam_id="b")])
    assert LabelCounts.of(frame) == LabelCounts(4, 4, 1)


def test_breasts_go_by_their_prediction_id_where_they_have_one():
    frame = images(*[(1, 1)] * 6, NO).assign(exam_id="x")
    named = frame.assign(prediction_id=frame["patient_id"] + "_" + frame["laterality"])
    without = named[["prediction_id", "cancer"]]
    assert LabelCounts.of(without) == LabelCounts.of(frame) == LabelCounts(14, 14, 12)
    assert label_doubts(without, "enriched") == label_doubts(frame, "enriched") != []
