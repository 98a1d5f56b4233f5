"""Every file once, whatever links lead to it; nothing is passed over without a word."""

import inspect
import os
import sys

import pytest

from rsna.archive.archive import scan_archive
from rsna.archive.published import adapter_for
from rsna.dataset import walk
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from rsna.dataset.walk import walk_files
from rsna.inference.exam import load_test_set
from tests import odd_names


def names(folder):
    return [str(path.relative_to(folder)) for path in walk_files(folder).files]


def test_links_to_files_and_folders_are_followed(tmp_path):
    store, root = tmp_path / "store", tmp_path / "root"
    (store / "study").mkdir(parents=True)
    root.mkdir()
    for name in ("1.dcm", "study/2.dcm"):
        (store / name).touch()
    (root / "one.dcm").symlink_to(store / "1.dcm")
    (root / "folder").symlink_to(store / "study")
    assert names(root) == ["one.dcm", "folder/2.dcm"]


def test_a_file_comes_once_by_its_own_name_and_loops_end(tmp_path):
    (tmp_path / "z.dcm").touch()
    (tmp_path / "a.dcm").symlink_to(tmp_path / "z.dcm")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.dcm").symlink_to(tmp_path / "z.dcm")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "sub")
    assert names(tmp_path) == ["z.dcm"]
    assert sorted(walk_files(tmp_path).links) == [
        ("a.dcm", "z.dcm"),
        ("again", "sub"),
        ("sub/b.dcm", "z.dcm"),
        ("sub/up", "."),
    ]


def test_links_to_nowhere_are_failures_and_pipes_and_hidden_files_passed_over(tmp_path):
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.dcm").symlink_to(tmp_path / "self.dcm")
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / ".hidden").mkdir()
    for name in ("._1.dcm", ".hidden/2.dcm", "3.dcm"):
        (tmp_path / name).touch()
    tree = walk_files(tmp_path)
    assert names(tmp_path) == ["3.dcm"]
    assert tree.failures == [
        ("gone.dcm", "FileNotFoundError: No such file or directory"),
        ("self.dcm", "OSError: Too many levels of symbolic links"),
    ]


def test_what_cannot_be_reached_costs_itself_and_a_line_and_everything_else_is_found(tmp_path):
    (tmp_path / "1.dcm").write_bytes(b"image")
    with odd_names.open_folder() as root:
        lost = odd_names.spoil(root, tmp_path / "1.dcm")
        for name in odd_names.NAMES:
            (root / name).mkdir()
            (root / name / "1.dcm").write_bytes(b"image")
        with odd_names.plain_user():
            tree = walk_files(root)
        assert {path.relative_to(root).parts[0] for path in tree.files} == set(odd_names.NAMES)
        said = sorted(tree.failures)
        assert len(said) == len(lost)
        assert all(any(name.startswith(start) for start in lost) for name, _ in said)
        assert all(name.isprintable() and reason.isprintable() for name, reason in said)
        reasons = " ".join(reason for _, reason in said)
        assert reasons.count("its name is not UTF-8") == 2
        for reason in ("PermissionError", "File name too long", "levels of symbolic links", "No such file"):
            assert reason in reasons


def test_more_levels_are_walked_than_python_has_calls(tmp_path):
    (tmp_path / "1.dcm").write_bytes(b"image")
    before = sys.getrecursionlimit()
    with odd_names.open_folder() as root:
        odd_names.too_deep(root, "d", 250, tmp_path / "1.dcm")
        sys.setrecursionlimit(len(inspect.stack(0)) + 100)
        try:
            assert [path.name for path in walk_files(root).files] == ["1.dcm"]
        finally:
            sys.setrecursionlimit(before)


def test_a_folder_that_no_table_can_name_is_refused_in_a_line(tmp_path):
    folder = tmp_path / os.fsdecode(b"M\xfcller")
    folder.mkdir()
    for read in (walk_files, load_table, load_test_set):
        with pytest.raises(TableError, match=r"M\\xfcller: its name is not UTF-8"):
            read(folder)


@pytest.mark.parametrize("read", [walk.require_folder, scan_archive, load_table, load_test_set, adapter_for])
def test_a_file_where_a_folder_is_needed_is_said_to_be_one(tmp_path, read):
    (tmp_path / "export.zip").write_bytes(b"PK")
    with pytest.raises(TableError, match=r"export\.zip: is a file, where a folder is needed; .* unpack it"):
        read(tmp_path / "export.zip")
