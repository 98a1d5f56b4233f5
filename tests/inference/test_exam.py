"""What is to be predicted is known, or refused, before any work."""

import errno
import os
from pathlib import Path

import pandas as pd
import pytest

from rsna.dataset.table import TableError
from rsna.inference.exam import load_test_set
from tests.inference.runs import write_exams


@pytest.fixture
def exams(tmp_path):
    root = tmp_path / "exams"
    write_exams(root, 1)
    return root


@pytest.mark.parametrize(
    ("dropped", "column", "message"),
    [
        ([], "prediction_id", r"1 rows have no prediction_id; fill it in \(first: 11\)"),
        (["prediction_id"], "laterality", r"1 rows have no laterality; fill it in \(first: 11\)"),
        (["prediction_id"], "patient_id", r"1 rows have no patient_id; fill it in \(first: 11\)"),
        ([], "image_id", r"1 rows have no image_id; fill it in \(first: row 2\)"),
    ],
)
def test_rows_without_an_id_are_named(exams, dropped, column, message):
    table = pd.read_csv(exams / "test.csv", dtype=str).drop(columns=dropped)
    table.loc[1, column] = None
    table.to_csv(exams / "test.csv", index=False)
    with pytest.raises(TableError, match=message):
        load_test_set(exams)


def test_a_row_with_its_prediction_id_needs_no_laterality(exams):
    pd.read_csv(exams / "test.csv").assign(laterality=None).to_csv(exams / "test.csv", index=False)
    assert load_test_set(exams).prediction_ids == ("p0_L", "p0_R")


def test_test_csv_may_name_its_files_itself(exams, tmp_path):
    table = pd.read_csv(exams / "test.csv", dtype=str)
    table["path"] = [f"images/{image_id}.dcm" for image_id in table["image_id"]]
    table.loc[3, "path"] = "images/gone.dcm"
    (exams / "test_images" / "p0").rename(exams / "images")
    table.to_csv(exams / "test.csv", index=False)
    found = load_test_set(exams)
    assert found.images["path"].tolist() == [str(exams / "images" / f"{i}.dcm") for i in ("10", "11", "12")] + [""]
    assert not found.notes
    table["path"] = str(exams / "images" / "10.dcm")
    table.to_csv(exams / "test.csv", index=False)
    assert set(load_test_set(exams).images["path"]) == {str(exams / "images" / "10.dcm")}
    table["path"] = "../secret.dcm"
    table.to_csv(exams / "test.csv", index=False)
    with pytest.raises(TableError, match="4 rows have a path that leads out of"):
        load_test_set(exams)


def test_a_patient_whose_folder_cannot_be_read_costs_itself_alone(tmp_path, monkeypatch):
    write_exams(tmp_path, 2)
    locked = tmp_path / "test_images" / "p0"

    def list_folder(folder, scan=os.scandir):
        if Path(folder) == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", list_folder)
    found = load_test_set(tmp_path)
    assert found.images["failure"].tolist() == ["no file for this row"] * 4 + [""] * 4
    assert found.notes == (f"{locked} cannot be read: Permission denied",)
