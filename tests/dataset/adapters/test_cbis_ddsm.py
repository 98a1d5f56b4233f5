"""CBIS-DDSM: rows of abnormalities become images, in both layouts alike; masks and crops never do."""

from pathlib import Path

import pandas as pd
import pytest

from rsna.dataset.adapters import cbis_ddsm as cbis
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import cbis_ddsm

BREASTS = {"P_90001_L": 1, "P_90002_L": 1, "P_90002_R": 0, "P_90003_L": 0, "P_90004_R": 0}


@pytest.mark.parametrize("converted", [False, True])
def test_a_breast_is_malignant_by_any_abnormality_in_any_of_its_views(tmp_path, converted):
    table = load_table(cbis_ddsm.write(tmp_path, converted))
    assert table.frame.groupby("prediction_id")["cancer"].first().to_dict() == BREASTS
    assert any("1 breasts have cancer 1 from another view" in n and "P_90001_L" in n for n in table.notes)


def test_tables_of_another_spelling_are_read_and_missing_ones_are_said(tmp_path):
    root = cbis_ddsm.write(tmp_path)
    for name in cbis.TABLES[:3]:
        (root / name).rename(root / name.upper())
    (root / cbis.TABLES[3]).unlink()
    table = load_table(root)
    assert table.frame["prediction_id"].nunique() == 3
    assert any("has no calc_case_description_test_set.csv: a breast may have a malignant" in n for n in table.notes)


@pytest.mark.parametrize("converted", [False, True])
def test_an_image_of_several_abnormalities_is_one_row_and_masks_and_crops_are_none(tmp_path, converted):
    frame = load_table(cbis_ddsm.write(tmp_path, converted)).frame
    ids = ["P_90001_LEFT_CC", "P_90001_LEFT_MLO", "P_90002_RIGHT_CC", "P_90003_LEFT_MLO", "P_90002_LEFT_CC"]
    assert sorted(frame["image_id"]) == sorted([*ids, "P_90004_RIGHT_MLO"])
    assert frame["path"].is_unique
    if converted:
        info = pd.read_csv(tmp_path / "csv" / "dicom_info.csv")
        whole = info["image_path"][~info["PatientID"].str.contains(r"_\d$")].str.removeprefix("CBIS-DDSM/")
        assert {str(Path(path).relative_to(tmp_path)) for path in frame["path"]} <= set(whole)
    else:
        assert frame["path"].str.contains("full mammogram images").all()


def test_patients_in_both_official_parts_and_images_in_two_tables_are_said(tmp_path):
    table = load_table(cbis_ddsm.write(tmp_path))
    assert any("1 patients stand in both official parts" in n and "P_90002" in n for n in table.notes)
    assert any("1 images stand in several tables" in n and "P_90002_RIGHT_CC" in n for n in table.notes)
    rows = table.frame.set_index("image_id")
    assert rows["split"].to_dict()["P_90002_LEFT_CC"] == "test"
    assert rows["split"].to_dict()["P_90002_RIGHT_CC"] == "train"
    assert rows["abnormality"].to_dict()["P_90002_RIGHT_CC"] == "calc and mass"


def test_density_is_read_under_both_names(tmp_path):
    rows = load_table(cbis_ddsm.write(tmp_path)).frame.set_index("image_id")["density"].to_dict()
    assert rows["P_90001_LEFT_CC"] == "C"
    assert rows["P_90004_RIGHT_MLO"] == "D"


def test_a_pathology_that_is_unknown_and_a_conversion_without_its_images_are_refused(tmp_path):
    cbis_ddsm.write(tmp_path, converted=True)
    (tmp_path / "jpeg").rename(tmp_path / "jpegs.old")
    for file in (tmp_path / "jpegs.old").rglob("*.jpg"):
        file.unlink()
    with pytest.raises(TableError, match="names no whole image that is below"):
        load_table(tmp_path)
    table = tmp_path / "csv" / "mass_case_description_test_set.csv"
    table.write_text(table.read_text().replace("BENIGN", "UNPROVEN"))
    with pytest.raises(TableError, match="1 rows have a pathology other than MALIGNANT, BENIGN.*P_90003"):
        load_table(tmp_path)
