"""Tables are read as the competition lays them out, and what is wrong with them is said with the first offenders."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.source import load_table
from rsna.dataset.table import TableError


def make_set(root: Path, rows: list[dict], split: str = "train", suffix: str = ".dcm") -> Path:
    """Writes a set whose files are empty: tables look at names and sizes alone."""
    frame = pd.DataFrame(rows)
    root.mkdir(parents=True, exist_ok=True)
    frame.to_csv(root / f"{split}.csv", index=False)
    for row in rows:
        file = root / f"{split}_images" / str(row["patient_id"]) / f"{row['image_id']}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 10)
    return root


def rows(**changes):
    base = [
        {"patient_id": 7, "image_id": 70 + i, "laterality": side, "view": view, "cancer": int(side == "L")}
        for i, (side, view) in enumerate([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")])
    ]
    for key, value in changes.items():
        base[1][key] = value
    return base


def test_a_set_is_read_with_ids_as_text_and_breasts_named(tmp_path):
    table = load_table(make_set(tmp_path / "set", rows()))
    assert table.name == "set"
    assert table.frame["prediction_id"].tolist() == ["7_L", "7_L", "7_R", "7_R"]
    assert table.frame["image_id"].tolist() == ["70", "71", "72", "73"]
    assert all(Path(path).is_file() for path in table.frame["path"])


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_converted_sets_are_read(tmp_path, suffix):
    table = load_table(make_set(tmp_path, rows(), suffix=suffix))
    assert all(path.endswith(suffix) for path in table.frame["path"])


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


def test_the_dataset_hash_follows_labels_and_file_sizes_not_the_order_of_rows(tmp_path):
    before = load_table(make_set(tmp_path / "a", rows())).hash
    assert load_table(make_set(tmp_path / "b", rows()[::-1])).hash == before
    (tmp_path / "b" / "train_images" / "7" / "70.dcm").write_bytes(b"more than before")
    assert load_table(tmp_path / "b").hash != before
    relabelled = [row | {"cancer": 1} for row in rows()]
    assert load_table(make_set(tmp_path / "c", relabelled)).hash != before


def test_a_table_may_name_its_files_but_no_relative_path_climbs_out_of_its_folder(tmp_path):
    root = make_set(tmp_path / "set", rows())
    frame = pd.read_csv(root / "train.csv")
    frame["path"] = [f"train_images/7/{i}.dcm" for i in frame["image_id"]]
    frame.to_csv(root / "train.csv", index=False)
    assert len(load_table(root).frame) == 4
    (tmp_path / "secret.dcm").touch()
    frame.loc[0, "path"] = "../secret.dcm"
    frame.to_csv(root / "train.csv", index=False)
    with pytest.raises(TableError, match="1 rows have a path that leads out of"):
        load_table(root)
    frame.loc[0, "path"] = "train_images/../../secret.dcm"
    frame.to_csv(root / "train.csv", index=False)
    with pytest.raises(TableError, match="1 rows have a path that leads out of"):
        load_table(root)
    frame.loc[0, "path"] = None
    frame.to_csv(root / "train.csv", index=False)
    with pytest.raises(TableError, match="1 rows have a path where no file is"):
        load_table(root)


def test_a_table_may_name_files_elsewhere_by_whole_paths_and_by_links(tmp_path):
    root = make_set(tmp_path / "set", rows())
    elsewhere = tmp_path / "archive"
    (root / "train_images").rename(elsewhere)
    (root / "link").symlink_to(elsewhere)
    frame = pd.read_csv(root / "train.csv")
    frame["path"] = [str(elsewhere / "7" / f"{i}.dcm") for i in frame["image_id"]]
    frame.loc[0, "path"] = "link/7/70.dcm"
    frame.to_csv(root / "train.csv", index=False)
    assert all(Path(path).is_file() for path in load_table(root).frame["path"])
