"""NL-Breast-Screening: backslashes, folders that are missing, a file that was cut off."""

import shutil

import pandas as pd
import pytest

from rsna.audit.audit import audit
from rsna.config.data import PreprocessSettings
from rsna.dataset.adapters import nlbs as adapter
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import nlbs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return nlbs.write(tmp_path_factory.mktemp("nlbs"))


def test_files_are_found_behind_backslashes_and_capitals(folder):
    frame = adapter.read(folder, "train", "pathology").frame.set_index("image_id")
    assert frame["patient_id"].tolist() == [f"P{number}" for number in range(10, 14) for _ in range(4)]
    found = frame[frame["patient_id"].ne("P13")]
    assert found["path"].ne("").all()
    assert found["path"].nunique() == 12
    assert found.loc["Images_P11_Study_RMLO", "path"].endswith("/images/P11/Study/RMLO.dcm")


def test_cancer_is_of_the_breast_and_a_false_alarm_is_none(folder):
    frame = adapter.read(folder, "train", "pathology").frame.set_index("image_id")
    assert frame.index[frame["cancer"].eq(1)].tolist() == ["Images_P11_Study_RCC", "Images_P11_Study_RMLO"]
    assert frame.index[frame["false_positive"].eq(1)].tolist() == ["Images_P12_Study_LCC", "Images_P12_Study_LMLO"]
    assert frame["age"].tolist()[::4] == [60, 61, 62, 63]


def test_rows_of_missing_folders_are_said_and_refused_by_training(folder):
    listing = adapter.read(folder, "train", "pathology")
    assert "4 rows of 1 folders have no file" in listing.notes
    assert listing.frame["path"].eq("").sum() == 4
    with pytest.raises(TableError, match=r"4 rows have no file \(first: Images_P13_Study_LCC"):
        load_table(folder)


def test_an_audit_names_the_file_that_was_cut_off_and_those_that_are_missing(folder, tmp_path):
    report = audit(folder, tmp_path, PreprocessSettings(size=(96, 64)), sheet_images=0, workers=1)
    kinds = report.issues.groupby("kind")["id"].agg(list)
    assert kinds["unreadable"] == ["Images_P10_Study_LCC"]
    assert len(kinds["row without a file"]) == 4


def test_cancer_in_both_breasts_is_asked_back(folder, tmp_path):
    table = pd.read_csv(folder / "NLBSP-metadata.csv")
    table.loc[table["File Path"].str.contains("P11"), "Cancer"] = 1
    for below in ("Images", "images"):
        (tmp_path / below).symlink_to(folder / below)
    table.to_csv(tmp_path / "NLBSP-metadata.csv", index=False)
    assert "1 exams have cancer in both breasts (first: P11)" in adapter.read(tmp_path, "train", "pathology").notes


def test_a_place_that_two_files_fit_is_not_guessed(tmp_path):
    root = nlbs.write(tmp_path)
    copy = root / "again" / "P12" / "Study" / "LCC.dcm"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((root / "images" / "P12" / "Study" / "LCC.dcm").read_bytes())
    (root / "images").rename(root / "unpacked")
    frame = adapter.read(root, "train", "pathology").frame.set_index("image_id")
    assert frame.loc["Images_P12_Study_LCC", "path"] == ""
    assert frame.loc["Images_P12_Study_LMLO", "path"].endswith("/unpacked/P12/Study/LMLO.dcm")


def test_of_files_that_differ_by_capitals_the_one_that_is_named_is_taken(tmp_path):
    root = nlbs.write(tmp_path)
    file = root / "Images" / "P10" / "Study" / "RCC.dcm"
    shutil.copy(file, file.with_name("rcc.dcm"))
    frame = adapter.read(root, "train", "pathology").frame.set_index("image_id")
    assert frame.loc["Images_P10_Study_RCC", "path"] == str(file)
