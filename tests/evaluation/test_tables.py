import numpy as np
import pytest

from rsna.evaluation.bootstrap import Interval
from rsna.evaluation.tables import html_table, interval_text, number, plain_json, text_table


def test_columns_are_aligned_first_to_the_left_others_to_the_right():
    assert text_table([["", "n"], ["fold 0", "12"], ["all", "1,234"]]) == "            n\nfold 0     12\nall     1,234"


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        text_table([["a", "b"], ["c"]])


def test_numbers_have_four_decimals():
    assert number(0.12345) == "0.1235"
    assert number(float("nan")) == "–"
    assert number(0.1, sign=True) == "+0.1000"
    assert interval_text(Interval(0.1, 0.2)) == "0.1000 to 0.2000"
    assert interval_text(None) == interval_text(Interval(float("nan"), float("nan"), 3)) == "–"


def test_html_is_escaped_and_has_the_first_row_and_column_as_headers():
    html = html_table([["", "a & b"], ["<run>", "0.5"]])
    assert html == ("<table><tr><th></th><th>a &amp; b</th></tr><tr><th>&lt;run&gt;</th><td>0.5</td></tr></table>")


def test_numpy_values_become_plain():
    given = {1: np.int64(2), "b": (np.float64("nan"), np.bool_(True)), "c": [None, "x", float("inf")]}
    assert plain_json(given) == {"1": 2, "b": [None, True], "c": [None, "x", None]}
