"""One image at several places counts once; what only has the UID of another counts, and is said."""

import shutil

import numpy as np
import pydicom
import pytest

from rsna.archive.archive import scan_archive
from rsna.archive.copies import find_copies
from tests.prepare.files import write_dicom

PIXELS = np.random.default_rng(0).random((40, 30))


@pytest.fixture
def archive(tmp_path):
    for name in ("1", "2"):
        tags = {"PatientID": "7", "StudyInstanceUID": "1.2", "ImageLaterality": "L", "SOPInstanceUID": f"1.2.{name}"}
        write_dicom(tmp_path / "pat" / f"{name}.dcm", PIXELS, **tags)
    return tmp_path


def edit(path, **elements):
    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def left_out(archive, *taken):
    found = scan_archive(archive)
    assert sorted(found.frame["path"]) == sorted(taken)
    return found


@pytest.mark.parametrize("uid", ["1.2.1", ""])
@pytest.mark.parametrize("to", ["copy of pat/1.dcm", "backup/pat/1.dcm", "pat/1 (2).dcm"])
def test_a_copy_counts_once_and_both_paths_are_said(archive, to, uid):
    edit(archive / "pat" / "1.dcm", SOPInstanceUID=uid)
    (archive / to).parent.mkdir(exist_ok=True, parents=True)
    shutil.copy(archive / "pat" / "1.dcm", archive / to)
    found = left_out(archive, "pat/1.dcm", "pat/2.dcm")
    assert found.left_out == [(to, "Copy: the same bytes as pat/1.dcm")]
    assert found.frame["image_id"].tolist() == ["1", "2"]  # which no name of a copy disturbs


def test_of_copies_the_one_that_labels_name_is_taken_and_keeps_its_label(archive):
    shutil.copy(archive / "pat" / "1.dcm", archive / "pat" / "named.dcm")
    labels = archive / "labels.csv"
    labels.write_text("image_id,cancer\nnamed,1\n2,0\n")
    found = scan_archive(archive, labels)
    assert found.left_out == [("pat/1.dcm", "Copy: the same bytes as pat/named.dcm")]
    assert found.frame.set_index("image_id")["cancer"].to_dict() == {"named": 1, "2": 0}


@pytest.mark.parametrize("link", ["hard", "symbolic"])
def test_a_link_counts_once_and_both_paths_are_said(archive, link):
    other = archive / "pat" / "3.dcm"
    (other.hardlink_to if link == "hard" else other.symlink_to)(archive / "pat" / "1.dcm")
    found = left_out(archive, "pat/1.dcm", "pat/2.dcm")
    assert found.left_out == [("pat/3.dcm", "Link: leads to the same as pat/1.dcm")]


def test_a_copy_with_another_header_or_syntax_is_one_by_its_uid_and_pixels(archive):
    shutil.copy(archive / "pat" / "1.dcm", archive / "pat" / "anonymous.dcm")
    edit(archive / "pat" / "anonymous.dcm", InstitutionName="nowhere")
    tags = {"PatientID": "7", "StudyInstanceUID": "1.2", "ImageLaterality": "L", "SOPInstanceUID": "1.2.2"}
    write_dicom(archive / "pat" / "compressed.dcm", PIXELS, "jpeg2000", **tags)
    found = left_out(archive, "pat/1.dcm", "pat/2.dcm")
    same = "Copy: the same SOP Instance UID (0008,0018) and pixels as"
    assert found.left_out == [("pat/anonymous.dcm", f"{same} pat/1.dcm"), ("pat/compressed.dcm", f"{same} pat/2.dcm")]


def test_one_uid_with_other_pixels_is_said_and_both_are_used(archive):
    tags = {"PatientID": "7", "StudyInstanceUID": "1.2", "ImageLaterality": "L", "SOPInstanceUID": "1.2.1"}
    write_dicom(archive / "pat" / "other.dcm", 1 - PIXELS, **tags)
    found = left_out(archive, "pat/1.dcm", "pat/2.dcm", "pat/other.dcm")
    assert not found.left_out
    assert found.notes == [
        "1 SOP Instance UIDs (0008,0018) stand in several files of different pixels, which are all used (first: "
        "pat/1.dcm and pat/other.dcm)"
    ]


def test_a_copy_that_was_cut_off_is_not_said_to_have_other_pixels(archive):
    content = (archive / "pat" / "1.dcm").read_bytes()
    (archive / "pat" / "torn.dcm").write_bytes(content[:-40])
    found = left_out(archive, "pat/1.dcm", "pat/2.dcm", "pat/torn.dcm")
    assert not found.left_out
    assert found.notes == [
        "1 SOP Instance UIDs (0008,0018) stand in several files of which one at most can be decoded: the others may be "
        "copies of it that were cut off (first: pat/1.dcm and pat/torn.dcm)"
    ]


def test_one_uid_for_every_file_is_no_reason_to_decode_them(archive, monkeypatch):
    for number in range(9):
        write_dicom(archive / f"{number}.dcm", PIXELS * number / 9, SOPInstanceUID="1.2.3")
    monkeypatch.setattr("rsna.archive.copies.map_tasks", lambda function, tasks: list(tasks) and pytest.fail("decoded"))
    paths = [f"{number}.dcm" for number in range(9)]
    copies, notes = find_copies(archive, paths, ["1.2.3"] * 9)
    assert not copies
    assert notes[0].startswith("1 SOP Instance UIDs (0008,0018) stand in several files")
