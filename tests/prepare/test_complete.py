"""Whether a cache is complete is told by one hash, which anything that has changed spoils."""

import os
import time
from pathlib import Path

import pytest

from rsna.prepare.cache import Cache, Entry, FileStamp
from rsna.prepare.complete import Complete, recall_complete, record_complete
from rsna.prepare.geometry import Geometry

GEOMETRY = Geometry((10, 8), (0, 0, 8, 10), False, (10, 8), (0, 0), (10, 8), breast_found=False)


@pytest.fixture
def cache(tmp_path) -> Cache:
    cache = Cache(tmp_path / "cache")
    (cache.directory / "images").mkdir(parents=True)
    entries = {}
    for image_id in "ab":
        (tmp_path / image_id).write_bytes(b"1234")
        os.utime(tmp_path / image_id, ns=(10**18, 10**18))
        cache.path(image_id).write_bytes(b"")
        stamp = FileStamp.of(str(tmp_path / image_id))
        entries[image_id] = Entry("4-00", GEOMETRY, 12 if image_id == "b" else 200, stamp)
    cache.write_index(entries)
    record_complete(cache, entries, Complete.of(entries))
    time.sleep(0.03)  # times of files advance by some milliseconds at once
    return cache


@pytest.fixture
def files(tmp_path) -> list[tuple[str, str]]:
    return [(image_id, str(tmp_path / image_id)) for image_id in "ba"]


def exchange(one, other):
    Path(one).rename(f"{one}.aside")
    Path(other).rename(one)
    Path(f"{one}.aside").rename(other)


def test_what_was_complete_is_so_until_something_changes(cache, files):
    assert recall_complete(cache, files) == Complete(("a", "b"), ("b",))


@pytest.mark.parametrize(
    "change",
    [
        lambda cache, files: os.utime(files[0][1], ns=(1, 1)),
        lambda cache, files: os.truncate(files[0][1], 3),
        lambda cache, files: Path(files[0][1]).unlink(),
        lambda cache, files: Path(files[0][1]).chmod(0o600),
        lambda cache, files: exchange(files[0][1], files[1][1]),
        lambda cache, files: exchange(cache.path("a"), cache.path("b")),
        lambda cache, files: cache.discard("a"),
        lambda cache, files: cache.path("c").write_bytes(b""),
        lambda cache, files: cache.index_file.write_text("edited"),
        lambda cache, files: cache.index_file.unlink(),
        lambda cache, files: files.pop(),
        lambda cache, files: files.reverse() or files.__setitem__(0, ("a", files[1][1])),
        lambda cache, files: (cache.directory / "complete.json").write_text("[]"),
        lambda cache, files: (cache.directory / "complete.json").write_text("{}"),
        lambda cache, files: (cache.directory / "complete.json").unlink(),
    ],
)
def test_any_change_has_everything_compared(cache, files, change):
    change(cache, files)
    assert recall_complete(cache, files) is None


def test_files_count_as_they_were_when_they_were_compared(cache, files, tmp_path):
    entries = cache.indexed()
    os.utime(tmp_path / "a", ns=(1, 1))  # between comparing and recording
    record_complete(cache, entries, Complete.of(entries))
    assert recall_complete(cache, files) is None
