"""Exams, and what breasts have in common, are never cut by shards."""

from pathlib import Path

import pandas as pd
import pytest

from rsna.config.shard import Shard
from rsna.dataset.exams import exams_of
from rsna.inference import exam
from rsna.inference.shards.part import folder_of, part_of, shard_of_rows, shard_out

COUNT = 7


def set_of(rows: list[dict[str, str]]) -> exam.TestSet:
    """A test set of these rows, the rest of which is made up."""
    made = [
        {
            "patient_id": "p",
            "image_id": f"i{number}",
            "prediction_id": f"{row.get('patient_id', 'p')}_L",
            "path": f"/{number}.dcm",
            "failure": "",
        }
        | row
        for number, row in enumerate(rows)
    ]
    frame = pd.DataFrame(made)
    return exam.TestSet(frame, tuple(dict.fromkeys(frame["prediction_id"])), (), named=True)


def many(**columns: str) -> list[dict[str, str]]:
    """Four images, two of each breast, of forty patients; ``{p}`` in a value is the patient's number."""
    rows = [{"patient_id": f"p{p}", "prediction_id": f"p{p}_{side}"} for p in range(40) for side in "LRLR"]
    return [row | {key: text.format(p=row["patient_id"]) for key, text in columns.items()} for row in rows]


def test_every_row_and_breast_is_in_one_part_in_its_order():
    tests = set_of(many())
    parts = [part_of(tests, Shard(number, COUNT)) for number in range(1, COUNT + 1)]
    assert sorted(pd.concat([part.images for part in parts])["image_id"]) == sorted(tests.images["image_id"])
    assert sorted(one for part in parts for one in part.prediction_ids) == sorted(tests.prediction_ids)
    for part in parts:
        assert part.images["image_id"].str[1:].astype(int).is_monotonic_increasing
        assert len(part.images) == 2 * len(part.prediction_ids)
        assert part.usable == 160  # of the whole set


def test_exams_stay_whole_and_those_of_a_patient_may_part():
    rows = [row | {"exam_id": exam} for exam in ("a", "b", "c") for row in many()]
    for row in rows:
        row["prediction_id"] = f"{row['patient_id']}_{row['exam_id']}_{row['prediction_id'][-1]}"
    tests = set_of(rows)
    number = pd.Series(shard_of_rows(tests, COUNT))
    together = tests.images["patient_id"] + tests.images["exam_id"]
    assert number.groupby(together).nunique().eq(1).all()
    assert number.groupby(tests.images["patient_id"]).nunique().gt(1).any()


@pytest.mark.parametrize("shared", [{"prediction_id": "together"}, {"path": "/one.dcm"}, {"image_id": "one"}])
def test_what_shares_a_breast_a_file_or_an_image_stays_together(shared):
    alone = [{"patient_id": f"q{number}"} for number in range(30)]
    assert len(set(shard_of_rows(set_of(alone), COUNT))) > 1
    assert len(set(shard_of_rows(set_of([row | shared for row in alone]), COUNT))) == 1


def test_files_of_which_nothing_is_known_are_not_taken_for_one_patients():
    lost = [{"patient_id": "", "prediction_id": "", "image_id": f"/{n}", "path": f"/{n}"} for n in range(30)]
    assert len(set(shard_of_rows(set_of(lost), COUNT))) > 1


def test_other_patients_and_the_order_of_rows_move_nothing():
    rows = [row | {"image_id": f"{row['prediction_id']}{n}"} for n, row in enumerate(many())]

    def numbers(rows: list[dict[str, str]]) -> dict[str, int]:
        tests = set_of(rows)
        return dict(zip(tests.images["image_id"], shard_of_rows(tests, COUNT).tolist(), strict=True))

    everybody = numbers(rows)
    assert numbers(rows[::-1]) == everybody
    few = numbers(rows[40:80])
    assert few.items() <= everybody.items()


def test_a_part_tells_exams_apart_as_the_whole_set_does():
    # No exam_id is known of the images of patient b: in the whole set exam_number still says nothing of them.
    rows = [{"patient_id": "a", "exam_id": "1", "exam_number": "7"}]
    rows += [{"patient_id": "b", "exam_id": "", "exam_number": n} for n in "12"]
    tests = set_of(rows)
    (part,) = [
        part for number in (1, 2, 3) if "b" in set((part := part_of(tests, Shard(number, 3))).images["patient_id"])
    ]
    mine = part.images["patient_id"].eq("b")
    assert exams_of(part.images)[mine].tolist() == exams_of(tests.images)[1:].tolist() == ["", ""]


def test_files_of_shards_lie_beside_the_submission():
    assert folder_of("out/submission.csv") == Path("out/submission_shards")
    assert shard_out("out/submission.parquet", Shard(3, 12)) == Path("out/submission_shards/03-of-12.parquet")
