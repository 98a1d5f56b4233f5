"""Sets are checked as they are read, and what is wrong with them is said with the first rows that are."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from rsna.config.data import DataSettings
from rsna.dataset.source import load_data, load_table
from rsna.dataset.table import TableError
from tests.dataset.sets import make_set, rows


def test_a_set_is_read_with_ids_as_text_and_breasts_named(tmp_path):
    table = load_table(make_set(tmp_path / "set", rows()))
    assert table.name == "set"
    assert table.frame["prediction_id"].tolist() == ["7_L", "7_L", "7_R", "7_R"]
    assert table.frame["image_id"].tolist() == ["70", "71", "72", "73"]
    assert all(Path(path).is_file() for path in table.frame["path"])


def test_labels_come_in_any_spelling_and_may_be_missing(tmp_path):
    given = rows()
    for row, value in zip(given, ["True", "False", "1", ""], strict=True):
        row["difficult_negative_case"] = value
    labels = load_table(make_set(tmp_path, given)).frame["difficult_negative_case"]
    np.testing.assert_array_equal(labels, [1, 0, 1, np.nan])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 70}, r"1 image_ids stand in more than one row.*70"),
        ({"cancer": 2}, r"1 rows have a cancer outside \{0, 1\}.*71"),
        ({"cancer": "x"}, r"1 rows have a cancer outside \{0, 1\}.*71"),
        ({"cancer": 0}, r"1 breasts carry two labels.*7_L"),
        ({"laterality": "B"}, "1 rows have a laterality other than L and R.*71"),
        ({"laterality": None}, "1 rows have no laterality.*71"),
    ],
)
def test_bad_rows_are_named(tmp_path, change, message):
    with pytest.raises(TableError, match=message):
        load_table(make_set(tmp_path, rows(**change)))


def test_images_without_file_and_files_without_row_are_counted(tmp_path):
    make_set(tmp_path, rows())
    (tmp_path / "train_images" / "7" / "73.dcm").unlink()
    with pytest.raises(TableError, match="1 rows have no file.*73"):
        load_table(tmp_path)
    for name in ("73", "99"):
        (tmp_path / "train_images" / "7" / f"{name}.dcm").touch()
    with pytest.raises(TableError, match="1 files have no row in train.csv: 7/99"):
        load_table(tmp_path)


def test_many_offenders_are_counted(tmp_path):
    many = [{"patient_id": i, "image_id": i, "laterality": "X", "cancer": 0} for i in range(20)]
    with pytest.raises(TableError, match=r"20 rows.*first: 0, 1, 2, 3, 4 and 15 more"):
        load_table(make_set(tmp_path, many))


def test_a_wrong_root_and_missing_columns_are_named(tmp_path):
    with pytest.raises(TableError, match="there is no such folder; set data.root"):
        load_table(tmp_path / "nowhere")
    with pytest.raises(TableError, match="train.csv: is missing"):
        load_table(tmp_path)
    make_set(tmp_path, [{"patient_id": 1, "image_id": 2, "laterality": "L"}])
    with pytest.raises(TableError, match="has no column cancer; it has patient_id"):
        load_table(tmp_path)
    (tmp_path / "train.csv").write_text("")
    with pytest.raises(TableError, match="cannot be read as CSV"):
        load_table(tmp_path)


def test_sets_that_are_only_trained_on_are_joined_and_must_not_repeat_images(tmp_path):
    one, two = make_set(tmp_path / "one", rows()), make_set(tmp_path / "two", rows())
    with pytest.raises(TableError, match="4 image_ids stand in two sets"):
        load_table(one, extra=(str(two),))
    others = [row | {"image_id": row["image_id"] + 100} for row in rows()]
    table = load_table(one, extra=(str(make_set(tmp_path / "three", others)),))
    assert len(table.frame) == 4
    assert len(table.images) == 8


def test_a_part_is_read_where_data_limit_asks_for_one(tmp_path):
    many = [row | {"patient_id": p, "image_id": 10 * p + i} for p in range(9) for i, row in enumerate(rows())]
    root = make_set(tmp_path, many)
    part, whole = load_data(DataSettings(str(root), limit=10)), load_data(DataSettings(str(root)))
    assert len(part.frame) == 8
    assert part.notes == ("data.limit=10: 8 of 36 images, 2 of 9 patients (2 of 9 with cancer)",)
    assert (len(whole.frame), whole.notes) == (36, ())


def test_a_patients_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """Root reads everything: permissions are played."""
    root = make_set(tmp_path, rows())
    locked = root / "train_images" / "7"

    def list_folder(folder, scan=os.scandir):
        if Path(folder) == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", list_folder)
    with pytest.raises(TableError, match=f"1 folders cannot be read .first: {locked}: Permission denied"):
        load_table(root)
