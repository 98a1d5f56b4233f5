"""Targets are read from the table, with NaN where it says nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.config.settings import ConfigError
from rsna.dataset.table import ImageTable, TableError
from rsna.dataset.targets import TARGETS, get_targets, kept_targets, unread_values


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


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="'cancr' is not one of"):
        get_targets(("view", "cancr"))


def make_table(extra=None, **columns):
    frame = pd.DataFrame({"image_id": ["a", "b"], **columns})
    return ImageTable("t", Path("set"), frame, extra=None if extra is None else pd.DataFrame(extra))


def test_targets_are_kept_in_their_order_where_any_image_has_a_label():
    table = make_table(cancer=[0.0, 1.0], biopsy=[np.nan, np.nan], density=["A", None], view=["XCC", ""])
    assert [target.name for target in kept_targets(("density", "biopsy", "cancer", "view", "BIRADS"), table)] == [
        "density", "cancer"
    ]  # fmt: skip


def test_labels_of_images_only_trained_on_keep_a_target():
    table = make_table({"image_id": ["c"], "cancer": [np.nan], "BIRADS": [2]}, cancer=[0.0, 1.0])
    assert [target.name for target in kept_targets(("cancer", "BIRADS"), table)] == ["cancer", "BIRADS"]


def test_a_table_without_labels_and_images_that_cannot_be_scored_are_refused():
    message = "no labels for biopsy, view: in columns of these names none of the 2 images of set has a value"
    with pytest.raises(TableError, match=message):
        kept_targets(("biopsy", "view"), make_table(cancer=[0.0, 1.0]))
    with pytest.raises(TableError, match=r"1 of 2 images have no label in column cancer \(b\)"):
        kept_targets(("cancer",), make_table(cancer=[1.0, np.nan]))
    assert kept_targets(("biopsy",), make_table(cancer=[1.0, np.nan], biopsy=[0, 1]))[0].name == "biopsy"


def test_values_that_are_no_class_are_named_with_how_many():
    images = pd.DataFrame(
        {
            "cancer": [0, 1, 0, 1],
            "density": ["A", "b", "b", None],
            "BIRADS": [1.0, 4.0, np.nan, 5.0],
            "view": ["CC", "ML", "AT", "MLO"],
        }
    )
    assert unread_values(get_targets(("cancer", "density", "BIRADS", "view", "biopsy")), images) == [
        "target density: 2 images have b, none of A, B, C, D, and count as unlabelled",
        "target BIRADS: 2 images have 4, 5, none of 0, 1, 2, and count as unlabelled",
    ]
