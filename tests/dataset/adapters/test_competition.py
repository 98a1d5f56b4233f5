"""The competition's folder is found and read; a table may name its files itself."""

from pathlib import Path

import pandas as pd
import pytest

from rsna.dataset.adapters import competition
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.sets import make_set, rows


def test_a_folder_is_the_competitions_with_images_or_with_a_column_of_paths(tmp_path):
    root = make_set(tmp_path / "set", rows())
    assert competition.matches(root, "train")
    assert not competition.matches(root, "test")
    (root / "train_images").rename(tmp_path / "elsewhere")
    assert not competition.matches(root, "train")
    pd.DataFrame(rows()).assign(path="a.dcm").to_csv(root / "train.csv", index=False)
    assert competition.matches(root, "train")
    (root / "train.csv").write_bytes(b"")
    assert not competition.matches(root, "train")


def test_rows_without_files_and_files_without_rows_are_listed_not_refused(tmp_path):
    root = make_set(tmp_path, rows(), "test")
    images = root / "test_images" / "7"
    (images / "73.dcm").rename(images / "99.dcm")
    listing = competition.read(root, "test")
    assert listing.frame["path"].tolist() == [str(images / f"{i}.dcm") for i in (70, 71, 72)] + [""]
    assert listing.rowless.to_dict("records") == [{"patient_id": "7", "image_id": "99", "path": str(images / "99.dcm")}]


def test_without_a_folder_of_images_it_is_said_where_they_were_looked_for(tmp_path):
    root = make_set(tmp_path / "set", rows())
    (root / "train_images").rename(tmp_path / "elsewhere")
    with pytest.raises(TableError, match=r"4 rows have no file .*/train_images/<patient_id>/.* no column path"):
        load_table(root)


def test_an_original_wins_over_what_was_converted_from_it(tmp_path):
    root = make_set(make_set(tmp_path, rows(), suffix=".png"), rows(), suffix=".dcm")
    (root / "train_images" / "7" / ".70.dcm").touch()
    assert competition.read(root, "train").frame["path"].str.endswith(".dcm").all()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_converted_sets_are_read(tmp_path, suffix):
    table = load_table(make_set(tmp_path, rows(), suffix=suffix))
    assert all(path.endswith(suffix) for path in table.frame["path"])


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
