"""Every file once, whatever links lead to it; nothing is passed over without a word."""

import os

from rsna.dataset.walk import walk_files


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
