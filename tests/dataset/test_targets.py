"""Targets are read from the table, with NaN where it says nothing."""

import numpy as np
import pandas as pd
import pytest

from rsna.config.settings import ConfigError
from rsna.dataset.targets import TARGETS, get_targets


def test_classes_are_read_in_any_type():
    table = pd.DataFrame(
        {
            "cancer": [0.0, 1.0, np.nan],
            "difficult_negative_case": [True, False, True],
            "BIRADS": [0.0, 2.0, np.nan],
            "density": ["A", "D", None],
            "view": ["MLO", "CC", "LM"],
        }
    )
    expected = {
        "cancer": [0, 1, np.nan],
        "difficult_negative_case": [1, 0, 1],
        "BIRADS": [0, 2, np.nan],
        "density": [0, 3, np.nan],
        "view": [1, 0, np.nan],
        "invasive": [np.nan] * 3,
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(TARGETS[name].read(table), values)


def test_outputs_are_one_for_two_classes():
    assert [t.outputs for t in get_targets(("cancer", "BIRADS", "density"))] == [1, 3, 4]


@pytest.mark.parametrize(
    ("names", "message"),
    [((), "name at least one"), (("cancr",), "'cancr' is not one of"), (("view", "view"), "2 times")],
)
def test_wrong_names_are_refused(names, message):
    with pytest.raises(ConfigError, match=message):
        get_targets(names)
