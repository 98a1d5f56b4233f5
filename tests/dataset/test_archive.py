"""Any folder of DICOM files becomes a table that training reads."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.cli.main import main
from rsna.dataset.archive import scan_archive
from rsna.dataset.table import TableError, load_table
from tests.dataset.files import write_dicom


@pytest.fixture
def archive(tmp_path) -> Path:
    root = tmp_path / "archive"
    pixels = np.random.default_rng(0).random((40, 30))
    for patient in ("P1", "P2"):
        for side in "LR":
            for view in ("CC", "MLO"):
                file = root / patient / "study" / f"{patient}{side}{view}.dcm"
                file.parent.mkdir(parents=True, exist_ok=True)
                write_dicom(file, pixels, PatientID=patient, ImageLaterality=side, ViewPosition=view,
                            PatientAge="061Y", Manufacturer="Maker", ManufacturerModelName="One")  # fmt: skip
    return root


def test_ids_laterality_view_age_and_machine_come_from_the_tags(archive):
    frame = scan_archive(archive).frame
    assert len(frame) == 8
    first = frame.iloc[0]
    assert (first.patient_id, first.image_id, first.laterality, first.view) == ("P1", "P1LCC", "L", "CC")
    assert (first.age, first.machine_id, first.path) == ("61", "Maker One", "P1/study/P1LCC.dcm")


def test_files_that_cannot_be_used_are_listed_and_others_counted(archive):
    pixels = np.zeros((8, 8))
    write_dicom(archive / "P1" / "sideless.dcm", pixels, PatientID="P1")
    write_dicom(archive / "P1" / "tomo.dcm", pixels, PatientID="P1", ImageLaterality="L", NumberOfFrames=5)
    (archive / "notes.txt").write_text("nothing")
    os.mkfifo(archive / "pipe")
    found = scan_archive(archive)
    assert len(found.frame) == 8
    assert dict(found.skipped.itertuples(index=False))["P1/sideless.dcm"].startswith("ImageLaterality (0020,0062)")
    assert "P1/tomo.dcm" in found.skipped["path"].tolist()
    assert found.others == 1


def test_names_that_repeat_give_way_to_uids(archive):
    for patient in ("P1", "P2"):
        for i, file in enumerate(sorted((archive / patient / "study").iterdir())):
            file.rename(file.with_name(f"{i}.dcm"))
    ids = scan_archive(archive).frame["image_id"]
    assert ids.is_unique
    assert ids.str.contains(r"^[\d.]{20,}$").all()


@pytest.mark.parametrize("keys", [["image_id"], ["patient_id", "laterality"], ["patient_id"]])
def test_labels_are_joined_and_the_result_is_a_set(archive, keys, tmp_path):
    frame = scan_archive(archive).frame
    labels = frame[keys].drop_duplicates().assign(cancer=lambda f: (f[keys[0]].str[:2] == "P1").astype(int))
    labels.to_csv(tmp_path / "labels.csv", index=False)
    assert main(["table", f"input={archive}", f"labels={tmp_path / 'labels.csv'}"]) == 0
    table = load_table(archive)
    assert table.frame.groupby("patient_id")["cancer"].mean().to_dict() == {"P1": 1.0, "P2": 0.0}
    assert all(Path(path).is_file() for path in table.frame["path"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pd.DataFrame({"name": ["a"], "cancer": [1]}), "needs a column image_id or patient_id"),
        (pd.DataFrame({"patient_id": ["P1", "P1"], "cancer": [1, 1]}), "1 rows repeat an earlier patient_id"),
        (pd.DataFrame({"patient_id": ["P9"], "cancer": [1]}), r"no patient_id of it is in the folder \(first: P9\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(archive, labels, message, tmp_path):
    labels.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(TableError, match=message):
        scan_archive(archive, tmp_path / "labels.csv")


def test_a_folder_without_mammograms_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(TableError, match=r"holds no mammogram \(0 DICOM files cannot be used, 1 are others\)"):
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
