"""Numbers that name machines and sites: each has a name of its own, whatever its length."""

import pandas as pd
import pytest

from rsna.dataset.folds import name_parts
from rsna.evaluation.slices import slice_parts
from rsna.table_file import number_name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (49, "49"), (49.0, "49"), (-3.0, "-3"), (True, "1"), (2.5, "2.5"), (0.1 + 0.2, "0.3"),
        (1234567, "1234567"), (1234567890123456.0, "1234567890123456"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_a_number_is_named_by_all_of_its_digits(value, name):
    assert number_name(value) == name


def test_machines_of_long_numbers_stay_apart():
    machines = pd.Series([20240315123456, 20240315123457])
    assert name_parts(machines).tolist() == ["20240315123456", "20240315123457"]
    breasts = pd.DataFrame({"machine_id": [1234567, 1234568]})
    assert [(by, value, rows.tolist()) for by, value, rows in slice_parts(breasts)] == [
        ("machine", "1234567", [True, False]),
        ("machine", "1234568", [False, True]),
    ]
