"""What is to be predicted is known, or refused, before any work."""

import errno
import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.table import TableError
from rsna.inference.exam import load_test_set
from tests import odd_names
from tests.inference.runs import write_exams
from tests.prepare.files import write_dicom


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
        if not isinstance(folder, int) and Path(folder) == locked:  # pytest clears up by descriptors
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", list_folder)
    found = load_test_set(tmp_path)
    assert found.images["failure"].tolist() == ["no file for this row"] * 4 + [""] * 4
    assert found.notes == (f"{locked} cannot be read: Permission denied",)


def test_exams_of_test_csv_make_breasts_unless_it_names_them_itself(exams):
    table = pd.read_csv(exams / "test.csv", dtype=str).assign(exam_id=["a", "a", "b", "b"])
    table.drop(columns="prediction_id").to_csv(exams / "test.csv", index=False)
    assert load_test_set(exams).prediction_ids == ("p0_a_L", "p0_a_R", "p0_b_L", "p0_b_R")
    table.to_csv(exams / "test.csv", index=False)
    found = load_test_set(exams)
    assert found.prediction_ids == ("p0_L", "p0_R")
    assert found.notes == ("2 prediction_ids of test.csv hold several exams, which are predicted as one (p0_L, p0_R)",)
    table.loc[1, "exam_id"] = None
    table.drop(columns="prediction_id").to_csv(exams / "test.csv", index=False)
    with pytest.raises(TableError, match=r"1 rows have no exam_id, where other rows .*\(first: 11\)"):
        load_test_set(exams)


@pytest.mark.parametrize("end", ["", ","])
def test_breasts_are_named_as_they_are_asked_for_however_the_table_is_written(exams, end):
    text = (exams / "test.csv").read_text().replace("_L", "_left").replace("p0,", "7.0,").replace("p0_", "7.0_")
    (exams / "test_images" / "p0").rename(exams / "test_images" / "7")
    (exams / "test.csv").unlink()
    (exams / "Test.CSV").write_bytes(text.replace("\n", f"{end}\n").replace(",", ";").encode("utf-16"))
    found = load_test_set(exams)
    assert found.prediction_ids == ("7.0_left", "7.0_R")
    assert found.images["patient_id"].unique().tolist() == ["7"]
    assert found.images["failure"].eq("").all()
    said = "is UTF-16; separated by semicolons; patient_id 7.0 is read as 7 (in 4 rows alike)"
    assert found.notes == (f"{exams}/Test.CSV: {said}",)


def test_a_breast_that_is_another_than_patient_and_side_say_is_named(exams):
    table = pd.read_csv(exams / "test.csv", dtype=str)
    table.loc[2, "prediction_id"] = "p0_R"
    table.to_csv(exams / "test.csv", index=False)
    [note] = load_test_set(exams).notes
    assert note == "1 rows have a prediction_id unlike their patient_id and laterality (p0_R of image 12)"


def test_two_tables_of_one_name_are_refused(exams):
    (exams / "test.csv").rename(exams / "TEST.csv")
    (exams / "test.csv.gz").write_bytes(gzip.compress((exams / "TEST.csv").read_bytes()))
    with pytest.raises(TableError, match=r"holds TEST\.csv and test\.csv\.gz; keep one of them"):
        load_test_set(exams)


@pytest.mark.parametrize("with_table", [True, False])
def test_odd_names_beside_the_images_cost_a_line_each_and_no_submission(with_table):
    with odd_names.open_folder() as root:
        write_exams(root, 1)
        lost = odd_names.spoil(root / "test_images", root / "test_images" / "p0" / "10.dcm")
        if not with_table:
            (root / "test.csv").unlink()
        with odd_names.plain_user():
            found = load_test_set(root)
        assert found.prediction_ids == ("p0_L", "p0_R")
        assert found.images["failure"].eq("").sum() == 4
        said = [*found.notes, *found.images["failure"][found.images["failure"].ne("")]]
        assert len(said) == (4 if with_table else len(lost))
        assert all(line.isprintable() for line in said)


@pytest.mark.parametrize("dropped", [[], ["prediction_id"]])
def test_image_ids_that_patients_share_are_told_apart(tmp_path, dropped):
    table = write_exams(tmp_path, 3)
    short = table["laterality"] + table["view"]
    for patient, image_id, name in zip(table["patient_id"], table["image_id"], short, strict=True):
        folder = tmp_path / "test_images" / patient
        (folder / f"{image_id}.dcm").rename(folder / f"{name}.dcm")
    table.assign(image_id=short).drop(columns=dropped).to_csv(tmp_path / "test.csv", index=False)
    found = load_test_set(tmp_path)
    assert found.images["image_id"].tolist() == (table["patient_id"] + "/" + short).tolist()
    assert found.images["path"].nunique() == 12
    assert found.images["failure"].eq("").all()
    assert found.images["prediction_id"].tolist() == table["prediction_id"].tolist()
    [note] = found.notes
    assert note.startswith("12 rows of test.csv share an image_id with another image; they are named apart")
    assert "p0/LCC" in note


def test_an_image_id_that_one_patient_has_twice_is_told_apart_by_the_files_that_the_table_names(exams):
    table = pd.read_csv(exams / "test.csv", dtype=str)
    table["path"] = [f"test_images/p0/{image_id}.dcm" for image_id in table["image_id"]]
    table["image_id"] = ["a", "a", "b", "c"]
    table.to_csv(exams / "test.csv", index=False)
    images = load_test_set(exams).images
    assert images["image_id"].tolist() == [*images["path"][:2], "b", "c"]


def test_copies_of_rows_count_once_and_an_image_of_two_breasts_stays_in_both(exams):
    table = pd.read_csv(exams / "test.csv", dtype=str)
    pd.concat([table, table.iloc[:1], table.iloc[:1].assign(prediction_id="p0_R")]).to_csv(
        exams / "test.csv", index=False
    )
    found = load_test_set(exams)
    assert found.images["image_id"].tolist() == ["10", "11", "12", "13", "10"]
    assert found.images["prediction_id"].iloc[-1] == "p0_R"
    assert (
        sum("1 rows of test.csv repeat an image_id of their patient and prediction_id" in n for n in found.notes) == 1
    )
    assert sum("predicted once and counts for each (first: 10)" in note for note in found.notes) == 1


def test_a_table_for_training_is_said_not_to_be_read(tmp_path):
    write_dicom(tmp_path / "a.dcm", np.zeros((8, 8)), PatientID="P", ImageLaterality="L", StudyInstanceUID="1.2")
    assert load_test_set(tmp_path).notes == ()
    (tmp_path / "train.csv").write_text("patient_id,image_id,laterality,path\nQ,a,R,a.dcm\n")
    found = load_test_set(tmp_path)
    assert found.notes[0].startswith("train.csv is not read")
    assert found.prediction_ids == ("P_L",)
