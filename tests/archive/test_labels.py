"""Labels fill in what headers do not say; what does not fit is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.archive.archive import scan_archive
from rsna.dataset.table import TableError
from tests.prepare.files import write_dicom


@pytest.fixture
def archive(tmp_path) -> Path:
    """Two images whose headers say everything, one that lacks view and age, one that says nothing but its study."""
    root = tmp_path / "archive"
    tags = {
        "PatientID": "P1",
        "StudyInstanceUID": "1.2.1",
        "PatientAge": "061Y",
        "Manufacturer": "Maker",
        "ImageLaterality": "L",
    }
    write_dicom(root / "a.dcm", np.zeros((8, 8)), ViewPosition="CC", **tags)
    write_dicom(root / "b.dcm", np.zeros((8, 8)), ViewPosition="MLO", **tags)
    write_dicom(root / "c.dcm", np.zeros((8, 8)), PatientID="P2", StudyInstanceUID="1.2.2", ImageLaterality="R")
    write_dicom(root / "d.dcm", np.zeros((8, 8)), StudyInstanceUID="1.2.3")
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
    labels = archive.parent / "labels.csv"
    assert found.notes == [
        f"1 images say no side, and have that of their row in {labels} (first: d.dcm)",
        f"{labels}: cancer is the label of an image (joined on image_id)",
    ]
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
    assert found.notes[:2] == [
        f"3 images have no row in {labels} (first: b.dcm, c.dcm, d.dcm)",
        f"2 rows of {labels} have no image (first: x, y)",
    ]


def test_labels_of_patients_reach_images_that_their_folder_names(archive):
    (archive / "P7").mkdir()
    write_dicom(archive / "P7" / "e.dcm", np.zeros((8, 8)), ImageLaterality="L")
    frame = scan(archive, [("P7", "1")], ["patient_id", "cancer"]).frame.set_index("image_id")
    assert frame.loc["e", ["patient_id", "cancer"]].tolist() == ["P7", 1]


def write_exams(root, patient="P1", sides=("L",), years=(2018, 2022), views=("CC", "MLO"), **tags):
    """Images of a patient's exams, named by year, side and view; headers say all but what ``tags`` take away."""
    for year in years:
        for side in sides:
            for view in views:
                said = {
                    "PatientID": patient, "StudyInstanceUID": f"1.2.{year}", "StudyDate": f"{year}0305",
                    "ImageLaterality": side, "ViewPosition": view,
                } | tags  # fmt: skip
                write_dicom(root / f"{patient or 'x'}-{year}{side}{view}.dcm", np.zeros((8, 8)), **said)
    return root


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("exam_id", ["1.2.2018", "1.2.2022"]),
        ("StudyInstanceUID", ["1.2.2018", "1.2.2022"]),
        ("exam_date", ["2018-03-05", "2022-03-05"]),
        ("study_date", ["20180305", "20220305"]),
        ("exam_number", [1, 2]),
    ],
)
@pytest.mark.parametrize("side", [["laterality"], []])
def test_labels_of_exams_reach_the_images_of_each(tmp_path, column, values, side):
    rows = [["P1", value, *["L" for _ in side], number] for number, value in enumerate(values)]
    found = scan(write_exams(tmp_path / "archive"), rows, ["patient_id", column, *side, "cancer"])
    assert found.frame.set_index("image_id")["cancer"].to_dict() == {
        "P1-2018LCC": 0, "P1-2018LMLO": 0, "P1-2022LCC": 1, "P1-2022LMLO": 1,
    }  # fmt: skip
    *how, unit = found.notes
    assert all("is exam" in note for note in how)  # what a column is taken for
    assert f"cancer is the label of {'a breast of ' * len(side)}an exam (joined on patient_id and exam_" in unit


def test_labels_name_exams_by_date_where_their_own_ids_are_no_studies(tmp_path):
    rows = [("P1", "A-1", "2018-03-05", 0), ("P1", "A-2", "2022-03-05", 1)]
    found = scan(write_exams(tmp_path / "archive"), rows, ["patient_id", "exam_id", "exam_date", "cancer"])
    assert found.frame.groupby("exam_date")["cancer"].max().to_dict() == {"2018-03-05": 0, "2022-03-05": 1}


