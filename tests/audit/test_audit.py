import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from rsna.audit.audit import AuditReport, audit
from rsna.config.data import PreprocessSettings
from rsna.dataset.table import TableError
from rsna.parallel.cluster import Cluster
from tests import odd_names
from tests.prepare import files, phantoms
from tests.ray_nodes import Nodes

SETTINGS = PreprocessSettings(size=(128, 64))


def _audit(root: Path, out: Path, sheet_images: int = 0) -> AuditReport:
    return audit(root, out, SETTINGS, sheet_images=sheet_images, workers=2)


def _ids(report: AuditReport, kind: str) -> list[str]:
    return sorted(report.issues["id"][report.issues["kind"].eq(kind)])


def _row(patient: str, image_id: str, side: str, view: str, **labels: object) -> dict[str, object]:
    known = {"cancer": 0, "biopsy": 0, "invasive": 0, "difficult_negative_case": False, "machine_id": 49}
    return {"patient_id": patient, "image_id": image_id, "laterality": side, "view": view, **known, **labels}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two whole patients, 1 and 2, and a third who has everything wrong that a set can have."""
    root = tmp_path_factory.mktemp("set")
    rows = []
    for patient in ("1", "2"):
        for number, (side, view) in enumerate((s, v) for s in "LR" for v in ("CC", "MLO")):
            image_id = f"{patient}{number}"
            image, _ = phantoms.breast(
                320, 256, side="left" if side == "L" else "right", muscle=view == "MLO", seed=int(image_id)
            )
            machine = {"Manufacturer": "ACME", "ManufacturerModelName": f"M{patient}"}
            files.write_dicom(
                root / "train_images" / patient / f"{image_id}.dcm",
                image,
                "jpeg2000" if patient == "1" else "native",
                ImageLaterality=side,
                ViewPosition=view,
                PatientID=patient,
                **machine,
            )
            rows.append(_row(patient, image_id, side, view, machine_id=49 if patient == "1" else 21))
    third = root / "train_images" / "3"
    first = pydicom.dcmread(root / "train_images" / "1" / "10.dcm")
    first.decompress()  # the same pixels in another syntax, under another patient
    third.mkdir()
    first.save_as(third / "30.dcm")
    rows.append(_row("3", "30", "R", "CC", cancer=1, biopsy=0))
    (third / "31.dcm").write_bytes((root / "train_images" / "2" / "20.dcm").read_bytes()[:-5000])
    rows.append(_row("3", "31", "R", "MLO", invasive=1))
    rows.append(_row("3", "32", "L", "CC", difficult_negative_case=True, cancer=1, biopsy=1))
    rows.append(_row("3", "32", "L", "CC", cancer=2))
    files.write_dicom(third / "33.dcm", np.zeros((50, 40)))
    pd.DataFrame(rows).to_csv(root / "train.csv", index=False)
    return root


@pytest.fixture(scope="module")
def report(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditReport]:
    return _audit(root, tmp_path_factory.mktemp("audit"), sheet_images=2)


def test_what_the_set_is_made_of_is_counted(report: AuditReport) -> None:
    assert report.counts("machine").to_dict() == {"49": 5, "21": 4, "(not said)": 1}
    assert report.counts("size").to_dict() == {"320×256": 9, "50×40": 1}
    assert report.counts("syntax")["JPEG 2000 Image Compression (Lossless Only)"] == 4
    assert report.counts("syntax")["Explicit VR Little Endian"] == 6
    assert report.counts("photometric").to_dict() == {"MONOCHROME2": 10}
    assert report.counts("window_function").to_dict() == {"none": 10}
    assert report.counts("view").to_dict() == {"CC": 5, "MLO": 4, "(not said)": 1}


@pytest.mark.parametrize(
    ("kind", "ids"),
    [
        ("unreadable", ["31"]),
        ("equal pixels", ["10 = 30"]),
        ("image_id in several rows", ["32"]),
        ("row without a file", ["32", "32"]),
        ("file without a row", ["33"]),
        ("label outside {0, 1}", ["32"]),
        ("cancer without a biopsy", ["30"]),
        ("invasive without cancer", ["31"]),
        ("difficult negative case with cancer", ["32"]),
        ("breast with two cancer labels", ["3_R"]),
        ("laterality differs from the header", ["30"]),
        ("view differs from the header", []),
        ("patient differs from the header", ["30"]),
        ("patient without the four standard views", ["3"]),
        ("breast not found", ["33"]),
    ],
)
def test_each_thing_that_is_wrong_is_found_and_nothing_else(report: AuditReport, kind: str, ids: list[str]) -> None:
    assert _ids(report, kind) == ids


def test_issues_say_what_is_meant(report: AuditReport) -> None:
    details = report.issues.set_index("kind")["detail"]
    assert details["unreadable"].startswith("Truncated: ")
    assert details["equal pixels"] == "1_L = 3_R"
    assert details["laterality differs from the header"] == "table R, header L"
    assert details["patient without the four standard views"] == "missing L MLO"


def test_the_report_is_written_and_reads_well(report: AuditReport) -> None:
    text = (report.folder / "audit.txt").read_text()
    assert text == report.text()
    assert "13 images, 3 patients" in text
    assert "1 files cannot be read" in text
    assert "cancer without a biopsy" in text
    assert len(pd.read_csv(report.folder / "images.csv")) == len(report.images) == 13
    assert len(pd.read_csv(report.folder / "issues.csv")) == len(report.issues)


def test_a_cluster_finds_what_one_machine_finds(nodes: Nodes, root: Path, report: AuditReport, tmp_path: Path) -> None:
    with Cluster(nodes.address) as cluster:
        found = audit(root, tmp_path, SETTINGS, sheet_images=0, cluster=cluster)
    pd.testing.assert_frame_equal(found.images, report.images)
    pd.testing.assert_frame_equal(found.issues, report.issues)


def test_every_machine_has_its_sheet(report: AuditReport) -> None:
    names = ["no-machine-1.png", "machine-21-1.png", "machine-49-1.png", "no-breast-1.png"]
    assert [path.name for path in report.sheets] == names
    assert all(path.stat().st_size > 1000 for path in report.sheets)


def test_a_folder_without_a_table_is_told_by_its_headers(root: Path, tmp_path: Path) -> None:
    report = _audit(root / "train_images" / "1", tmp_path)
    assert report.counts("machine").to_dict() == {"ACME M1": 4}
    assert set(report.images["patient_id"]) == {"1"}
    assert report.issues.empty
    assert "nothing suspicious" in report.text()


def test_pictures_are_audited_too(tmp_path: Path) -> None:
    for number in range(3):
        files.write_picture(tmp_path / f"{number}.png", phantoms.breast(seed=number % 2)[0])
    report = _audit(tmp_path, tmp_path / "out")
    assert report.counts("syntax").to_dict() == {"PNG": 3}
    assert _ids(report, "equal pixels") == ["0 = 2"]


def test_of_two_tables_it_is_said_which_is_not_looked_at(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "test")):
        files.write_picture(tmp_path / f"{split}.png", phantoms.breast(seed=number)[0])
        row = {"patient_id": "1", "image_id": split, "laterality": "L", "cancer": 0, "path": f"{split}.png"}
        pd.DataFrame([row]).to_csv(tmp_path / f"{split}.csv", index=False)
    report = _audit(tmp_path, tmp_path / "out")
    assert list(report.images["image_id"]) == ["train"]
    assert "test.csv and its images are not looked at" in report.text()


def test_values_that_use_little_of_their_range_are_an_issue_and_the_report_says_how_they_are_shown(
    tmp_path: Path,
) -> None:
    for number in range(3):
        display, _ = phantoms.breast(seed=number)
        files.write_picture(tmp_path / f"{number}.png", display / 16, bits=16)  # twelve of sixteen bits
    files.write_dicom(tmp_path / "flat.dcm", phantoms.breast(seed=9)[0], WindowCenter=1 << 17, WindowWidth=1 << 18)
    report = _audit(tmp_path, tmp_path / "out")
    assert _ids(report, "values fill a small part of their range") == ["0", "1", "2"]
    assert "0 to 65,535 are possible" in report.issues["detail"].iloc[0]
    assert _ids(report, "few grey levels") == ["flat"]
    assert "preprocess.value_range=[0,4095]" in report.text()


def test_a_folder_of_files_without_endings_is_audited_with_what_it_loses(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    tags = {"PatientID": "1", "ImageLaterality": "L", "ViewPosition": "CC"}
    for number, elements in enumerate(({"Modality": "MG"}, {"Modality": "MG"}, {"Modality": "MR"}, {})):
        image = phantoms.breast(seed=number)[0]
        intent = {"PresentationIntentType": "FOR PROCESSING"} if number == 1 else {}
        files.write_dicom(root / f"1.2.840.{number}", image, **tags, **elements, **intent)
    (root / "notes.txt").write_text("nothing")
    (root / "gone.dcm").symlink_to(root / "nowhere")
    (root / "1.2.840.9").write_bytes(bytes(1000))
    report = _audit(root, tmp_path / "out")
    assert set(report.images["image_id"]) == {f"1.2.840.{number}" for number in (0, 1, 2, 3, 9)}
    assert report.counts("modality").to_dict() == {"MG": 2, "MR": 1, "(not said)": 1}
    assert report.counts("presentation_intent").to_dict() == {"(not said)": 3, "FOR PROCESSING": 1}
    assert _ids(report, "unreadable") == ["1.2.840.9", "gone.dcm"]
    assert "presentation intent\n" in report.text()


def test_headers_that_had_to_be_interpreted_and_kinds_of_views_are_told(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    generated = {"ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]}
    files.write_dicom(root / "0.dcm", phantoms.breast(seed=0)[0], ImageLaterality="L", ViewPosition="RCC")
    files.write_dicom(root / "1.dcm", phantoms.breast(seed=1)[0], ImageLaterality="L", ViewPosition="CC", **generated)
    files.write_dicom(root / "2.dcm", phantoms.breast(seed=2)[0], ImageType=["ORIGINAL", "PRIMARY", "TOMO_PROJ"])
    files.write_dicom(root / "3.dcm", phantoms.breast(seed=3)[0], WindowCenter=[1, 2000], WindowWidth=[0, 900])
    report = _audit(root, tmp_path / "out")
    assert report.counts("windows").to_dict() == {"0": 2, "1": 1}
    assert report.counts("kind").to_dict() == {"2D": 2, "generated 2D": 1}
    assert _ids(report, "header that had to be interpreted") == ["0", "3"]
    assert _ids(report, "unreadable") == ["2"]
    notes = report.images.set_index("image_id")["header_notes"]
    assert "View Position 'RCC'" in notes["0"]
    assert notes["1"] == ""


def test_a_patient_whose_folder_cannot_be_read_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "set"
    for patient in ("1", "2"):
        files.write_dicom(root / "train_images" / patient / f"{patient}0.dcm", phantoms.breast(seed=int(patient))[0])
    pd.DataFrame([_row(p, f"{p}0", "L", "CC") for p in ("1", "2")]).to_csv(root / "train.csv", index=False)
    locked = root / "train_images" / "2"

    def list_folder(folder: Path, scan: Callable[[Path], object] = os.scandir) -> object:
        if not isinstance(folder, int) and Path(folder) == locked:  # pytest clears up by descriptors
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", list_folder)
    report = _audit(root, tmp_path / "out")
    assert _ids(report, "unreadable") == [str(locked)]
    assert _ids(report, "row without a file") == ["20"]


@pytest.mark.parametrize("inside", [True, False])
def test_a_table_that_names_its_files_is_audited(tmp_path: Path, inside: bool) -> None:
    root = tmp_path / "set"
    root.mkdir()
    archive = root / "some" if inside else tmp_path / "archive"
    rows = []
    for number in range(3):
        path = archive / f"f{number}.dcm"
        files.write_dicom(path, phantoms.breast(seed=number)[0], ImageLaterality="L", PatientID="7")
        named = path.relative_to(root) if inside else path
        rows.append(_row("7", f"{number}", "R" if number else "L", "CC") | {"path": str(named)})
    (archive / "f2.dcm").unlink()
    pd.DataFrame(rows).to_csv(root / "train.csv", index=False)
    report = _audit(root, tmp_path / "out")
    assert report.images["image_id"].tolist() == ["0", "1", "2"]
    assert report.counts("machine").to_dict() == {"49": 2}
    assert _ids(report, "laterality differs from the header") == ["1"]
    assert _ids(report, "row without a file") == ["2"]


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such folder"):
        _audit(tmp_path / "nowhere", tmp_path)
    with pytest.raises(TableError, match="holds neither"):
        _audit(tmp_path, tmp_path)


@pytest.mark.filterwarnings("ignore:The value length")
def test_names_of_any_kind_and_length_cost_themselves_alone(tmp_path: Path) -> None:
    image = files.write_dicom(tmp_path / "1.dcm", phantoms.breast(64, 48)[0])
    makers = ["乳腺" * 150, "乳腺" * 150 + "b", "../up", "a/b"]
    with odd_names.open_folder() as root:
        lost = odd_names.spoil(root, image)
        (root / "locked").chmod(0o755)  # the workers are root's
        for number, (maker, name) in enumerate(zip(makers * 3, odd_names.NAMES, strict=True)):
            breast, _ = phantoms.breast(64, 48, seed=number)
            files.write_dicom(root / name / f"{name[:200]}.dcm", breast, Manufacturer=maker,
                              SpecificCharacterSet="ISO_IR 192")  # fmt: skip
        report = _audit(root, tmp_path / "out", sheet_images=1)
    assert len(report.readable) == len(odd_names.NAMES) + 1
    assert len(_ids(report, "unreadable")) == len(lost) - 1
    assert len({sheet.name for sheet in report.sheets}) == len(makers) + 1
    assert all(sheet.parent == tmp_path / "out" and sheet.is_file() for sheet in report.sheets)
    assert all(line.isprintable() for line in report.text().splitlines())
    assert len(pd.read_csv(tmp_path / "out" / "images.csv")) == len(report.images)


def test_breasts_without_a_label_are_no_negatives_and_the_table_is_read_as_every_other(tmp_path: Path) -> None:
    root = tmp_path / "set"
    labels = {"1": (1, 0), "2": (1, 0), "3": (0, None), "4": (None, None)}
    rows = []
    for patient, both in labels.items():
        for side, label in zip("LR", both, strict=True):
            breast, _ = phantoms.breast(64, 48, seed=len(rows))
            files.write_dicom(root / "train_images" / patient / f"{patient}{side}.dcm", breast)
            rows.append({**_row(patient, f"{patient}{side}", side, "CC"), "cancer": label})
    table = pd.DataFrame(rows).convert_dtypes().to_csv(index=False)
    (root / "train.csv").write_text(table.replace(",", ";"))
    report = _audit(root, tmp_path / "out")
    assert "8 breasts, 2 of 5 labelled breasts with cancer (40.0%; the others have no label)" in report.text()
    assert f"note: {root}/train.csv: separated by semicolons\n" in report.text()


def test_labels_that_are_hardly_of_breasts_or_of_a_screened_population_are_issues(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "train_images").mkdir(parents=True)
    rows = [_row(str(p), f"{p}{s}", s, "CC", cancer=int(p < 12)) for p in range(40) for s in "LR"]
    pd.DataFrame(rows).to_csv(root / "train.csv", index=False)
    issues = _audit(root, tmp_path / "out").issues
    odd = issues["detail"][issues["kind"].eq("odd labels")].tolist()
    assert odd[0].startswith("24 breasts with cancer (30.0%), where screening finds 0.1% to 3.0%")
    assert odd[1].startswith("12 of 12 patients with cancer are labelled so in both breasts")


def test_a_breast_is_of_one_exam_and_ids_that_name_nobody_are_said(tmp_path: Path) -> None:
    rows = []
    for number, (patient, year) in enumerate([("7", 2018), ("7", 2022), ("ANONYMOUS", 2019), ("ANONYMOUS", 2020)]):
        tags = {"PatientID": patient, "StudyInstanceUID": f"1.2.{year}", "ImageLaterality": "L", "ViewPosition": "CC"}
        file = tmp_path / "train_images" / f"{year}" / f"{number}.dcm"
        files.write_dicom(file, phantoms.breast(160, 128, seed=number)[0], **tags)
        rows.append((patient, number, "L", int(number == 1), f"train_images/{year}/{number}.dcm"))
    (tmp_path / "train_images" / "2018" / "again.dcm").hardlink_to(tmp_path / "train_images" / "2018" / "0.dcm")
    report = _audit(tmp_path / "train_images", tmp_path / "out")
    assert "4 images, 4 exams of 3 patients, 4 breasts;" in report.text()
    assert not _ids(report, "patient differs from the header")
    assert any("Patient ID ANONYMOUS of 2 images is a placeholder" in note for note in report.notes)
    assert _ids(report, "another name of a file or folder") == ["2018/again.dcm"]
    assert _ids(report, "patient without the four standard views") == [
        "2019",
        "2020",
        "7, exam 1.2.2018",
        "7, exam 1.2.2022",
    ]

    table = pd.DataFrame(rows, columns=["patient_id", "image_id", "laterality", "cancer", "path"])
    table.to_csv(tmp_path / "train.csv", index=False)
    report = _audit(tmp_path, tmp_path / "out2")
    assert _ids(report, "breast of several studies (0020,000D)") == ["7_L", "ANONYMOUS_L"]
    assert _ids(report, "breast with two cancer labels") == ["7_L"]
    table.assign(exam_id=[1, 2, 1, 2]).to_csv(tmp_path / "train.csv", index=False)
    report = _audit(tmp_path, tmp_path / "out3")
    assert not _ids(report, "breast of several studies (0020,000D)")
    assert not _ids(report, "breast with two cancer labels")


def test_one_uid_in_several_files_is_an_issue(tmp_path: Path) -> None:
    for number in range(2):
        files.write_dicom(tmp_path / f"{number}.dcm", phantoms.breast(160, 128, seed=number)[0], SOPInstanceUID="1.2.3")
    assert _ids(_audit(tmp_path, tmp_path / "out"), "SOP Instance UID (0008,0018) in several files") == ["0 = 1"]


def test_an_unreadable_file_is_no_patient_and_blanks_of_an_id_are_no_contradiction(tmp_path: Path) -> None:
    tags = {"PatientID": "A\tB", "ImageLaterality": "L", "ViewPosition": "CC"}
    files.write_dicom(tmp_path / "1.dcm", phantoms.breast(160, 128)[0], **tags)
    (tmp_path / "2.dcm").write_bytes(b"")
    report = _audit(tmp_path, tmp_path / "out")
    assert _ids(report, "patient without the four standard views") == ["A B"]
    assert "2 images, 1 patients, 1 breasts (1 images do not tell whose or which); 1 files cannot be read" in (
        report.text()
    )
    table = pd.DataFrame({"patient_id": ["A B"], "image_id": ["1"], "laterality": ["L"], "path": ["1.dcm"]})
    table.to_csv(tmp_path / "train.csv", index=False)
    assert not _ids(_audit(tmp_path, tmp_path / "out2"), "patient differs from the header")
