"""Mirai's CSV: read as exams with a label each, and written so that it is read back."""

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.adapters.mirai import COLUMNS, to_mirai
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import mirai


def test_an_exam_with_cancer_within_the_year_has_it_in_both_breasts_and_that_is_said(tmp_path):
    table = load_table(mirai.write(tmp_path))
    labels = table.frame.groupby("exam_id")["cancer"].agg(["min", "max"]).to_numpy().tolist()
    assert labels[:3] == [[0, 0], [1, 1], [0, 0]]
    assert np.isnan(labels[3]).all()
    assert any("does not say in which breast: both of 1 exams" in note for note in table.notes)


def test_exams_come_in_the_order_of_their_followup_and_paths_are_found(tmp_path):
    frame = load_table(mirai.write(tmp_path)).frame
    assert frame.groupby("exam_id")["exam_number"].first().tolist() == [1, 2, 1, 1]
    assert frame["prediction_id"].iloc[0] == "p1_e1_L"
    assert frame["image_id"].is_unique
    assert frame["path"].ne("").all()


def test_what_is_written_is_read_back_alike(tmp_path):
    frame = load_table(mirai.write(tmp_path / "one")).frame
    notes: list[str] = []
    written = to_mirai(frame, notes)
    assert list(written.columns) == list(COLUMNS)
    assert any("4 images of exams without a label are left out" in note for note in notes)
    (tmp_path / "two").mkdir()
    written.to_csv(tmp_path / "two" / "mirai.csv", index=False)
    again = load_table(tmp_path / "two").frame
    labelled = frame[frame["cancer"].notna()].reset_index(drop=True)
    for column in ("patient_id", "exam_id", "laterality", "view", "cancer", "path", "split"):
        assert again[column].tolist() == labelled[column].tolist()
    assert again["split"].unique().tolist() == ["train", "test"]


def test_no_patient_is_written_into_two_parts(tmp_path):
    frame = load_table(mirai.write(tmp_path)).frame
    notes: list[str] = []
    written = to_mirai(frame.assign(split=frame["split"].mask(frame["exam_id"].eq("e1"), "test")), notes)
    assert written.groupby("patient_id")["split_group"].unique().map(list).to_dict() == {
        "p1": ["train"],
        "p2": ["test"],
    }
    assert "1 patients are of several parts, and all in train (first: p1)" in notes


def test_an_exam_of_which_one_breast_has_no_label_is_not_written_as_free_of_cancer(tmp_path):
    frame = load_table(mirai.write(tmp_path)).frame
    of_left = frame["laterality"].eq("L")
    notes: list[str] = []
    written = to_mirai(frame.assign(cancer=frame["cancer"].mask(of_left)), notes)
    assert written["exam_id"].unique().tolist() == ["e2"]
    assert written["years_to_cancer"].eq(0).all()
    assert any("12 images of exams without a label are left out" in note for note in notes)


def test_an_exam_that_lacks_a_view_is_said_when_written(tmp_path):
    frame = load_table(mirai.write(tmp_path)).frame.iloc[1:]
    notes: list[str] = []
    to_mirai(frame, notes)
    assert any(note.startswith("3 images are of exams that lack one of the four views") for note in notes)


def test_two_such_tables_and_years_that_are_none_are_refused(tmp_path):
    mirai.write(tmp_path)
    table = pd.read_csv(tmp_path / "mirai_train.csv")
    table.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(TableError, match=r"holds mirai_train.csv, other.csv; expected a CSV with the columns"):
        load_table(tmp_path)
    (tmp_path / "other.csv").unlink()
    table.assign(years_to_cancer=-1).to_csv(tmp_path / "mirai_train.csv", index=False)
    with pytest.raises(TableError, match="16 rows have years_to_cancer that are no whole number"):
        load_table(tmp_path)
