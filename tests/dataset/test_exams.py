"""A breast is of one exam, and no two breasts share a name."""

import itertools

import pandas as pd
import pytest

from rsna.dataset.exams import count_exams, iso_dates, name_breasts, name_exams, order_exams


def breasts(*rows: tuple[str, str, str]) -> list[str]:
    return name_breasts(pd.DataFrame(rows, columns=["patient_id", "exam_id", "laterality"])).tolist()


def test_the_exam_stands_in_the_name_where_a_patient_has_several():
    rows = [("1", "a", "L"), ("1", "a", "R"), ("2", "a", "L"), ("2", "b", "L"), ("3", "", "L")]
    assert breasts(*rows) == ["1_L", "1_R", "2_a_L", "2_b_L", "3_L"]


def test_without_exams_names_are_those_of_the_competition():
    frame = pd.DataFrame({"patient_id": ["10006", "10006"], "laterality": ["L", "R"]})
    assert name_breasts(frame).tolist() == ["10006_L", "10006_R"]
    assert name_breasts(frame.assign(exam_id=None)).tolist() == ["10006_L", "10006_R"]


@pytest.mark.parametrize("column", ["exam_id", "exam_number", "exam_date"])
def test_whatever_column_tells_exams_apart_does(column):
    frame = pd.DataFrame({"patient_id": "1", "laterality": "L", column: ["2018-03-05", "2022-03-05"]})
    assert name_breasts(frame).tolist() == ["1_2018-03-05_L", "1_2022-03-05_L"]


def test_images_of_one_day_are_of_one_exam_whatever_the_time_beside_it():
    frame = pd.DataFrame({"patient_id": "1", "laterality": "L", "exam_date": ["2018-03-05 10:00", "20180305100100"]})
    assert name_breasts(frame).tolist() == ["1_L", "1_L"]


def test_underscores_in_ids_make_no_two_breasts_one():
    ids = ["", "_", "a", "a_", "_a", "a_a", "a__a", "'a'_'a'", "L", "a_L"]
    for (p, e), (q, f), (r, g) in itertools.product(
        itertools.product(ids, ids), [("a", "b")], [("a_b", ""), ("a", "c")]
    ):
        rows = {(p, e, "L"), (p, "x", "L"), (q, f, "L"), (q, f, "R"), (r, g, "L"), ("a_a", "", "L"), ("a_a", "", "R")}
        names = breasts(*sorted(rows))
        assert len(set(names)) == len(rows)
        assert all(name.endswith(f"_{side}") for name, (_, _, side) in zip(names, sorted(rows), strict=True))


@pytest.mark.parametrize(
    "rows", [[("1", "2_3"), ("1", "x"), ("1_2", "3"), ("1_2", "y")], [("1", "a"), ("1", "b"), ("1_a", ""), ("2", "")]]
)
def test_underscores_in_ids_make_no_two_exams_one(rows):
    patient, exam = (pd.Series(ids, dtype=object) for ids in zip(*rows, strict=True))
    assert name_exams(patient, exam).is_unique


def test_a_name_depends_on_its_own_row_and_patient_and_not_on_the_order():
    rows = [("1", "a", "L"), ("2", "b", "L"), ("2", "c", "R"), ("3", "d", "L")]
    named = dict(zip(rows, breasts(*rows), strict=True))
    assert dict(zip(rows[::-1], breasts(*rows[::-1]), strict=True)) == named
    assert breasts(*rows[1:3]) == [named[rows[1]], named[rows[2]]]


def test_exams_are_numbered_in_time_where_times_tell():
    rows = [
        ("1", "late", "20220101"), ("1", "early", "20180101120000"), ("1", "early", ""), ("2", "only", ""),
        ("3", "x", "20180101"), ("3", "y", "20180101"), ("3", "z", "20190101"),
        ("4", "known", "20180101"), ("4", "unknown", ""),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["patient_id", "exam_id", "time"])
    numbers = order_exams(frame, frame["time"]).tolist()
    assert numbers[:4] == [2, 1, 1, 1]
    assert numbers[4:6] == [pd.NA, pd.NA]
    assert (numbers[6], numbers[8]) == (3, pd.NA)
    assert count_exams(frame) == 8


@pytest.mark.parametrize("clocks", [("", "1415"), ("10", "1015"), ("", "09", "1415"), ("", "")])
def test_a_day_without_its_clock_tells_no_order_within_it(clocks):
    rows = [("1", f"a{clock}{place}", f"20180101{clock}") for place, clock in enumerate(clocks)]
    rows += [("1", "before", "20171231235959"), ("1", "behind", "20180102"), ("2", "alone", "20180101")]
    frame = pd.DataFrame(rows, columns=["patient_id", "exam_id", "time"])
    numbers = order_exams(frame, frame["time"])
    assert numbers[: len(clocks)].isna().all()
    assert numbers[len(clocks) :].tolist() == [1, len(clocks) + 2, 1]
    assert order_exams(frame.iloc[:0], frame["time"].iloc[:0]).empty


@pytest.mark.parametrize(
    ("given", "date"),
    [("20180305", "2018-03-05"), ("2018.03.05", "2018-03-05"), ("2018/03/05 10:00", "2018-03-05"),
     ("20180305101500", "2018-03-05"), ("2018-03-05T10:00", "2018-03-05"), ("05.03.2018", "05.03.2018"),
     ("2018", "2018"), ("", ""), (None, "")],
)  # fmt: skip
def test_dates_are_written_alike_or_stay_as_they_are(given, date):
    assert iso_dates(pd.Series([given], dtype=object)).tolist() == [date]
