"""CSAW-CC: the exam at which a cancer was found, apart from earlier ones; nothing of what was known afterwards."""

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import csaw_cc


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return csaw_cc.write(tmp_path_factory.mktemp("csaw"))


def breasts(table, column):
    return table.frame.groupby("prediction_id")[column].agg(lambda values: values.iloc[0])


def test_cancer_is_that_of_the_exam_and_side_and_what_lies_before_has_no_label(folder):
    table = load_table(folder)
    cancer = breasts(table, "cancer")
    assert cancer["3_2012_L"] == 1
    assert cancer[["3_2012_R", "3_2010_R", "4_L", "5_2010_L", "5_2014_R", "6_L"]].eq(0).all()
    assert cancer[["3_2010_L", "4_R"]].isna().all()
    assert breasts(table, "cancer_timing").replace("", np.nan).dropna().to_dict() == {
        "3_2010_L": "earlier",
        "3_2012_L": "screen-detected",
        "4_R": "interval",
    }
    for said in ("earlier (cancer_timing), and have no label", "screen-detected (cancer_timing), and are cancer"):
        assert any(f"1 exams of a breast with cancer are {said}" in note for note in table.notes)


def test_interval_cancers_count_and_earlier_exams_are_free_where_two_years_are_asked_for(folder):
    table = load_table(folder, cancer_from="two_years")
    cancer = breasts(table, "cancer")
    assert cancer[["3_2012_L", "4_R"]].eq(1).all()
    assert cancer["3_2010_L"] == 0
    assert cancer.notna().all()
    assert any("1 exams of a breast with cancer are interval (cancer_timing), and are cancer" in n for n in table.notes)


def test_exams_are_in_the_order_of_their_years_and_the_date_of_names_is_none(folder):
    frame = load_table(folder).frame
    numbers = frame.drop_duplicates(["patient_id", "exam_id"]).set_index(["patient_id", "exam_id"])["exam_number"]
    assert numbers.to_dict() == {
        ("3", "2012"): 2, ("3", "2010"): 1, ("4", "2011"): 1, ("5", "2010"): 1, ("5", "2014"): 3, ("5", "2012"): 2,
        ("6", "2015"): 1,
    }  # fmt: skip
    assert "exam_date" not in frame.columns
    assert frame["path"].str.contains("/Batch_[12]/").all()
    assert len(frame) == 28


def test_no_column_of_what_was_known_afterwards_is_taken_over(folder):
    columns = set(load_table(folder).frame.columns)
    assert columns == {
        "patient_id", "exam_id", "exam_number", "image_id", "laterality", "view", "path", "cancer", "cancer_timing",
        "prediction_id", "dataset", "cancer_from",
    }  # fmt: skip
    assert {"x_case", "x_age", "rad_timing", "rad_recall"} <= set(csaw_cc.HEADER)


def test_a_case_without_a_side_labels_neither_breast(tmp_path):
    root = csaw_cc.write(tmp_path, [("Bilateral", [(2012, 1)]), ("", [(2012, "")])])
    cancer = breasts(load_table(root), "cancer")
    assert cancer[["3_L", "3_R"]].isna().all()
    assert cancer[["4_L", "4_R"]].eq(0).all()


def test_a_case_that_is_neither_yes_nor_no_is_not_taken_for_a_healthy_woman(tmp_path):
    table = csaw_cc.write(tmp_path) / "CSAW-CC_breast_cancer_screening_data.csv"
    rows = pd.read_csv(table)
    rows.assign(x_case=rows["x_case"].map({1: "case", 0: "control"})).to_csv(table, index=False)
    with pytest.raises(TableError, match=r"28 rows have a x_case other than 0, 1: case, control \(first: 00003_"):
        load_table(tmp_path)