def test_labels_that_say_no_exam_hold_for_each_and_it_is_said(tmp_path):
    found = scan(write_exams(tmp_path / "archive"), [("P1", "L", 1)], ["patient_id", "laterality", "cancer"])
    assert found.frame["cancer"].tolist() == [1] * 4
    labels = tmp_path / "labels.csv"
    assert found.notes == [
        f"1 patients have several exams, and {labels} does not say which it means: each has its labels (first: P1); "
        "add a column exam_id, exam_date or exam_number to it",
        f"{labels}: cancer is the label of a breast of a patient (joined on patient_id and laterality)",
    ]


@pytest.mark.parametrize("keys", [["patient_id"], ["patient_id", "exam_id"]])
def test_the_one_side_that_labels_name_is_that_of_images_which_say_none(tmp_path, keys):
    root = write_exams(tmp_path / "archive", years=(2018,), ImageLaterality=None)
    write_exams(root, "P2", years=(2018,), ImageLaterality=None, StudyInstanceUID="1.2.7")
    rows = {"P1": ["L"], "P2": ["L", "R"]}
    exam = {"P1": "1.2.2018", "P2": "1.2.7"}
    named = [[{"patient_id": p, "exam_id": exam[p]}[k] for k in keys] + [side, 1] for p in rows for side in rows[p]]
    found = scan(root, named, [*keys, "laterality", "cancer"])
    assert found.frame[["image_id", "laterality", "cancer"]].to_numpy().tolist() == [
        ["P1-2018LCC", "L", 1], ["P1-2018LMLO", "L", 1],
    ]  # fmt: skip
    first = "P1-2018LCC.dcm, P1-2018LMLO.dcm"
    assert (
        f"2 images say no side, and have that of their row in {tmp_path / 'labels.csv'} (first: {first})" in found.notes
    )
    assert [path for path, _ in found.failures] == ["P2-2018LCC.dcm", "P2-2018LMLO.dcm"]


def test_a_side_is_not_given_to_images_of_what_may_be_two_breasts(tmp_path):
    root = write_exams(tmp_path / "archive", sides="LR", years=(2018,), ImageLaterality=None)
    write_exams(root, "P2", years=(2018,), StudyInstanceUID="1.2.7")
    found = scan(root, [("P1", "L", 1), ("P2", "L", 0)], ["patient_id", "laterality", "cancer"])
    assert found.frame["patient_id"].tolist() == ["P2"] * 2
    assert len(found.failures) == 4


@pytest.mark.parametrize("patient", ["", "ANONYMOUS"])
def test_labels_of_images_know_whose_they_are_where_headers_name_nobody(tmp_path, patient):
    root = write_exams(tmp_path / "archive", patient, years=(2018, 2020, 2022))
    year = {2018: "A", 2020: "A", 2022: "B"}
    rows = [(f"{patient or 'x'}-{y}L{v}", p) for y, p in year.items() for v in ("CC", "MLO")]
    found = scan(root, rows, ["image_id", "patient_id"])
    assert found.frame["patient_id"].tolist() == ["A"] * 4 + ["B"] * 2
    assert found.frame["exam_number"].tolist() == [1, 1, 2, 2, 1, 1]
    assert not found.notes


def test_a_patient_of_the_labels_is_known_by_a_folder_of_that_name(tmp_path):
    for patient in ("P7", "P8"):
        write_exams(tmp_path / "archive" / patient / "DICOM", "", years=(2018,), StudyInstanceUID=f"1.2.{patient[1]}")
    found = scan(tmp_path / "archive", [("P7", 1), ("P8", 0)], ["patient_id", "cancer"])
    assert found.frame.groupby("patient_id")["cancer"].max().to_dict() == {"P7": 1, "P8": 0}


def test_an_id_that_labels_name_is_no_placeholder(tmp_path):
    found = scan(write_exams(tmp_path / "archive", "0"), [("0", 1), ("1", 0)], ["patient_id", "cancer"])
    assert found.frame["patient_id"].tolist() == ["0"] * 4
    assert found.frame["cancer"].tolist() == [1] * 4


