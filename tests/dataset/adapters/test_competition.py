"""The competition's folder is found and read; a table may name its files itself."""

import os
from pathlib import Path

import pandas as pd
import pytest

from rsna.dataset.adapters import competition
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from rsna.inference.exam import load_test_set
from tests import odd_names
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


@pytest.mark.parametrize("what", ["a link to what is not there", "no file"])
def test_a_table_that_is_no_file_is_not_passed_over(tmp_path, what):
    """The headers of the images would be read in its place, without a word."""
    root = make_set(tmp_path, rows(), "test")
    (root / "test.csv").rename(tmp_path / "elsewhere.csv")
    if what == "no file":
        os.mkfifo(root / "Test.CSV")
    else:
        (root / "Test.CSV").symlink_to("nowhere.csv")
    with pytest.raises(TableError, match=f"Test.CSV: is {what}; mend or remove it"):
        load_test_set(root)


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


@pytest.mark.parametrize(("taken", "left"), [(".DCM", ".dcm"), (".jpg", ".jpeg")])
def test_of_two_files_of_one_name_and_format_it_is_said_which_is_left_out(tmp_path, taken, left):
    root = make_set(make_set(tmp_path, rows(), suffix=taken), rows()[:1], suffix=left)
    listing = competition.read(root, "train")
    assert set(listing.frame["path"].map(lambda path: Path(path).suffix)) == {taken}
    (note,) = listing.notes
    assert note.startswith("1 images have a second file of that name")
    assert f"70{left})" in note


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pgm"])
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


def test_what_cannot_be_reached_in_the_folder_of_images_costs_itself_alone(tmp_path):
    (tmp_path / "image.dcm").write_bytes(b"image")
    with odd_names.open_folder() as root:
        patients = [row | {"patient_id": name} for name, row in zip(odd_names.NAMES, rows() * 3, strict=True)]
        make_set(root, [row | {"image_id": row["patient_id"][:200]} for row in patients])
        odd_names.spoil(root / "train_images", tmp_path / "image.dcm")
        odd_names.spoil(root / "train_images" / "50%", tmp_path / "image.dcm")
        with odd_names.plain_user():
            listing = competition.read(root, "train")
        assert listing.frame["patient_id"].tolist() == [" ".join(name.split()) for name in odd_names.NAMES]
        assert listing.frame["path"].ne("").all()
        assert listing.rowless["path"].tolist() == [str(root / "train_images" / "locked" / "1.dcm")]
        said = [str(error.filename).removeprefix(f"{root}/train_images/") for error in listing.unreadable]
        assert sorted(said) == sorted(
            ["\\xff.dcm", "M\\xfcller", "loop", "50%/\\xff.dcm", "50%/M\\xfcller", "50%/loop"]
        )
        assert all(error.strerror for error in listing.unreadable)
