"""An example is an image, or a breast with all its images; labels and order are those of the table."""

import gc

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.examples import Rows, examples_of, learnable
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


def test_the_other_breast_is_of_the_same_exam_of_the_same_set():
    found = examples_of("breast", TABLE, TABLE.iloc[:2], compare=True)
    assert [part.tolist() for part in found.others] == [[4], [0, 2], [], [], []]
    exams = TABLE.assign(exam_id=["1", "1", "2", "1", "1"])
    exams["prediction_id"] = ["b_1_L", "a_R", "b_2_L", "a_R", "b_1_R"]
    found = examples_of("breast", exams, compare=True)
    assert found.ids == ("b_1_L", "b_1_R", "a_R", "b_2_L")
    assert [part.tolist() for part in found.others] == [[4], [0], [], []]
    assert all(len(part) == 0 for part in examples_of("breast", TABLE).others)


def test_exams_that_one_set_names_and_another_numbers_stay_apart():
    numbered = TABLE.assign(exam_number=[1, 1, 2, 1, 1], prediction_id=["b_1_L", "a_R", "b_2_L", "a_R", "b_1_R"])
    named = TABLE.iloc[:2].assign(exam_id=["x", "y"])
    for frames, shift in (((named, numbered), 2), ((numbered, named), 0)):
        found = examples_of("breast", *frames, compare=True)
        beside = dict(zip(found.ids, (part.tolist() for part in found.others), strict=True))
        assert beside["b_1_L"] == [4 + shift]
        assert beside["b_2_L"] == []


def test_a_breast_of_the_same_side_is_not_the_other_one():
    exams = TABLE.assign(laterality=["L", None, "L", "", "R"], prediction_id=["b_1_L", "a_1", "b_2_L", "a_2", "b_R"])
    found = examples_of("breast", exams, compare=True)
    beside = dict(zip(found.ids, (part.tolist() for part in found.others), strict=True))
    assert beside == {"b_1_L": [4], "b_2_L": [4], "b_R": [0, 2], "a_1": [3], "a_2": [1]}  # a's sides are not known


def test_breasts_that_are_compared_follow_each_other_with_their_labels():
    lefts_first = TABLE.iloc[[1, 0, 2, 3, 4]].assign(prediction_id=["a_L", "b_L", "b_L", "a_R", "b_R"])
    found = examples_of("breast", lefts_first, compare=True)
    assert found.ids == tuple(found.table["prediction_id"]) == ("a_L", "a_R", "b_L", "b_R")
    assert (rows(found), [part.tolist() for part in found.others]) == (
        [[0], [3], [1, 2], [4]], [[3], [0], [4], [1, 2]],
    )  # fmt: skip
    assert found.positive.tolist() == [False, False, True, False]
    assert examples_of("breast", lefts_first).ids == ("a_L", "b_L", "a_R", "b_R")


def test_a_part_of_a_table_counts_its_rows_from_zero():
    assert rows(examples_of("breast", TABLE.iloc[[3, 4]])) == [[0], [1]]
    assert rows(examples_of("image", TABLE.iloc[[3, 4]])) == [[0], [1]]


def test_of_no_image_there_is_no_example():
    for unit in ("image", "breast"):
        found = examples_of(unit, TABLE.iloc[:0])
        assert (len(found), found.ids, list(found.rows)) == (0, (), [])


def test_without_labels_nothing_is_positive():
    assert examples_of("breast", TABLE.drop(columns="cancer")).positive.tolist() == [False] * 3


def test_a_view_can_be_learnt_of_an_image_alone():
    assert [target.name for target in learnable("image", TARGETS)] == ["cancer", "density", "view"]
    assert [target.name for target in learnable("breast", TARGETS)] == ["cancer", "density"]


def test_rows_of_examples_are_parts_of_one_array():
    found = Rows(np.array([5, 3, 4, 9, 8]), np.array([1, 2, 0, 2]))
    parts = [[5], [3, 4], [], [9, 8]]
    assert [part.tolist() for part in found] == parts
    assert [found[place].tolist() for place in (0, 1, 2, 3, -1)] == [*parts, [9, 8]]
    assert [part.tolist() for part in found[1:3]] == parts[1:3]
    assert [part.tolist() for part in found.take(np.array([3, 0, 3]))] == [[9, 8], [5], [9, 8]]
    with pytest.raises(IndexError):
        found[4]


def test_compared_breasts_are_those_that_a_search_among_all_finds():
    rng, n = np.random.default_rng(0), 300
    table = pd.DataFrame(
        {
            "image_id": np.arange(n).astype(str),
            "patient_id": rng.integers(0, 40, n).astype(str),
            "exam_id": rng.integers(0, 2, n).astype(str),
            "laterality": rng.choice(["L", "R"], n),
        }
    )
    table["prediction_id"] = table["patient_id"] + "_" + table["exam_id"] + "_" + table["laterality"]
    found = examples_of("breast", table, compare=True)
    for own, beside, breast in zip(found.rows, found.others, found.ids, strict=True):
        assert own.tolist() == np.flatnonzero(table["prediction_id"] == breast).tolist()
        other = breast[:-1] + ("R" if breast.endswith("L") else "L")
        assert beside.tolist() == np.flatnonzero(table["prediction_id"] == other).tolist()
    first = [min([*own, *beside]) for own, beside in zip(found.rows, found.others, strict=True)]
    assert first == sorted(first)


@pytest.mark.parametrize("unit", ["image", "breast"])
def test_examples_are_no_object_each(unit):
    table = pd.concat([TABLE] * 2000, ignore_index=True)
    for column in ("patient_id", "prediction_id"):
        table[column] += (np.arange(len(table)) // 5).astype(str)
    gc.collect()
    before = len(gc.get_objects())
    found = examples_of(unit, table, compare=unit == "breast")
    assert len(gc.get_objects()) - before < 1000 < len(found)
