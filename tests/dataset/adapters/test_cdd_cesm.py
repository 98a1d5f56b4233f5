"""CDD-CESM: low-energy images alone, by the names in one sheet of several, whatever blanks they have."""

import pandas as pd
import pytest

from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import cdd_cesm


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return load_table(cdd_cesm.write(tmp_path_factory.mktemp("cesm")))


def test_images_are_found_by_names_without_their_blanks_and_subtracted_ones_are_left_out(table):
    frame = table.frame
    assert len(frame) == 12
    assert frame["path"].str.contains("/Low energy images of CDD-CESM/").all()
    assert frame["image_id"].tolist()[-6:] == [
        "P8_R_DM_CC", "P8_R_DM_MLO_2", "P9_L_DM_CC", "P9_L_DM_MLO", "P9_R_DM_CC", "P9_R_DM_MLO",
    ]  # fmt: skip
    assert frame["view"].tolist() == ["CC", "MLO"] * 6
    assert any("4 rows have an Image_name with blanks" in note for note in table.notes)
    assert any("12 rows are of subtracted images" in note for note in table.notes)


def test_a_breast_has_the_worst_of_its_images_and_an_image_of_two_rows_is_one(table):
    breasts = table.frame.groupby("prediction_id")["cancer"].agg(["max", "nunique"])
    assert breasts["max"].to_dict() == {"P7_L": 1, "P7_R": 0, "P8_L": 0, "P8_R": 1, "P9_L": 0, "P9_R": 0}
    assert breasts["nunique"].eq(1).all()
    assert any("1 breasts have cancer 1 from another image" in note for note in table.notes)
    assert any("1 rows are of an image that has one already" in note for note in table.notes)


def test_the_name_says_whose_an_image_is_where_ids_and_sheets_differ(table):
    assert table.frame["patient_id"].tolist() == ["P7"] * 4 + ["P8"] * 4 + ["P9"] * 4
    assert any("1 rows have another Patient_ID than their image's name" in note for note in table.notes)


def test_what_else_the_sheet_says_of_an_image_stands_in_its_row(table):
    frame = table.frame.set_index("image_id")
    assert frame["density"].eq("C").all()
    assert frame["age"].tolist() == [40] * 4 + [41] * 4 + [42] * 4
    assert frame["breast_birads"].loc[["P7_L_DM_CC", "P7_R_DM_CC"]].tolist() == [5, 2]
    assert frame["machine_id"].eq(2).all()


PATHOLOGY = "Pathology Classification/ Follow up"


def edited(root, row, column, value):
    """The folder with another cell in a row (by its number, or its image's name), as the CSV saved of the workbook."""
    cdd_cesm.write(root, [("Normal", "Normal")])
    workbook = root / "Radiology manual annotations.xlsx"
    sheet = pd.read_excel(workbook, sheet_name="all")
    workbook.unlink()
    sheet.loc[sheet["Image_name"].eq(row) if isinstance(row, str) else row, column] = value
    sheet.to_csv(root / "Radiology-manual-annotations.csv", index=False)
    return root


def test_a_name_of_another_kind_and_a_pathology_that_is_none_are_refused(tmp_path):
    with pytest.raises(TableError, match=r"1 rows have a name other than P39_R_DM_CC \(first: P7_DM_CC\)"):
        load_table(edited(tmp_path / "name", 0, "Image_name", "P7_DM_CC"))
    with pytest.raises(
        TableError, match=r"1 rows have a Pathology .* other than Normal, Benign, Malignant: .*P7_L_DM_CC"
    ):
        load_table(edited(tmp_path / "word", 0, PATHOLOGY, "Malignent"))


def test_what_the_subtracted_image_shows_is_in_the_breast(tmp_path):
    table = load_table(edited(tmp_path, "P7_R_CM_CC", PATHOLOGY, "Malignant"))
    assert table.frame.groupby("prediction_id")["cancer"].first().to_dict() == {"P7_L": 0, "P7_R": 1}