def test_labels_say_the_exam_where_headers_do_not(tmp_path):
    root = write_exams(tmp_path / "archive", StudyInstanceUID=None, StudyDate=None)
    rows = [(f"P1-{year}L{view}", number) for number, year in ((1, 2018), (2, 2022)) for view in ("CC", "MLO")]
    assert scan(root, rows, ["image_id", "exam_number"]).frame["exam_id"].tolist() == ["1", "1", "2", "2"]
    dated = [(image_id, f"20{18 + 4 * (number - 1)}-03-05") for image_id, number in rows]
    frame = scan(root, dated, ["image_id", "exam_date"]).frame
    assert frame["exam_number"].tolist() == [1, 1, 2, 2]
    assert frame["exam_date"].tolist() == ["2018-03-05"] * 2 + ["2022-03-05"] * 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pd.DataFrame({"name": ["a"], "cancer": [1]}), "needs a column image_id, patient_id or exam_id"),
        (pd.DataFrame({"patient_id": ["P1", "P1"], "cancer": [1, 1]}), "1 rows repeat an earlier patient_id"),
        (
            pd.DataFrame({"patient_id": ["P9"], "cancer": [1]}),
            r"no patient_id of it is in the folder \(first: P9; in the folder: P1",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(archive, labels, message):
    with pytest.raises(TableError, match=message):
        scan(archive, labels, labels.columns)


def test_labels_of_patients_say_that_they_mark_both_breasts(tmp_path):
    root = tmp_path / "archive"
    for patient, sides in (("P1", "LR"), ("P2", "LR"), ("P3", "L")):
        for side in sides:
            write_dicom(root / f"{patient}{side}.dcm", np.zeros((8, 8)), PatientID=patient, ImageLaterality=side,
                        StudyInstanceUID=f"1.2.{patient[1]}")  # fmt: skip
    found = scan(root, [("P1", 1, 1), ("P2", 0, 0), ("P3", 1, 0)], ["patient_id", "cancer", "biopsy"])
    labels = tmp_path / "labels.csv"
    assert found.notes[-2:] == [
        f"{labels}: cancer, biopsy is the label of a patient (joined on patient_id)",
        f"{labels}: does not say in which breast, so 1 of 2 with cancer have it in both, one of them mostly wrong; "
        "add a column laterality",
    ]
    by_breast = scan(root, [("P1", "L", 1), ("P1", "R", 0)], ["patient_id", "laterality", "cancer"])
    assert not [note for note in by_breast.notes if "which breast" in note]
    assert "is the label" not in "".join(scan(root, [("P1", 50)], ["patient_id", "age"]).notes)


@pytest.mark.parametrize("years", [(2022,), (2018, 2022, 2024)])
@pytest.mark.parametrize("side", [["laterality"], []])
def test_no_label_goes_by_number_to_a_patient_whose_exams_are_numbered_otherwise(tmp_path, years, side):
    root = write_exams(write_exams(tmp_path / "archive", "P1", years=years), "P2")
    rows = [(patient, number, *["L" for _ in side], number - 1) for patient in ("P1", "P2") for number in (1, 2)]
    found = scan(root, rows, ["patient_id", "exam_number", *side, "cancer"])
    cancer = found.frame.set_index("image_id")["cancer"]
    assert cancer[cancer.index.str.startswith("P1")].isna().all()
    assert cancer["P2-2018LCC":"P2-2022LMLO"].tolist() == [0, 0, 1, 1]
    ours = ", ".join(str(number) for number, _ in enumerate(years, 1))
    assert (
        f"{tmp_path / 'labels.csv'}: numbers the exams of 1 patients otherwise than those that are in the folder, so "
        f"none of these has a label (first: P1: 1, 2, in the folder {ours}); add a column exam_date or exam_id"
    ) in found.notes


@pytest.mark.parametrize("numbers", [(0, 1), (1, 3), (2, 3), (1, None)])
def test_labels_that_number_no_patients_exams_as_the_folder_does_are_refused(tmp_path, numbers):
    rows = [("P1", number, 0) for number in numbers]
    with pytest.raises(TableError, match=r"numbers the exams of 1 patients otherwise .*, in the folder 1, 2\)"):
        scan(write_exams(tmp_path / "archive"), rows, ["patient_id", "exam_number", "cancer"])


def test_a_date_tells_the_exam_where_numbers_are_counted_from_0(tmp_path):
    rows = [("P1", 0, "2018-03-05", 0), ("P1", 1, "2022-03-05", 1)]
    found = scan(write_exams(tmp_path / "archive"), rows, ["patient_id", "exam_number", "exam_date", "cancer"])
    assert found.frame.groupby("exam_date")["cancer"].max().to_dict() == {"2018-03-05": 0, "2022-03-05": 1}


def test_a_label_that_is_neither_0_nor_1_is_refused_before_it_is_written(archive):
    with pytest.raises(TableError, match=r"labels.csv: 1 rows have a cancer outside \{0, 1\}.*\(first: line 3\)"):
        scan(archive, [("c", 1), ("d", "yes")], ["image_id", "cancer"])


@pytest.mark.parametrize("side", ["Side", "ImageLaterality", "Image Laterality"])
def test_a_side_by_another_name_says_in_which_breast(archive, side):
    found = scan(archive, [("P1", "left", 1), ("P1", "right", 0), ("P2", "R", 0)], ["PatientID", side, "cancer"])
    assert found.frame.set_index("image_id")["cancer"].to_dict() == {"a": 1, "b": 1, "c": 0}
    assert any("cancer is the label of a breast of a patient" in note for note in found.notes)


def test_columns_that_are_called_as_what_headers_say_in_no_table_are_kept(archive):
    own = ["sex", "institution", "birth_date", "uid", "intent", "issuer", "exam_time"]
    found = scan(archive, [("a", 0, *range(1, 8)), ("c", 1, *range(2, 9))], ["image_id", "cancer", *own])
    frame = found.frame.set_index("image_id")
    assert frame.loc["a", own].tolist() == [*range(1, 8)]
    assert frame.loc["c", own].tolist() == [*range(2, 9)]
    assert not any("than in their header" in note for note in found.notes)
    assert frame["exam_date"].eq("").all()


def test_ages_and_implants_are_read_as_people_write_them_and_what_is_none_is_said(archive):
    write_dicom(archive / "c.dcm", np.zeros((8, 8)), PatientID="P2", ImageLaterality="R", BreastImplantPresent="YES")
    rows = [("b", "061Y", "no"), ("c", "about 50", "perhaps"), ("a", None, "Y")]
    found = scan(archive, rows, ["image_id", "age", "implant"])
    frame = found.frame.set_index("image_id")
    assert frame["implant"].to_dict() == {"a": 1, "b": 0, "c": 1}
    assert frame["age"].dropna().to_dict() == {"a": 61, "b": 61}
    labels = archive.parent / "labels.csv"
    assert found.notes[:2] == [
        f"1 rows of {labels} have about 50 as age, which says nothing",
        f"1 rows of {labels} have perhaps as implant, which says nothing",
    ]


def test_an_exam_number_that_is_none_costs_its_patient_the_label(archive):
    found = scan(archive, [("P1", 1.5, 1), ("P2", 1, 0)], ["patient_id", "exam_number", "cancer"])
    assert found.frame.set_index("image_id")["cancer"].dropna().to_dict() == {"c": 0}
    assert "have 1.5 as exam_number, which says nothing" in found.notes[0]
    assert any("numbers the exams of 1 patients otherwise" in note for note in found.notes)


@pytest.mark.parametrize("day", ["", "20180101"])
def test_a_day_of_several_exams_has_one_label_for_each_which_is_said(tmp_path, day):
    for number in "12":
        tags = {"PatientID": "P", "ImageLaterality": "L", "StudyInstanceUID": f"1.2.{number}", "StudyDate": day}
        write_dicom(tmp_path / "archive" / f"{number}.dcm", np.zeros((8, 8)), **tags)
    found = scan(tmp_path / "archive", [("P", day, "L", 1)], ["patient_id", "exam_date", "laterality", "cancer"])
    assert found.frame["cancer"].tolist() == [1, 1]
    assert "1 patients have several exams of one day, or without one" in "".join(found.notes)


def test_labels_are_refused_before_any_header_is_read(archive, monkeypatch):
    monkeypatch.setattr("rsna.archive.archive._read_headers", lambda *_: pytest.fail("headers are read"))
    for columns, rows in ((["name", "cancer"], [["a", 1]]), (["image_id", "cancer"], [["a", 7]])):
        with pytest.raises(TableError, match=r"labels\.csv: "):
            scan(archive, rows, columns)
