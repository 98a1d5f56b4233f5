"""Any folder of DICOM files becomes a table that training reads."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from rsna.archive.archive import scan_archive, write_table
from rsna.cli.main import main
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError, read_rows
from rsna.dicom import open_mammogram
from tests import odd_names
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
                            StudyInstanceUID=f"1.2.{patient[1]}", StudyDate="20180305", PatientAge="061Y",
                            Manufacturer="Maker", ManufacturerModelName="One")  # fmt: skip
    return root


def test_ids_laterality_view_age_and_machine_come_from_the_tags(archive):
    frame = scan_archive(archive).frame
    assert len(frame) == 8
    first = frame.iloc[0]
    assert (first.patient_id, first.image_id, first.laterality, first.view) == ("P1", "P1LCC", "L", "CC")
    assert (first.age, first.machine_id, first.path) == (61, "Maker One", "P1/study/P1LCC.dcm")
    assert (first.exam_id, first.exam_date, first.exam_number) == ("1.2.1", "2018-03-05", 1)
    assert "implant" not in frame  # of which no header says anything


def test_implants_are_told_where_any_header_tells_of_them(archive):
    for name, said in (("P1LCC", "YES"), ("P1RCC", "NO")):
        file = archive / "P1" / "study" / f"{name}.dcm"
        dataset = pydicom.dcmread(file)
        dataset.BreastImplantPresent = said
        dataset.save_as(file)
    frame = scan_archive(archive).frame.set_index("image_id")
    assert frame.loc[["P1LCC", "P1RCC"], "implant"].tolist() == [1, 0]
    assert frame["implant"].isna().sum() == 6


def test_what_cannot_be_used_is_named_what_is_none_left_out_and_others_counted(archive):
    folder = archive / "P1"
    write_dicom(folder / "sideless.dcm", PIXELS, PatientID="P1", StudyInstanceUID="1.2.1")
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
        if not isinstance(folder, int) and Path(folder) == archive / "P2":  # pytest clears up by descriptors
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr("rsna.archive.archive.open_mammogram", open_path)
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


SHOWN = {"PresentationIntentType": "FOR PRESENTATION"}
RAW = {"PresentationIntentType": "FOR PROCESSING", "PixelIntensityRelationshipSign": -1}


def write_breast(folder, **files):
    """Files of one breast; blanks in a name are written as underscores."""
    for name, elements in files.items():
        tags = {"PatientID": "1", "StudyInstanceUID": "1.2.1", "ImageLaterality": "L", **elements}
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


TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
GENERATED = {"SOPClassUID": TOMOSYNTHESIS, "ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]}


def test_single_frames_that_are_no_mammograms_are_left_out_and_generated_views_named(tmp_path):
    write_breast(
        tmp_path,
        plain={"ViewPosition": "CC"},
        generated={"ViewPosition": "CC", **GENERATED},
        partial={"ViewPosition": "CC", "PartialView": "YES"},
        slice={"SOPClassUID": TOMOSYNTHESIS},
        projection={"ImageType": ["ORIGINAL", "PRIMARY", "TOMO_PROJ"]},
        scout={"ImageType": ["ORIGINAL", "PRIMARY", "STEREO_SCOUT"]},
        phantom={"QualityControlImage": "YES"},
    )
    found = scan_archive(tmp_path)
    assert dict(zip(found.frame["image_id"], found.frame["kind"], strict=True)) == {
        "generated": "generated 2D",
        "partial": "2D, partial view",
        "plain": "2D",
    }
    assert found.lines()[:2] == [
        "1 images are 2D, partial view (first: partial.dcm)",
        "1 images are generated 2D (first: generated.dcm)",
    ]
    assert [path for path, _ in found.left_out] == ["phantom.dcm", "projection.dcm", "scout.dcm", "slice.dcm"]
    assert all(reason.startswith("NotMammogram: (00") for _, reason in found.left_out)
    assert not found.failures


def test_a_generated_view_is_no_twin_of_a_raw_image(tmp_path):
    write_breast(
        tmp_path,
        generated={"ViewPosition": "CC", **SHOWN, **GENERATED},
        magnified={"ViewPosition": "CC", "EstimatedRadiographicMagnificationFactor": "1.8", **SHOWN},
        raw={"ViewPosition": "CC", **RAW},
    )
    assert sorted(scan_archive(tmp_path).frame["image_id"]) == ["generated", "magnified", "raw"]


def test_what_had_to_be_interpreted_stands_in_a_column_and_is_counted(tmp_path, capsys):
    for number, text in enumerate(("RCC", "R MLO", "L-CC")):
        write_dicom(tmp_path / f"{number}.dcm", PIXELS, PatientID="1", AcquisitionDeviceProcessingDescription=text)
    write_breast(tmp_path, plain={"ViewPosition": "CC"}, contradiction={"ViewPosition": "RCC"})
    found = scan_archive(tmp_path)
    frame = found.frame.set_index("image_id")
    assert (frame["laterality"] + " " + frame["view"])[["0", "1", "2"]].tolist() == ["R CC", "R MLO", "L CC"]
    assert frame.at["contradiction", "laterality"] == "L"
    assert frame.at["plain", "header_notes"] == ""
    assert "(0018,1400) Acquisition Device Processing Description 'RCC'" in frame.at["0", "header_notes"]
    counted = [line for line in found.lines() if "headers: " in line]
    assert counted[0].startswith("3 headers: the laterality is read from (0018,1400)")
    assert counted[0].endswith("(first: 0.dcm)")
    assert any(
        line.startswith("1 headers: the laterality of (0020,0062) Image Laterality 'L' stands") for line in counted
    )
    assert main(["table", f"input={tmp_path}"]) == 0
    assert "note: 3 headers: the view is read from (0018,1400)" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "train.csv")["kind"].tolist() == ["2D"] * 5


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


def test_odd_names_cost_themselves_alone_and_a_table_with_them_is_read_back(archive):
    image = archive / "P1" / "study" / "P1LCC.dcm"
    with odd_names.open_folder() as root:
        lost = odd_names.spoil(root, image)
        for number, name in enumerate(odd_names.NAMES):
            write_dicom(root / name / f"{name[:200]}.dcm", PIXELS, PatientID=f"P{number}", ImageLaterality="L")
        with odd_names.plain_user():
            found = scan_archive(root)
        assert len(found.frame) == len(odd_names.NAMES)
        assert len(found.failures) == len(lost)
        root.chmod(0o777)
        with odd_names.plain_user():
            lines = write_table(root, root / "train.csv")
        assert all(line.isprintable() for line in lines)
        assert len(pd.read_csv(root / "train_left_out.csv")) == len(lost)
        frame, _ = read_back(root / "train.csv")
        assert frame["image_id"].tolist() == found.frame["image_id"].tolist()
        assert all((root / path).is_file() for path in frame["path"])


def read_back(file):
    notes: list[str] = []
    return read_rows(file, notes), notes


def test_ids_that_mean_nothing_elsewhere_are_read_back_and_said(archive):
    for name in ("NA", "nan", "None", "null", "007", "1.0"):
        write_dicom(archive / f"{name}.dcm", PIXELS, PatientID=name, ImageLaterality="L", ViewPosition="CC")
    write_table(archive, archive / "train.csv")
    frame, notes = read_back(archive / "train.csv")
    assert frame["patient_id"].isna().sum() == 0
    assert {"NA", "nan", "None", "null", "007", "1.0"} < set(frame["patient_id"])
    assert "patient_id NA, None, nan and 1 more is an id, not a missing one (in 4 rows)" in notes[0]


def test_exams_of_a_patient_are_told_apart_in_the_table_and_by_what_reads_it(tmp_path):
    root = tmp_path / "archive"
    for year in (2022, 2018):
        for view in ("CC", "MLO"):
            tags = {"StudyInstanceUID": f"1.2.{year}", "StudyDate": f"{year}0305", "ViewPosition": view}
            write_dicom(root / f"{year}{view}.dcm", PIXELS, PatientID="7", ImageLaterality="L", **tags)
    pd.DataFrame({"patient_id": "7", "exam_date": ["2018-03-05", "2022-03-05"], "cancer": [0, 1]}).to_csv(
        tmp_path / "labels.csv", index=False
    )
    said = write_table(root, root / "train.csv", tmp_path / "labels.csv")
    assert said == [
        f"{root / 'train.csv'}: 4 images, 2 exams of 1 patients (CC 2, MLO 2)",
        f"note: {tmp_path / 'labels.csv'}: cancer is the label of an exam (joined on patient_id and exam_date)",
    ]
    frame = load_table(root, sampling="enriched").frame
    breasts = frame.groupby("prediction_id").first()
    assert breasts["cancer"].to_dict() == {"7_1.2.2018_L": 0, "7_1.2.2022_L": 1}
    assert breasts["exam_number"].astype(int).tolist() == [1, 2]


def test_blanks_in_a_patient_id_are_one_in_the_table_and_it_is_said(tmp_path):
    for name, patient in (("a", "A  B"), ("b", "A B")):
        write_dicom(tmp_path / f"{name}.dcm", np.zeros((8, 8)), PatientID=patient, ImageLaterality="L",
                    StudyInstanceUID=f"1.2.{ord(name)}")  # fmt: skip
    found = scan_archive(tmp_path)
    assert found.frame["patient_id"].tolist() == ["A B", "A B"]
    assert found.notes == ["1 images have a Patient ID (0010,0020) of which blanks become one blank ('A  B')"]


def test_patients_whose_ids_differ_in_decimals_are_as_many_in_the_table_that_is_read_back(tmp_path):
    for name, patient in (("a", "1.0"), ("b", "1"), ("c", "2")):
        write_dicom(tmp_path / f"{name}.dcm", np.zeros((8, 8)), PatientID=patient, ImageLaterality="L",
                    StudyInstanceUID=f"1.2.{ord(name)}")  # fmt: skip
    write_table(tmp_path, tmp_path / "test.csv")
    assert load_table(tmp_path, "test").frame["patient_id"].tolist() == ["1.0", "1", "2"]


@pytest.mark.parametrize("date", ["19000101", "00010101", "11111111", "19700101"])
def test_a_date_that_stands_for_none_puts_no_two_exams_into_one(tmp_path, date):
    for year in (2018, 2022):
        for view in ("CC", "MLO"):
            write_dicom(tmp_path / str(year) / f"{year}{view}.dcm", np.zeros((8, 8)), PatientID="P",
                        ImageLaterality="L", ViewPosition=view, StudyDate=date)  # fmt: skip
    found = scan_archive(tmp_path)
    assert found.frame.groupby("exam_id").size().to_dict() == {"2018": 2, "2022": 2}
    assert found.frame["exam_date"].eq("").all()
    assert f"4 headers: (0008,0020) Study Date is '{date}', taken for none" in found.notes[0]


def test_archives_in_the_folder_are_not_unpacked_and_said_to_be_none(archive):
    for name in ("export.zip", "old/export.TAR.GZ", "readme.txt"):
        (archive / name).parent.mkdir(exist_ok=True)
        (archive / name).write_bytes(b"PK")
    assert scan_archive(archive).lines()[-1] == (
        "2 of these are archives, and nobody looks into them: unpack them (export.zip, old/export.TAR.GZ)"
    )
    with pytest.raises(TableError, match=r"holds no mammogram \(.*\); 1 are archives: unpack them"):
        scan_archive(archive / "old")
