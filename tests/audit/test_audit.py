import errno
import io
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
from rsna.parallel.progress import Progress
from tests.prepare import files, phantoms

SETTINGS = PreprocessSettings(size=(128, 64))


def _audit(root: Path, out: Path, sheet_images: int = 0) -> AuditReport:
    quiet = Progress("audit", stream=io.StringIO())
    return audit(root, out, SETTINGS, sheet_images=sheet_images, workers=2, progress=quiet)


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


def test_every_machine_has_its_sheet(report: AuditReport) -> None:
    assert [path.name for path in report.sheets] == ["machine-unknown-1.png", "machine-21-1.png", "machine-49-1.png"]
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


def test_a_patient_whose_folder_cannot_be_read_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "set"
    for patient in ("1", "2"):
        files.write_dicom(root / "train_images" / patient / f"{patient}0.dcm", phantoms.breast(seed=int(patient))[0])
    pd.DataFrame([_row(p, f"{p}0", "L", "CC") for p in ("1", "2")]).to_csv(root / "train.csv", index=False)
    locked = root / "train_images" / "2"

    def list_folder(folder: Path, scan: Callable[[Path], object] = os.scandir) -> object:
        if Path(folder) == locked:
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
