"""Any folder of DICOM files becomes a table that training reads."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from rsna.cli.main import main
from rsna.dataset.archive import age_in_years, scan_archive
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from rsna.dicom import open_mammogram
from tests.dicom_files import report_bytes
from tests.prepare.files import write_dicom

PIXELS = np.random.default_rng(0).random((40, 30))


@pytest.fixture
def archive(tmp_path) -> Path:
    root = tmp_path / "archive"
    for patient in ("P1", "P2"):
        for side in "LR":
            for view in ("CC", "MLO"):
                file = root / patient / "study" / f"{patient}{side}{view}.dcm"
                file.parent.mkdir(parents=True, exist_ok=True)
                write_dicom(file, PIXELS, PatientID=patient, ImageLaterality=side, ViewPosition=view,
                            PatientAge="061Y", Manufacturer="Maker", ManufacturerModelName="One")  # fmt: skip
    return root


def test_ids_laterality_view_age_and_machine_come_from_the_tags(archive):
    frame = scan_archive(archive).frame
    assert len(frame) == 8
    first = frame.iloc[0]
    assert (first.patient_id, first.image_id, first.laterality, first.view) == ("P1", "P1LCC", "L", "CC")
    assert (first.age, first.machine_id, first.path) == (61, "Maker One", "P1/study/P1LCC.dcm")


def test_what_cannot_be_used_is_named_what_is_none_left_out_and_others_counted(archive):
    folder = archive / "P1"
    write_dicom(folder / "sideless.dcm", PIXELS, PatientID="P1")
    write_dicom(folder / "tomo.dcm", PIXELS, PatientID="P1", ImageLaterality="L", NumberOfFrames=5)
    whole = (folder / "study" / "P1LCC.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(whole[:300])
    (folder / "zeros.DCM").write_bytes(bytes(5000))
    (folder / "empty.dcm").touch()
    (folder / "1.2.840.100.7").write_bytes(bytes(5000))
    (folder / "report").write_bytes(report_bytes(PIXELS))
    (archive / "notes.txt").write_text("nothing")
    os.mkfifo(archive / "pipe")
    found = scan_archive(archive)
    assert len(found.frame) == 8
    assert [(path, reason.partition(":")[0]) for path, reason in found.failures] == [
        ("P1/1.2.840.100.7", "NotDicom"),
        ("P1/cut.dcm", "Truncated"),
        ("P1/empty.dcm", "NotDicom"),
        ("P1/sideless.dcm", "ImageLaterality (0020,0062) and Laterality (0020,0060) name neither L nor R, and no "
         "label does"),
        ("P1/zeros.DCM", "NotDicom"),
    ]  # fmt: skip
    assert [(path, reason.partition(":")[0]) for path, reason in found.left_out] == [
        ("P1/report", "NoPixels"),
        ("P1/tomo.dcm", "MultiFrame"),
    ]
    assert found.others == ["notes.txt"]
    lines = found.lines()
    assert lines[0].startswith("1 files are left out (first: P1/report: NoPixels: (7FE0,0010) Pixel Data is missing")
    assert lines[-1] == "1 files are no DICOM (first: notes.txt)"


def test_a_file_or_folder_without_permission_costs_itself_alone(archive, monkeypatch):
    """Root reads everything: permissions are played."""
    locked = archive / "P1" / "study" / "P1LCC.dcm"

    def open_path(path):
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_mammogram(path)

    def list_folder(folder, scan=os.scandir):
        if Path(folder) == archive / "P2":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr("rsna.dataset.archive.open_mammogram", open_path)
    monkeypatch.setattr(os, "scandir", list_folder)
    found = scan_archive(archive)
    assert set(found.frame["image_id"]) == {"P1LMLO", "P1RCC", "P1RMLO"}
    reason = "PermissionError: Permission denied"
    assert found.failures == [("P1/study/P1LCC.dcm", reason), ("P2", reason)]


def test_names_that_repeat_give_way_to_uids_and_then_to_paths(archive):
    for patient in ("P1", "P2"):
        for i, file in enumerate(sorted((archive / patient / "study").iterdir())):
            file.rename(file.with_name(f"{i}.dcm"))
    found = scan_archive(archive)
    assert found.frame["image_id"].is_unique
    assert found.frame["image_id"].str.contains(r"^[\d.]{20,}$").all()
    assert found.notes == [
        "file names repeat (first: 0, 1, 2 and 1 more), so an image_id is the file's SOP Instance UID (0008,0018)"
    ]
    anonymous = pydicom.dcmread(archive / "P1" / "study" / "0.dcm")
    anonymous.SOPInstanceUID = ""
    anonymous.save_as(archive / "P1" / "study" / "0.dcm")
    assert scan_archive(archive).frame["image_id"].tolist()[::4] == ["P1_study_0", "P2_study_0"]
    assert scan_archive(archive / "P1").frame["image_id"].tolist() == ["0", "1", "2", "3"]


def test_names_without_an_ending_are_whole_image_ids(tmp_path):
    for name in ("1.2.840.100.7", "1.2.840.100.8", "a.DICOM"):
        write_dicom(tmp_path / name, PIXELS, PatientID="1", ImageLaterality="L")
    assert scan_archive(tmp_path).frame["image_id"].tolist() == ["1.2.840.100.7", "1.2.840.100.8", "a"]


@pytest.mark.parametrize(
    ("text", "years"),
    [("040Y", 40), ("050Y", 50), ("100Y", 100), ("018M", 1), ("120W", 2), ("400D", 1), ("61Y", 61), ("000Y", 0),
     ("", None), ("Y", None), ("061", None), ("old", None)],
)  # fmt: skip
def test_ages_are_whole_years(text, years):
    assert age_in_years(text) == years


SHOWN, RAW = {"PresentationIntentType": "FOR PRESENTATION"}, {"PresentationIntentType": "FOR PROCESSING"}


def write_breast(folder, **files):
    """Files of one breast; blanks in a name are written as underscores."""
    for name, elements in files.items():
        tags = {"PatientID": "1", "ImageLaterality": "L", **elements}
        write_dicom(folder / f"{name.replace('_', ' ')}.dcm", PIXELS, **tags)


def test_images_of_other_modalities_are_left_out_and_raw_ones_where_they_have_a_twin(tmp_path):
    write_breast(
        tmp_path,
        shown={"Modality": "MG", "ViewPosition": "CC", **SHOWN},
        raw={"Modality": "MG", "ViewPosition": "CC", **RAW},
        raw_alone={"Modality": "MG", "ViewPosition": "MLO", **RAW},
        unsaid={"ViewPosition": "CC"},
        mr={"Modality": "MR", "ViewPosition": "CC"},
        us={"Modality": "US"},
    )
    # Without a side, and yet no failure: it is no mammogram.
    write_dicom(tmp_path / "mr2.dcm", PIXELS, PatientID="1", Modality="MR")
    found = scan_archive(tmp_path)
    assert sorted(found.frame["image_id"]) == ["raw alone", "shown", "unsaid"]
    assert not found.failures
    assert [path for path, _ in found.left_out] == ["mr.dcm", "mr2.dcm", "raw.dcm", "us.dcm"]
    assert found.lines() == [
        "1 images are FOR PROCESSING (0008,0068) and are kept, as their view is not there FOR PRESENTATION "
        "(first: raw alone.dcm)",
        "2 files are left out (first: mr.dcm: Modality (0008,0060) is MR, not MG)",
        "1 files are left out (first: raw.dcm: Presentation Intent (0008,0068) is FOR PROCESSING, and the view is "
        "there FOR PRESENTATION)",
        "1 files are left out (first: us.dcm: Modality (0008,0060) is US, not MG)",
    ]


def test_a_raw_image_of_another_exam_or_of_an_unknown_view_is_kept(tmp_path):
    write_breast(
        tmp_path,
        first_raw={"StudyInstanceUID": "1.2.1", "ViewPosition": "CC", **RAW},
        later_shown={"StudyInstanceUID": "1.2.2", "ViewPosition": "CC", **SHOWN},
        later_raw={"StudyInstanceUID": "1.2.2", "ViewPosition": "CC", **RAW},
        unknown_shown={"StudyInstanceUID": "1.2.3", **SHOWN},
        unknown_raw={"StudyInstanceUID": "1.2.3", **RAW},
    )
    found = scan_archive(tmp_path)
    assert [path for path, _ in found.left_out] == ["later raw.dcm"]


@pytest.mark.parametrize("keys", [["image_id"], ["patient_id", "laterality"], ["patient_id"]])
def test_labels_are_joined_and_the_result_is_a_set(archive, keys, tmp_path):
    frame = scan_archive(archive).frame
    labels = frame[keys].drop_duplicates().assign(cancer=lambda f: (f[keys[0]].str[:2] == "P1").astype(int))
    labels.to_csv(tmp_path / "labels.csv", index=False)
    assert main(["table", f"input={archive}", f"labels={tmp_path / 'labels.csv'}"]) == 0
    table = load_table(archive)
    assert table.frame.groupby("patient_id")["cancer"].mean().to_dict() == {"P1": 1.0, "P2": 0.0}
    assert all(Path(path).is_file() for path in table.frame["path"])


def test_a_folder_without_mammograms_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(TableError, match=r"\(0 files cannot be used, 0 are left out, 1 are no DICOM\)"):
        scan_archive(tmp_path)


def test_a_table_that_is_there_is_not_overwritten(archive, capsys):
    (archive / "train.csv").write_text("labels of years")
    assert main(["table", f"input={archive}"]) == 1
    assert "train.csv: is there already and is not overwritten" in capsys.readouterr().err
    assert (archive / "train.csv").read_text() == "labels of years"
    assert main(["table", f"input={archive}", f"out={archive / 'other.csv'}"]) == 0


@pytest.mark.parametrize("out", ["proj/train.csv", "archive/P1/train.csv", "train.csv"])
def test_a_table_anywhere_names_files_that_training_finds(archive, out, tmp_path):
    labels = scan_archive(archive).frame[["image_id"]].assign(cancer=0)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    out = tmp_path / out
    out.parent.mkdir(exist_ok=True)
    assert main(["table", f"input={archive}", f"labels={tmp_path / 'labels.csv'}", f"out={out}"]) == 0
    assert {Path(path).parents[2] for path in load_table(out.parent).frame["path"]} == {archive.resolve()}
    written = pd.read_csv(out)["path"].map(os.path.isabs)
    assert not written.any() if out.parent == tmp_path else written.all()


def test_everything_that_was_left_out_is_listed_in_a_file(archive, capsys):
    for number in range(12):
        (archive / f"{number:02}.dcm").touch()
    write_dicom(archive / "mr.dcm", PIXELS, PatientID="1", Modality="MR")
    assert main(["table", f"input={archive}"]) == 0
    said = capsys.readouterr().out
    assert said.count("cannot be used: ") == 10
    assert "note: 1 files are left out (first: mr.dcm: Modality (0008,0060) is MR, not MG)" in said
    assert "train_left_out.csv: 12 files that cannot be used, 1 left out" in said
    listed = pd.read_csv(archive / "train_left_out.csv")
    assert listed["path"].tolist() == [f"{number:02}.dcm" for number in range(12)] + ["mr.dcm"]
