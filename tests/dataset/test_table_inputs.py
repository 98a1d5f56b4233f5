"""Columns of a table become inputs: values learnt once, unknown ones NaN, and what cannot be one refused."""

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.table import TableError
from rsna.dataset.table_inputs import TableInput, learn_inputs, read_headers, read_inputs
from rsna.dicom import open_mammogram
from tests.prepare.files import write_dicom

TABLE = pd.DataFrame(
    {
        "image_id": ["10", "11", "12"],
        "age": [61.0, np.nan, 250.0],
        "implant": [0, 1, 0],
        "view": ["MLO", "", "CC"],
        "machine_id": [49.0, 21.0, np.nan],
        "site_id": [None, None, None],
    }
)


def test_values_are_learnt_in_order_and_read_by_their_place():
    inputs = learn_inputs(("age", "view", "machine_id", "implant"), TABLE)
    assert [one.values for one in inputs] == [(), ("CC", "MLO"), ("21", "49"), ("0", "1")]
    expected = [[61, 1, 1, 0], [np.nan, np.nan, 0, 1], [np.nan, 0, np.nan, 0]]
    np.testing.assert_array_equal(read_inputs(inputs, TABLE), np.array(expected, dtype=np.float32))


def test_another_table_is_read_by_the_values_that_were_learnt():
    inputs = learn_inputs(("machine_id", "implant"), TABLE)
    other = pd.DataFrame({"image_id": ["1", "2", "3"], "machine_id": ["49", "170", None], "implant": ["1", True, "?"]})
    expected = np.array([[1, 1], [np.nan, 1], [np.nan, np.nan]], dtype=np.float32)
    np.testing.assert_array_equal(read_inputs(inputs, other), expected)
    assert np.isnan(read_inputs(inputs, other[["image_id"]])).all()  # a folder without a table


def test_ages_are_years_as_numbers_and_as_headers_write_them():
    (age,) = learn_inputs(("age",), TABLE)
    given = pd.DataFrame({"age": ["61", "061Y", "61.5", " 024m", "", "old", None, "-3", True, 0, "000Y"]})
    expected = [61, 61, 61.5, 2, np.nan, np.nan, np.nan, np.nan, 1, np.nan, np.nan]
    np.testing.assert_array_equal(age.read(given), np.array(expected, dtype=np.float32))


def test_numbers_in_a_column_that_a_word_made_text_are_the_values_that_were_learnt():
    (machine,) = learn_inputs(("machine_id",), TABLE)
    given = pd.DataFrame({"machine_id": ["49.0", "21", "Mammomat", "49.5"]})
    np.testing.assert_array_equal(machine.read(given), np.array([1, 0, np.nan, np.nan], dtype=np.float32))


def test_a_value_that_training_has_not_seen_is_said_and_an_age_that_is_none_is_not():
    inputs = {one.name: one for one in learn_inputs(("age", "view", "machine_id"), TABLE)}
    given = pd.DataFrame({"age": [61, 999, None], "view": ["AT", "", None], "machine_id": ["170", None, " "]})
    assert inputs["age"].is_said(given).tolist() == [True, False, False]
    assert inputs["view"].is_said(given).tolist() == [True, False, False]
    assert inputs["machine_id"].is_said(given[["age"]]).tolist() == [False] * 3


def test_an_implant_is_the_same_in_whatever_words_a_table_has_it():
    (implant,) = learn_inputs(("implant",), pd.DataFrame({"implant": ["Yes", "no", None, "NO"]}))
    assert implant.values == ("0", "1")
    words = pd.DataFrame({"implant": ["1", 0.0, True, "False", "y", "maybe", "", None]})
    np.testing.assert_array_equal(implant.read(words), [1, 0, 1, 0, 1, np.nan, np.nan, np.nan])
    assert implant.is_said(words).tolist() == [True] * 6 + [False] * 2


def test_headers_are_read_by_the_same_values(tmp_path):
    file = write_dicom(
        tmp_path / "a.dcm", np.full((64, 64), 0.5), PatientAge="063Y", ViewPosition="MLO", Manufacturer="Acme",
        ManufacturerModelName="M1", BreastImplantPresent="YES", ImageLaterality="L",
    )  # fmt: skip
    inputs = learn_inputs(("age", "view", "implant", "machine_id"), TABLE.assign(machine_id="Acme M1"))
    tags = [open_mammogram(file).tags, None]
    expected = np.array([[63, 1, 1, 0], [np.nan] * 4], dtype=np.float32)
    np.testing.assert_array_equal(read_headers(inputs, tags), expected)


def test_without_inputs_there_are_no_columns():
    assert read_inputs((), TABLE).shape == (3, 0)
    assert TableInput("age", ()).is_number


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("implant", TABLE.drop(columns="implant"), "table_inputs: the table has no column implant; leave it out"),
        ("site_id", TABLE, "table_inputs: column site_id is empty; leave it out"),
        ("age", TABLE.assign(age="?"), "no image has an age from 1 to 120 years"),
        ("site_id", pd.DataFrame({"site_id": range(300)}), "column site_id has 300 different values"),
    ],
)
def test_a_column_that_says_nothing_is_refused(name, table, said):
    with pytest.raises(TableError, match=said):
        learn_inputs((name,), table)
