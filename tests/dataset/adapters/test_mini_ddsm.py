"""Mini-DDSM: the breast with a contour has the patient's cancer; twelve bits in sixteen are shown as twelve."""

import numpy as np
import pandas as pd
import pytest

from rsna.config.data import PreprocessSettings
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from rsna.prepare.image import prepare_image
from rsna.prepare.value_range import grey_levels, measured
from tests.dataset.adapters import mini_ddsm


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return load_table(mini_ddsm.write(tmp_path_factory.mktemp("ddsm")))


def test_the_breast_with_a_contour_has_the_cancer_and_without_any_contour_nobody_knows_which(table):
    breasts = table.frame.groupby("prediction_id")["cancer"].agg(lambda labels: labels.iloc[0])
    expected = {
        "C_0001_1_L": 1, "C_0001_1_R": 0, "B_0002_1_L": 0, "B_0002_1_R": 0, "N_0003_1_L": 0, "N_0003_1_R": 0,
        "C_0004_1_L": np.nan, "C_0004_1_R": np.nan,
    }  # fmt: skip
    np.testing.assert_array_equal(breasts[list(expected)], list(expected.values()))
    assert table.frame.groupby("prediction_id")["cancer"].nunique().le(1).all()
    assert any("1 breasts of patients with cancer have no contour" in note for note in table.notes)
    assert any("1 patients with cancer have no contour on either side, and no label" in note for note in table.notes)


def test_masks_and_tapes_beside_the_films_are_no_films(table):
    assert len(table.frame) == 16
    assert table.frame["path"].str.fullmatch(r".*/[CBN]_\d{4}_1\.(LEFT|RIGHT)_(CC|MLO)\.png").all()
    assert table.frame["density"].eq("B").all()
    assert table.frame["status"].tolist()[::4] == ["Cancer", "Benign", "Normal", "Cancer"]


def test_twelve_bits_in_sixteen_are_shown_as_twelve(table):
    settings = PreprocessSettings(size=(96, 64), crop="none")
    settings, found = measured(settings, table.frame["path"])
    assert found is not None
    assert settings.value_range == (0, 4095)
    pixels, _ = prepare_image(table.frame["path"][0], settings)
    assert grey_levels(pixels) > 100


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda sheet: sheet.replace({"Status": {"Cancer": "Malignant"}}),
            "8 rows have a Status other than Cancer, Ben",
        ),
        (lambda sheet: sheet.filter(regex="^(?!Tumour)"), "has no column Tumour_Contour"),
    ],
)
def test_without_a_known_status_and_contours_nobody_has_a_label(tmp_path, edit, message):
    root = mini_ddsm.write(tmp_path)
    workbook = root / "Data-MoreThanTwoMasks" / "Data-MoreThanTwoMasks.xlsx"
    edit(pd.read_excel(workbook)).to_csv(workbook.with_suffix(".csv"), index=False)
    workbook.unlink()
    with pytest.raises(TableError, match=message):
        load_table(root)
