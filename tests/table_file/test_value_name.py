"""Numbers that name machines and sites: each has a name of its own, whatever its length."""

import pandas as pd
import pytest

from rsna.dataset.folds import name_parts
from rsna.evaluation.slices import slice_parts
from rsna.table_file import read_table, value_name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (49, "49"), (49.0, "49"), (-3.0, "-3"), (True, "1"), (2.5, "2.5"), (0.1 + 0.2, "0.3"),
        (1234567, "1234567"), (1234567890123456.0, "1234567890123456"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_a_number_is_named_by_all_of_its_digits(value, name):
    assert value_name(value) == name


def test_machines_of_long_numbers_stay_apart():
    machines = pd.Series([20240315123456, 20240315123457])
    assert name_parts(machines).tolist() == ["20240315123456", "20240315123457"]
    breasts = pd.DataFrame({"machine_id": [1234567, 1234568]})
    assert [(by, value, rows.tolist()) for by, value, rows in slice_parts(breasts)] == [
        ("machine", "1234567", [True, False]),
        ("machine", "1234568", [False, True]),
    ]


@pytest.mark.parametrize(
    ("cells", "read"),
    [
        (["49", "49.0", "", "210"], [49.0, 49.0, None, 210.0]),
        (["007", "12", "", "12"], [7.0, 12.0, None, 12.0]),
        (["20240315123456789", "20240315123456788", "", "7"], ["20240315123456789", "20240315123456788", None, "7"]),
        (["007", "7", "", "12"], ["007", "7", None, "12"]),
        (["A7", "7", "", "12"], ["A7", "7", None, "12"]),
    ],
)
@pytest.mark.parametrize("column", ["machine_id", "site_id"])
def test_machines_and_sites_are_numbers_where_none_becomes_another(tmp_path, column, cells, read):
    file, said = tmp_path / "t.csv", []
    file.write_text(f"image_id,{column}\n" + "".join(f"i{k},{cell}\n" for k, cell in enumerate(cells)))
    found = read_table(file, said)[column]
    assert found.astype(object).where(found.notna(), None).tolist() == read
    zeros = [line for line in said if "differ in their zeros alone" in line]
    assert zeros == ([f"{file}: {column} 007, 7 differ in their zeros alone, and are not one"] if "007" in read else [])


def test_ages_are_numbers_however_they_are_written(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("image_id,age\na,055\nb,55\n")
    assert read_table(file, [])["age"].tolist() == [55, 55]
