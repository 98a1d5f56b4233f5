"""CMMD: a label is a breast's; what has no row has no label; ids, sides and views are in paths and headers."""

import sys

import numpy as np
import pytest

from rsna.dataset.adapters import cmmd
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from rsna.dicom import open_mammogram
from tests.dataset.adapters import cmmd as folder


def by_breast(table):
    return table.frame.groupby("prediction_id")["cancer"].first().to_dict()


@pytest.mark.parametrize("workbook", [False, True])
def test_a_breast_has_the_label_of_its_own_side_and_none_without_a_row(tmp_path, workbook):
    labels = by_breast(load_table(folder.write(tmp_path, workbook)))
    assert np.isnan(labels.pop("D1-9001_R"))
    assert labels == {"D1-9001_L": 0, "D1-9002_L": 1, "D1-9002_R": 0, "D2-9003_R": 1}


def test_breasts_without_a_row_are_normal_where_that_is_asked_for_and_said(tmp_path):
    folder.write(tmp_path)
    table = load_table(tmp_path, cancer_from="pathology_else_normal")
    assert by_breast(table)["D1-9001_R"] == 0
    assert any(
        "breasts of 2 images have no row and count as free of cancer (first: D1-9001_R)" in n for n in table.notes
    )
    assert any("have no row and are unlabelled" in note for note in load_table(tmp_path).notes)


def test_a_row_without_a_classification_is_no_normal_breast(tmp_path):
    folder.write(tmp_path)
    table = tmp_path / "CMMD_clinicaldata_revision.csv"
    table.write_text(table.read_text().replace("mass,Benign", "mass,", 1))
    labels = by_breast(load_table(tmp_path, cancer_from="pathology_else_normal"))
    assert np.isnan(labels["D1-9002_R"])
    assert labels["D1-9001_R"] == 0


def test_names_that_repeat_become_ids_by_their_path_from_the_patient_on(tmp_path):
    frame = load_table(folder.write(tmp_path)).frame
    assert len(frame) == 10
    assert frame["image_id"].is_unique
    assert frame["image_id"].iloc[0] == "D1-9001_07-18-2010-NA-NA-00379_1.000000-NA-70244_1-1"


def test_views_come_from_the_code_sequence_and_ages_from_the_table(tmp_path):
    frame = load_table(folder.write(tmp_path)).frame
    assert frame["view"].tolist() == ["CC", "MLO"] * 5
    assert frame.groupby("patient_id")["age"].first().tolist() == [44, 51, 60]
    assert frame["exam_date"].eq("2010-07-18").all()
    assert frame["exam_number"].eq(1).all()


def test_a_breast_of_two_rows_is_malignant_by_either_and_a_row_without_an_image_is_said(tmp_path):
    notes = load_table(folder.write(tmp_path)).notes
    assert any("1 breasts have cancer 1 from another row" in note and "D2-9003_R" in note for note in notes)
    assert any("1 breasts have no image (first: D2-9099_L)" in note for note in notes)


def test_images_of_16_bits_among_those_of_8_are_read_as_they_are(tmp_path):
    frame = load_table(folder.write(tmp_path)).frame
    bits = [open_mammogram(path).tags.bits_stored for path in frame["path"]]
    assert sorted(set(bits)) == [8, 16]


def test_a_classification_that_is_neither_is_refused(tmp_path):
    folder.write(tmp_path)
    table = tmp_path / "CMMD_clinicaldata_revision.csv"
    table.write_text(table.read_text().replace("Benign", "Unclear", 1))
    with pytest.raises(
        TableError, match=r"1 rows have a classification other than Malignant, Benign: unclear \(first: D1-9001\)"
    ):
        load_table(tmp_path)


def test_the_csv_saved_of_the_workbook_stands_in_for_it_without_openpyxl(tmp_path, monkeypatch):
    folder.write(tmp_path, workbook=True)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(TableError, match=r"rsna-mammography\[sheets\]"):
        load_table(tmp_path)
    folder.write(tmp_path)
    assert cmmd.matches(tmp_path, "train")
    assert len(load_table(tmp_path).frame) == 10


def test_a_row_of_no_side_does_not_make_its_breasts_free_of_cancer(tmp_path):
    table = folder.write(tmp_path) / "CMMD_clinicaldata_revision.csv"
    table.write_text(table.read_text().replace("D1-9002,L", "D1-9002,both"))
    with pytest.raises(TableError, match=r"1 rows have a LeftRight other than L and R \(first: D1-9002\)"):
        load_table(tmp_path, cancer_from="pathology_else_normal")
