"""Every table passes the same checks, and has one hash."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from rsna.dataset.source import load_table
from rsna.dataset.table import HASHED, TableError, check_frame
from rsna.dataset.targets import TARGETS
from rsna.evaluation.breasts import ATTRIBUTES
from tests.dataset.sets import make_set, rows


def test_the_dataset_hash_follows_labels_and_file_sizes_not_the_order_of_rows(tmp_path):
    before = load_table(make_set(tmp_path / "a", rows())).hash
    assert load_table(make_set(tmp_path / "b", rows()[::-1])).hash == before
    (tmp_path / "b" / "train_images" / "7" / "70.dcm").write_bytes(b"more than before")
    assert load_table(tmp_path / "b").hash != before
    relabelled = [row | {"cancer": 1} for row in rows()]
    assert load_table(make_set(tmp_path / "c", relabelled)).hash != before


def test_whatever_training_reads_is_in_the_dataset_hash(tmp_path):
    """Two folds of a run learn and are scored by the same values, of every target and every slice."""
    assert {*TARGETS, *ATTRIBUTES} <= set(HASHED)
    table = load_table(make_set(tmp_path, rows()))
    full = table.frame.assign(**{column: "1" for column in HASHED if column not in table.frame})
    sets = [replace(table, frame=full)]
    for column in HASHED:
        changed = full.astype({column: object})
        changed.loc[0, column] = "2"
        sets += [replace(table, frame=changed), replace(table, extra=changed)]
        sets += [replace(table, frame=full.drop(columns=column))]
    assert len({one.hash for one in sets}) == len(sets)


def test_files_are_looked_at_once_for_the_hash(tmp_path):
    table = load_table(make_set(tmp_path, rows()))
    before = table.hash
    for path in table.frame["path"]:
        Path(path).unlink()
    assert table.hash == before


@pytest.mark.parametrize(
    ("unit", "values", "message"),
    [
        (
            "patient",
            [0, 0, 1, 1],
            "1 patients carry two labels; every image of a patient has the patient's biopsy .first: 7",
        ),
        (
            "breast",
            [0, 1, 0, 0],
            "1 breasts carry two labels; every image of a breast has the breast's biopsy .first: 7_L",
        ),
        ("image", [0, 1, 1, 0], None),
        ("breast", [0, 0, 1, 1], None),
    ],
)
def test_labels_agree_over_what_they_are_labels_of(unit, values, message):
    frame = pd.DataFrame(rows()).astype({"patient_id": str, "image_id": str}).assign(biopsy=values)
    if message is None:
        assert check_frame(frame, "t.csv", {"biopsy": unit})["biopsy"].tolist() == values
        return
    with pytest.raises(TableError, match=message):
        check_frame(frame, "t.csv", {"biopsy": unit})


def test_a_label_that_an_adapter_left_unread_is_refused():
    frame = pd.DataFrame(rows()).astype({"patient_id": str, "image_id": str}).assign(invasive=[0, None, 0.5, "no"])
    with pytest.raises(TableError, match=r"2 rows have a invasive outside \{0, 1\} \(first: 72, 73\)"):
        check_frame(frame, "t.csv")


def test_a_file_that_two_rows_name_is_refused():
    frame = pd.DataFrame(rows()).astype({"patient_id": str, "image_id": str})
    assert len(check_frame(frame.assign(path=["", "", None, "a"]), "t.csv")) == 4
    with pytest.raises(TableError, match=r"1 rows name a file that an earlier row names, too; .* \(first: 73\)"):
        check_frame(frame.assign(path=["a", "b", "c", "b"]), "t.csv")
