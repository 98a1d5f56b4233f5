"""An example is an image, or a breast with all its images; labels and order are those of the table."""

import numpy as np
import pandas as pd

from rsna.dataset.examples import examples_of, learnable
from rsna.dataset.targets import get_targets

TABLE = pd.DataFrame(
    {
        "image_id": ["10", "11", "12", "13", "14"],
        "patient_id": ["b", "a", "b", "a", "b"],
        "prediction_id": ["b_L", "a_R", "b_L", "a_R", "b_R"],
        "view": ["CC", "CC", "MLO", "MLO", "CC"],
        "path": ["10.dcm", "11.dcm", "12.dcm", "13.dcm", "14.dcm"],
        "cancer": [1, 0, 1, 0, 0],
        "density": [None, "B", "C", "D", None],
    }
)
TARGETS = get_targets(("cancer", "density", "view"))


def rows(examples):
    return [part.tolist() for part in examples.rows]


def test_an_image_is_an_example_by_itself():
    found = examples_of("image", TABLE)
    assert found.ids == ("10", "11", "12", "13", "14")
    assert rows(found) == [[0], [1], [2], [3], [4]]
    assert found.positive.tolist() == [True, False, True, False, False]
    pd.testing.assert_frame_equal(found.table, TABLE)
    expected = np.stack([target.read(TABLE) for target in TARGETS], axis=1)
    np.testing.assert_array_equal(found.labels(TARGETS), expected)


def test_a_breast_has_its_images_in_the_order_of_the_table_and_the_first_known_label():
    found = examples_of("breast", TABLE)
    assert found.ids == ("b_L", "a_R", "b_R")
    assert rows(found) == [[0, 2], [1, 3], [4]]
    assert found.positive.tolist() == [True, False, False]
    assert found.table["views"].tolist() == [2, 2, 1]
    assert found.table["patient_id"].tolist() == ["b", "a", "b"]
    assert not {"image_id", "view", "path"} & set(found.table)
    np.testing.assert_array_equal(found.labels(TARGETS), [[1, 2, np.nan], [0, 1, np.nan], [0, np.nan, np.nan]])


def test_breasts_of_equal_names_in_two_sets_stay_apart():
    found = examples_of("breast", TABLE, TABLE.iloc[:2])
    assert found.ids == ("b_L", "a_R", "b_R", "b_L", "a_R")
    assert rows(found) == [[0, 2], [1, 3], [4], [5], [6]]


def test_a_part_of_a_table_counts_its_rows_from_zero():
    assert rows(examples_of("breast", TABLE.iloc[[3, 4]])) == [[0], [1]]
    assert rows(examples_of("image", TABLE.iloc[[3, 4]])) == [[0], [1]]


def test_of_no_image_there_is_no_example():
    for unit in ("image", "breast"):
        found = examples_of(unit, TABLE.iloc[:0])
        assert (len(found), found.ids, found.rows) == (0, (), ())


def test_without_labels_nothing_is_positive():
    assert examples_of("breast", TABLE.drop(columns="cancer")).positive.tolist() == [False] * 3


def test_a_view_can_be_learnt_of_an_image_alone():
    assert [target.name for target in learnable("image", TARGETS)] == ["cancer", "density", "view"]
    assert [target.name for target in learnable("breast", TARGETS)] == ["cancer", "density"]
