"""Sets are checked as they are read, and what is wrong with them is said with the first rows that are."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsna.config.data import DataSettings
from rsna.dataset.source import labelled, load_data, load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import csaw_cc
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
    with pytest.raises(TableError, match="there is no such folder; name the one with train.csv"):
        load_table(tmp_path / "nowhere")
    with pytest.raises(TableError, match="train.csv: is missing"):
        load_table(tmp_path)
    make_set(tmp_path, [{"patient_id": 1, "image_id": 2, "laterality": "L"}])
    with pytest.raises(TableError, match="has no column cancer; it has patient_id"):
        load_table(tmp_path)
    (tmp_path / "train.csv").write_text("")
    with pytest.raises(TableError, match=r"train\.csv: is empty"):
        load_table(tmp_path)


def test_sets_that_are_only_trained_on_are_joined_and_must_not_repeat_images(tmp_path):
    one, two = make_set(tmp_path / "one", rows()), make_set(tmp_path / "two", rows())
    with pytest.raises(TableError, match="4 image_ids stand in two sets"):
        load_data(DataSettings(str(one), extra=(str(two),)))
    others = [row | {"image_id": row["image_id"] + 100} for row in rows()]
    three = make_set(tmp_path / "three", others)
    table = load_data(DataSettings(str(one), extra=(str(three),), extra_weights=(0.5,)))
    assert len(table.frame) == 4
    assert len(table.images) == 8
    assert table.extra is not None
    assert table.extra["loss_weight"].eq(0.5).all()
    assert table.images["source_set"].tolist() == ["one"] * 4 + ["three"] * 4
    whole = table.as_one()
    assert whole.extra is None
    assert whole.frame["patient_id"].unique().tolist() == ["7", "three:7"]
    assert whole.frame["prediction_id"].nunique() == 4


def test_which_set_weighs_what_is_in_the_dataset_hash_and_the_order_of_folders_is_not(tmp_path):
    """Folders may move between two starts of a run, and the configuration gives weights by their place."""
    one, two, three = (
        str(make_set(tmp_path / name, [row | {"image_id": f"{name}{k}"} for k, row in enumerate(rows())]))
        for name in ("one", "two", "three")
    )

    def hash_of(*extra: str, weights: tuple[float, ...]) -> str:
        return load_data(DataSettings(one, extra=extra, extra_weights=weights)).hash

    before = hash_of(two, three, weights=(1, 0.25))
    assert hash_of(three, two, weights=(0.25, 1)) == before
    assert hash_of(three, two, weights=(1, 0.25)) != before
    assert hash_of(three, two, weights=(1, 1)) == hash_of(two, three, weights=())


def test_a_part_is_read_where_data_limit_asks_for_one(tmp_path):
    many = [row | {"patient_id": p, "image_id": 10 * p + i} for p in range(9) for i, row in enumerate(rows())]
    root = make_set(tmp_path, many)
    settings = DataSettings(str(root), sampling="enriched")
    part, whole = load_data(replace(settings, limit=10)), load_data(settings)
    assert len(part.frame) == 8
    assert part.notes == ("data.limit=10: 8 of 36 images, 2 of 9 patients (2 of 9 with cancer)",)
    assert (len(whole.frame), whole.notes) == (36, ())


def test_a_patients_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """Root reads everything: permissions are played."""
    root = make_set(tmp_path, rows())
    locked = root / "train_images" / "7"

    def list_folder(folder, scan=os.scandir):
        if not isinstance(folder, int) and Path(folder) == locked:  # pytest clears up by descriptors
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", list_folder)
    with pytest.raises(TableError, match=f"1 folders or files cannot be read .first: {locked}: Permission denied"):
        load_table(root)


def test_a_patient_id_that_names_nobody_is_said(tmp_path):
    images = [{"patient_id": "ANONYMOUS", "image_id": n, "laterality": "LR"[n % 2], "cancer": 0} for n in range(9)]
    table = load_table(make_set(tmp_path / "set", images))
    source = tmp_path / "set" / "train.csv"
    assert table.notes == (f"{source}: patient_id ANONYMOUS names nobody, and its 9 images count as one patient's",)
    assert not load_table(make_set(tmp_path / "few", images[:8])).notes


def test_how_a_table_was_read_and_what_is_odd_about_its_labels_is_noted(tmp_path):
    many = [row | {"patient_id": p, "image_id": 10 * p + i} for p in range(9) for i, row in enumerate(rows())]
    root = make_set(tmp_path, many)
    (root / "train.csv").write_text((root / "train.csv").read_text().replace(",", ";"))
    read, share = load_table(root).notes
    assert read == f"{root}/train.csv: separated by semicolons"
    assert share.startswith("9 breasts with cancer (50.0%), where screening finds")
    assert load_table(root, sampling="enriched").notes == (read,)


def test_images_of_a_public_set_that_have_no_label_are_left_out_and_said(tmp_path):
    root = csaw_cc.write(tmp_path / "csaw")
    everything = load_table(root)
    assert everything.frame["cancer"].isna().sum() == 4
    table = load_data(DataSettings(root=str(root)))
    assert len(table.frame) == len(everything.frame) - 4
    assert table.frame["cancer"].notna().all()
    assert table.notes[-1] == "csaw: 4 of 28 images have no label by cancer_from=screening, and are left out"
    # Names stay those of the whole: this woman's other exam is another breast's.
    assert {"3_2012_L", "3_2010_R"} <= set(table.frame["prediction_id"])
    # So does a table that was written of it.
    columns = ["patient_id", "exam_id", "image_id", "laterality", "cancer", "cancer_from", "path"]
    everything.frame[columns].to_csv(tmp_path / "train.csv", index=False)
    assert len(load_data(DataSettings(root=str(tmp_path))).frame) == len(table.frame)
    assert len(load_data(DataSettings(root=str(root), cancer_from="two_years")).frame) == 28


def test_a_missing_label_in_a_table_of_ones_own_stays_a_missing_label(tmp_path):
    given = [row | {"cancer": ""} for row in rows()[:2]] + rows()[2:]
    assert load_data(DataSettings(root=str(make_set(tmp_path, given)))).frame["cancer"].isna().sum() == 2


def test_of_joined_sets_only_a_public_ones_images_without_a_label_are_left_out(tmp_path):
    given = [row | {"cancer": ""} for row in rows()[:2]] + rows()[2:]
    own, public = make_set(tmp_path / "own", given), csaw_cc.write(tmp_path / "csaw")
    joined = load_data(DataSettings(root=str(own), extra=(str(public),)))
    assert joined.extra is not None
    assert joined.extra["cancer"].notna().all()
    assert "csaw: 4 of 28 images have no label by cancer_from=screening, and are left out" in joined.notes
    kept = labelled(joined.as_one())
    assert kept.frame.groupby("source_set")["cancer"].agg(lambda labels: labels.isna().sum()).to_dict() == {
        "own": 2, "csaw": 0
    }  # fmt: skip
    assert len(kept.frame) == len(given) + 24
