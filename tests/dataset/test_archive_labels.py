"""Labels fill in what headers do not say; what does not fit is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.archive import scan_archive
from rsna.dataset.table import TableError
from tests.prepare.files import write_dicom


@pytest.fixture
def archive(tmp_path) -> Path:
    """Two images whose headers say everything, one that says its patient alone, one that says nothing."""
    root = tmp_path / "archive"
    tags = {"PatientID": "P1", "PatientAge": "061Y", "Manufacturer": "Maker", "ImageLaterality": "L"}
    write_dicom(root / "a.dcm", np.zeros((8, 8)), ViewPosition="CC", **tags)
    write_dicom(root / "b.dcm", np.zeros((8, 8)), ViewPosition="MLO", **tags)
    write_dicom(root / "c.dcm", np.zeros((8, 8)), PatientID="P2", ImageLaterality="R")
    write_dicom(root / "d.dcm", np.zeros((8, 8)))
    return root


def scan(archive, rows, columns):
    labels = archive.parent / "labels.csv"
    pd.DataFrame(rows, columns=columns).to_csv(labels, index=False)
    return scan_archive(archive, labels)


def test_labels_fill_in_what_headers_leave_empty(archive):
    columns = ["image_id", "patient_id", "laterality", "view", "age", "machine_id", "cancer", "path"]
    rows = [
        ("c", "P2", "R", "MLO", 50, 49, 1, "x"),
        ("d", "P3", "R", "CC", None, 21, 0, "x"),
        ("a", "P1", "L", "CC", 61, None, 0, "x"),
        ("b", "P1", "L", "MLO", None, None, 0, "x"),
    ]
    found = scan(archive, rows, columns)
    frame = found.frame.set_index("image_id")
    assert not found.failures
    assert not found.notes
    assert frame["patient_id"].to_dict() == {"a": "P1", "b": "P1", "c": "P2", "d": "P3"}
    assert frame.loc["d", ["laterality", "view"]].tolist() == ["R", "CC"]
    assert frame["age"].dropna().to_dict() == {"a": 61, "b": 61, "c": 50}
    assert frame["machine_id"].to_dict() == {"a": "Maker", "b": "Maker", "c": "49", "d": "21"}
    assert frame["cancer"].to_dict() == {"a": 0, "b": 0, "c": 1, "d": 0}
    assert frame["path"].to_dict() == {name: f"{name}.dcm" for name in "abcd"}


def test_headers_stand_where_labels_contradict_them_and_it_is_said(archive):
    found = scan(archive, [("a", "R", "CC", 60), ("b", "R", "CC", 61)], ["image_id", "laterality", "view", "age"])
    assert found.frame["laterality"].tolist() == ["L", "L", "R"]
    assert found.frame["age"].tolist()[:2] == [61, 61]
    said = "\n".join(found.notes)
    labels = archive.parent / "labels.csv"
    assert f"2 images have another laterality in {labels} than in their header, which stands (a: L, not R; b: L" in said
    assert f"1 images have another view in {labels} than in their header, which stands (b: MLO, not CC)" in said
    assert f"1 images have another age in {labels} than in their header, which stands (a: 61, not 60)" in said


def test_whole_numbers_stay_such_where_images_have_no_label(archive):
    frame = scan(archive, [("a", 1)], ["image_id", "cancer"]).frame
    assert frame[["image_id", "cancer"]].to_csv(index=False).splitlines()[1:] == ["a,1", "b,", "c,"]


def test_images_without_labels_and_labels_without_images_are_counted(archive):
    found = scan(archive, [("a", 1), ("x", 0), ("y", 0)], ["image_id", "cancer"])
    labels = archive.parent / "labels.csv"
    assert found.notes == [
        f"3 images have no row in {labels} (first: b.dcm, c.dcm, d.dcm)",
        f"2 rows of {labels} have no image (first: x, y)",
    ]


def test_labels_of_patients_reach_images_that_their_folder_names(archive):
    (archive / "P7").mkdir()
    write_dicom(archive / "P7" / "e.dcm", np.zeros((8, 8)), ImageLaterality="L")
    frame = scan(archive, [("P7", "1")], ["patient_id", "cancer"]).frame.set_index("image_id")
    assert frame.loc["e", ["patient_id", "cancer"]].tolist() == ["P7", 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pd.DataFrame({"name": ["a"], "cancer": [1]}), "needs a column image_id or patient_id"),
        (pd.DataFrame({"patient_id": ["P1", "P1"], "cancer": [1, 1]}), "1 rows repeat an earlier patient_id"),
        (pd.DataFrame({"patient_id": ["P9"], "cancer": [1]}), r"no patient_id of it is in the folder \(first: P9\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(archive, labels, message):
    with pytest.raises(TableError, match=message):
        scan(archive, labels, labels.columns)
