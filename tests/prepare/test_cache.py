import json
import multiprocessing
import os
import pickle
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsna.config.data import PreprocessSettings
from rsna.files import _machine, fingerprint
from rsna.prepare.cache import Cache, CacheError, CacheWriteError, Entry, PrepareTask, fill
from rsna.prepare.geometry import Geometry
from rsna.prepare.hashing import preprocessing_hash
from rsna.prepare.image import prepare_image
from tests.prepare import files

SETTINGS = PreprocessSettings(size=(128, 64))
GEOMETRY = Geometry((100, 90), (5, 6, 70, 80), True, (128, 64), (0, 0), (128, 64))


def _cache(tmp_path: Path) -> Cache:
    return Cache.create(tmp_path, "a set", SETTINGS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_come_back_with_their_geometry(tmp_path: Path, dtype: Any) -> None:
    cache = _cache(tmp_path)
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (128, 64), dtype, endpoint=True)
    cache.write("17", pixels, Entry("1234-00", GEOMETRY))
    again = pickle.loads(pickle.dumps(Cache(cache.directory)))
    back = again.read("17")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, pixels)
    back[0, 0] = 1  # fresh and writable
    assert again.geometry("17") == GEOMETRY
    assert again.entries() == {"17": Entry("1234-00", GEOMETRY)}
    assert "17" in again
    assert "18" not in again
    assert (len(again), list(again)) == (1, ["17"])


