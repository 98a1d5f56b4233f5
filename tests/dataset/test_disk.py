"""Files of a table are found whatever way is cheaper, and each is looked at once."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.disk import are_files, file_sizes


@pytest.fixture
def folder(tmp_path):
    """Forty files of 0, 1, 2, … bytes in one folder, three in another, and what is no file."""
    (tmp_path / "many").mkdir()
    (tmp_path / "few").mkdir()
    for number in range(40):
        (tmp_path / "many" / f"{number}.dcm").write_bytes(bytes(number))
    for number in range(3):
        (tmp_path / "few" / f"{number}.dcm").write_bytes(b"few")
    (tmp_path / "many" / "folder.dcm").mkdir()
    (tmp_path / "many" / "link.dcm").symlink_to(tmp_path / "few" / "0.dcm")
    (tmp_path / "many" / "lost.dcm").symlink_to(tmp_path / "nowhere")
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Paths that are asked for one by one."""
    paths, isfile = [], os.path.isfile
    monkeypatch.setattr(os.path, "isfile", lambda path: paths.append(str(path)) or isfile(path))
    return paths


def whole(folder, names):
    return pd.Series([str(folder / name) for name in names], dtype="str")


def test_what_the_system_calls_a_file_is_one(folder):
    names = [f"many/{number}.dcm" for number in range(45)]
    names += ["many/folder.dcm", "many/link.dcm", "many/lost.dcm", "few/0.dcm", "few/9.dcm", "none/0.dcm", "many/0.dcm"]
    names = [names[place] for place in np.random.default_rng(0).permutation(len(names))]
    paths = whole(folder, names)
    assert are_files(paths).tolist() == [Path(path).is_file() for path in paths]
    assert are_files(paths[:0]).tolist() == []


def test_many_files_of_a_folder_are_told_by_one_listing_and_few_are_asked_for(folder, asked):
    paths = whole(folder, [f"many/{number}.dcm" for number in range(40)] + ["few/0.dcm", "few/1.dcm"])
    assert are_files(paths).all()
    assert sorted(asked) == paths[-2:].tolist()


def test_a_folder_that_holds_far_more_is_not_listed_to_its_end(folder, asked, monkeypatch):
    monkeypatch.setattr("rsna.dataset.disk._BESIDE", -40)
    paths = whole(folder, [f"many/{number}.dcm" for number in range(16)])
    assert are_files(paths).all()
    assert len(asked) == 16


def test_sizes_come_in_the_order_of_the_paths(folder):
    numbers = np.random.default_rng(0).integers(0, 40, 3000)
    assert file_sizes(whole(folder, [f"many/{number}.dcm" for number in numbers])).tolist() == numbers.tolist()


def test_a_file_that_is_gone_is_said(folder):
    with pytest.raises(FileNotFoundError, match=r"40\.dcm"):
        file_sizes(whole(folder, [f"many/{number}.dcm" for number in range(42)]))
