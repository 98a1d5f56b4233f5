"""BMCD: recent views alone, whatever their names were typed as; biopsy says what is cancer."""

import numpy as np
import pytest

from rsna.dataset.source import load_table
from tests.dataset.adapters import bmcd


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return load_table(bmcd.write(tmp_path_factory.mktemp("bmcd")))


def test_malignant_and_dcis_are_cancer_and_without_a_biopsy_nobody_knows(table):
    breasts = table.frame.groupby("prediction_id")["cancer"].agg(lambda labels: labels.iloc[0])
    expected = {
        "Normal_1_L": 0, "Normal_2_L": 0, "Suspicious_1_R": 1, "Suspicious_2_L": 1, "Suspicious_3_L": 0,
        "Suspicious_4_R": np.nan,
    }  # fmt: skip
    np.testing.assert_array_equal(breasts[list(expected)], list(expected.values()))
    biopsy = table.frame.drop_duplicates("patient_id").set_index("patient_id")["biopsy"]
    assert biopsy.to_dict() == {
        "Normal_1": 0, "Normal_2": 0, "Suspicious_1": 1, "Suspicious_2": 1, "Suspicious_3": 1, "Suspicious_4": 0
    }  # fmt: skip
    assert any(
        "1 suspicious cases have no result of a biopsy (but NOT AVAILABLE), and no label" in note
        for note in table.notes
    )


def test_a_workbook_of_another_spelling_is_read(tmp_path):
    root = bmcd.write(tmp_path)
    (root / "Description.xlsx").rename(root / "description.XLSX")
    assert len(load_table(root).frame) == 12


def test_names_that_repeat_are_told_apart_and_recent_ones_are_found_however_they_are_spelt(table):
    frame = table.frame.set_index("image_id")
    assert sorted(frame.index) == sorted(
        f"{kind}_{n}_{view}" for kind, last in (("Normal", 2), ("Suspicious", 4)) for n in range(1, last + 1)
        for view in ("CC", "MLO")
    )  # fmt: skip
    assert frame["path"].ne("").all()
    assert frame["path"].nunique() == 12
    assert frame.loc["Suspicious_3_CC", "path"].endswith("/Suspicious_cases/3/CC_recemt.dcm")
    assert frame.loc["Normal_2_MLO", "path"].endswith("/Normal_cases/2/MLO_recent.DCM")
    assert any("12 files are not called recent, and left out as of earlier exams" in note for note in table.notes)


def test_columns_are_told_by_how_they_begin(table):
    frame = table.frame.set_index("image_id")
    assert frame["density"].eq("B").all()
    assert frame.loc[["Normal_1_CC", "Suspicious_4_MLO"], "age"].tolist() == [51, 54]
    assert frame.loc[["Normal_1_CC", "Suspicious_4_MLO"], "breast_birads"].tolist() == [1, 4]