def test_a_cache_stands_under_its_set_and_its_hash_and_says_what_it_is(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    assert cache.directory == tmp_path / "a set" / preprocessing_hash(SETTINGS)
    assert cache.preprocessing_hash == preprocessing_hash(SETTINGS)
    about = json.loads((cache.directory / "settings.json").read_text())
    assert about["dataset"] == "a set"
    assert about["settings"]["size"] == [128, 64]
    assert Cache.create(tmp_path, "another", SETTINGS).directory != cache.directory


@pytest.mark.parametrize(
    "name", ["../../out", "/etc/passwd", "..", ".", ".hidden", "a/b", "ä b", "a\0b", "%2E", "a.tif"]
)
def test_no_name_leads_out_of_the_cache(tmp_path: Path, name: str) -> None:
    cache = Cache.create(tmp_path / "caches", name, SETTINGS)
    assert cache.directory.resolve().parent.parent == (tmp_path / "caches").resolve()
    cache.write(name, np.zeros((2, 2), np.uint8), Entry("1-00", GEOMETRY))
    assert cache.path(name).resolve().parent == (cache.directory / "images").resolve()
    assert list(cache) == [name]
    assert cache.read(name).shape == (2, 2)


def test_missing_and_damaged_images_are_named_with_a_way_out(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    with pytest.raises(CacheError, match=r"image 17 is not in .*rsna prepare"):
        cache.read("17")
    with pytest.raises(CacheError, match="image 17 is not in"):
        cache.geometry("17")
    cache.write("17", np.ones((50, 50), np.uint8), Entry("1-00", GEOMETRY))
    content = cache.path("17").read_bytes()
    for damaged in (b"", content[:60], content[:-1]):
        cache.path("17").write_bytes(damaged)
        with pytest.raises(CacheError, match=r"17\.tif is damaged: .*remove it"):
            cache.read("17")
    cache.path("17").write_bytes(content[:60])
    with pytest.raises(CacheError, match="damaged"):
        cache.geometry("17")
    assert cache.entries() == {}  # it will be prepared again


def test_an_image_under_the_name_of_another_is_refused_and_named(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    ids = ["a", "影" * 85 + "乙"]  # the name of the second is cut
    for image_id in ids:
        cache.write(image_id, np.ones((5, 5), np.uint8), Entry("1-00", GEOMETRY))
    cache.path("a").replace(tmp_path / "aside")
    cache.path(ids[1]).replace(cache.path("a"))
    (tmp_path / "aside").replace(cache.path(ids[1]))
    for image_id, held in (ids, ids[::-1]):
        for read in (cache.read, cache.geometry):
            with pytest.raises(CacheError, match=f"is damaged: it holds the image {held}; remove it and run"):
                read(image_id)
    assert cache.entries() == {}  # both will be prepared again


def test_the_index_repeats_the_images_and_may_be_lost(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    for image_id in ("b", "a", "c"):
        cache.write(image_id, np.zeros((3, 3), np.uint8), Entry(f"{ord(image_id)}-00", GEOMETRY))
    entries = cache.entries()
    cache.write_index(entries)
    index = cache.directory / "index.jsonl"
    assert [json.loads(line)["image_id"] for line in index.read_text().splitlines()] == ["a", "b", "c"]
    assert cache.entries() == entries
    index.write_text(index.read_text()[:-40])  # a line torn off
    assert cache.entries() == entries
    cache.write_index(entries)
    index.write_text(index.read_text().replace('"box":[1,', '"box":[0,'))  # still JSON
    assert cache.entries() == entries
    index.unlink()
    assert cache.entries() == entries
    cache.write_index(entries)
    cache.discard("b")
    assert set(cache.entries()) == {"a", "c"}


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"preprocessing_hash"', "\0" * 40])
def test_a_damaged_description_of_the_settings_is_written_anew(tmp_path: Path, content: str) -> None:
    about = _cache(tmp_path).directory / "settings.json"
    whole = about.read_text()
    about.write_text(content)
    cache = _cache(tmp_path)
    assert about.read_text() == whole
    assert cache.preprocessing_hash == json.loads(whole)["preprocessing_hash"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    cache.write("17", np.zeros((3, 3), np.uint8), Entry("1-00", GEOMETRY))
    images = cache.directory / "images"
    (images / "18.tif").mkdir()  # the final name cannot be taken
    with pytest.raises(CacheWriteError, match=r"18\.tif"):
        cache.write("18", np.zeros((3, 3), np.uint8), Entry("1-00", GEOMETRY))
    assert sorted(file.name for file in images.iterdir()) == ["17.tif", "18.tif"]


def test_a_folder_that_may_not_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheWriteError, match="Choose another cache_dir"):
        Cache.create(tmp_path / "file", "set", SETTINGS)


def test_leftovers_of_killed_processes_are_cleared_and_images_kept(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    cache.write("17", np.zeros((3, 3), np.uint8), Entry("1-00", GEOMETRY))
    leftover = cache.directory / "images" / f".18.tif.{_machine()}.4194305.tmp"  # no process has this number
    at_work = [
        cache.directory / "images" / f".19.tif.{_machine()}.{os.getpid()}.tmp",
        leftover.with_name(".20.1.1.tmp"),
    ]
    for file in (leftover, *at_work):
        file.write_bytes(b"half")
    assert list(cache) == ["17"]
    with cache.writing():
        assert not leftover.exists()
        assert all(file.exists() for file in at_work)  # of a process that runs, and of another machine
    assert list(cache) == ["17"]


def _hold(directory: Path, held: Any, let_go: Any) -> None:
    with Cache(directory).writing():
        held.set()
        let_go.wait(30)


def test_two_runs_never_write_one_cache_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = _cache(tmp_path)
    context = multiprocessing.get_context("spawn")
    held, let_go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(cache.directory, held, let_go))
    other.start()
    assert held.wait(120)
    started = time.monotonic()
    threading.Timer(1.0, let_go.set).start()
    with cache.writing():
        assert time.monotonic() - started >= 0.9
    assert "waiting for another run" in caplog.text
    other.join()


def test_ids_too_long_for_a_file_name_keep_their_images_apart_and_are_listed(tmp_path: Path) -> None:
    cache = Cache.create(tmp_path, "影" * 25, SETTINGS)
    ids = ["影" * 85 + "甲", "影" * 85 + "乙", "x" * 3000, "=" * 90, "short"]
    for value, image_id in enumerate(ids):
        cache.write(image_id, np.full((2, 2), value, np.uint8), Entry(f"{value}-00", GEOMETRY))
    assert [int(cache.read(image_id)[0, 0]) for image_id in ids] == [0, 1, 2, 3, 4]
    assert set(cache) == set(cache.entries()) == set(ids)
    assert all(len(file.name.encode()) <= 204 for file in cache.path("short").parent.iterdir())
    cache.path(ids[0]).write_bytes(b"")  # damaged, so it is prepared again
    assert set(cache) == set(ids[1:])


def test_fill_prepares_one_image_and_remembers_its_file(tmp_path: Path) -> None:
    cache = _cache(tmp_path / "caches")
    table = files.write_set(tmp_path, 1)
    path = Path(table["path"][0])
    entry = fill(cache, SETTINGS, PrepareTask("1000", str(path)))
    pixels, geometry = prepare_image(path, SETTINGS)
    np.testing.assert_array_equal(cache.read("1000"), pixels)
    assert entry == Entry(fingerprint(path), geometry, len(np.unique(pixels))) == cache.entries()["1000"]


def test_a_finished_cache_can_be_read_where_nothing_may_be_written(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    cache.write("17", np.zeros((3, 3), np.uint8), Entry("1-00", GEOMETRY))
    cache.write_index(cache.entries())
    for folder in (cache.directory / "images", cache.directory):
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        again = Cache.create(tmp_path, "a set", SETTINGS)
        assert again.read("17").shape == (3, 3)
        assert set(again.entries()) == {"17"}
    finally:
        for folder in (cache.directory, cache.directory / "images"):
            folder.chmod(stat.S_IRWXU)


def test_what_a_worker_imports_leaves_pandas_and_torch_out() -> None:
    code = "import rsna.prepare.cache, sys; print(sorted({'pandas', 'torch', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
