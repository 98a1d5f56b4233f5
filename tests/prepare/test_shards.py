"""Shards of a set, prepared by any processes in any order, are merged into what one process leaves."""

import fcntl
import logging
import multiprocessing
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pytest

from rsna.config.data import PreprocessSettings
from rsna.config.shard import IncompleteError, Shard
from rsna.files import TEMPORARY
from rsna.prepare.cache import Cache
from rsna.prepare.complete import recall_complete
from rsna.prepare.table import PrepareError, PrepareReport, merge_shards, prepare_table
from tests.prepare import files
from tests.processes import kill_group

SETTINGS = PreprocessSettings(size=(64, 32))
COUNT = 12


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    table = files.write_set(tmp_path_factory.mktemp("set"), COUNT)
    bad = Path(table["path"][0]).with_name("bad.dcm")
    bad.write_text("no image")
    row = table.iloc[0].to_dict() | {"image_id": "bad", "path": str(bad)}
    return pd.concat([table, pd.DataFrame([row])], ignore_index=True)


@pytest.fixture(scope="module")
def good(images: pd.DataFrame) -> pd.DataFrame:
    return images[images["image_id"] != "bad"].reset_index(drop=True)


def _one_process(table: pd.DataFrame, folder: Path) -> Cache:
    cache = Cache.create(folder, "set", SETTINGS)
    prepare_table(table, SETTINGS, cache, workers=1, max_failed=0.5)
    return cache


@pytest.fixture(scope="module")
def whole(images: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return _one_process(images, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def whole_good(good: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return _one_process(good, tmp_path_factory.mktemp("whole-good"))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache.create(tmp_path / "caches", "set", SETTINGS)


def _prepare(table: pd.DataFrame, cache: Cache, shard: str) -> PrepareReport:
    return prepare_table(table, SETTINGS, cache, workers=1, shard=Shard.parse(shard))


def _merge(table: pd.DataFrame, cache: Cache) -> PrepareReport:
    return merge_shards(table, SETTINGS, cache, max_failed=0.5)


def _content(cache: Cache) -> dict[str, bytes]:
    """Name → content of everything in the cache but its lock, and what a killed process was writing."""
    paths = [path for path in cache.directory.rglob("*") if path.is_file() and path.name != ".lock"]
    paths = [path for path in paths if not TEMPORARY.fullmatch(path.name)]  # the next process that starts removes it
    return {str(path.relative_to(cache.directory)): path.read_bytes() for path in paths}


def _inodes(cache: Cache) -> dict[str, tuple[int, int]]:
    """Name → what changes when a file is written anew."""
    paths = [path for path in cache.directory.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


@pytest.mark.parametrize("order", [("1/3", "2/3", "3/3"), ("3/3", "1/3", "2/3"), ("1/1",), ("2/2", "2/3", "1/2")])
def test_shards_merge_into_the_bytes_of_one_process(
    images: pd.DataFrame, whole: Cache, cache: Cache, order: tuple[str, ...]
) -> None:
    for shard in order:
        _prepare(images, cache, shard)
    report = _merge(images, cache)
    assert (report.n_done, report.n_kept, report.failures["image_id"].tolist()) == (0, COUNT, ["bad"])
    assert _content(cache) == _content(whole)
    assert "failures.csv" in _content(whole)


def test_a_merged_set_is_complete_for_whoever_comes_next(good: pd.DataFrame, whole_good: Cache, cache: Cache) -> None:
    for shard in ("2/2", "1/2"):
        _prepare(good, cache, shard)
    _merge(good, cache)
    assert _content(cache) == _content(whole_good)
    assert recall_complete(cache, list(zip(good["image_id"], good["path"], strict=True))) is not None
    before = _inodes(cache)
    assert _merge(good, cache).n_kept == COUNT
    assert _prepare(good, cache, "2/2").n_done == _prepare(good, cache, "4/7").n_done == 0
    assert _inodes(cache) == before


def test_a_second_run_of_a_shard_writes_nothing_and_opens_no_image(
    good: pd.DataFrame, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _prepare(good, cache, "1/2")
    _prepare(good, cache, "2/2")  # the folder of images changes after the first shard's index was written
    before = _inodes(cache)
    monkeypatch.setattr(Cache, "_entry", lambda *_: pytest.fail("an image was opened"))
    again = _prepare(good, cache, "1/2")
    assert (again.n_done, again.n_kept) == (0, first.n_done)
    assert _inodes(cache) == before
    _merge(good, cache)


def test_a_shard_prepares_its_own_images_alone(good: pd.DataFrame, cache: Cache) -> None:
    mine = [one for one, is_mine in zip(good["image_id"], Shard(2, 3).holds(good["image_id"]), strict=True) if is_mine]
    assert _prepare(good, cache, "2/3").n_done == len(mine) > 0
    assert sorted(cache) == sorted(mine)


def test_missing_shards_are_named_and_nothing_is_merged(good: pd.DataFrame, cache: Cache) -> None:
    for shard in ("1/4", "2/4", "4/4"):
        _prepare(good, cache, shard)
    before = _inodes(cache)
    missing = sum(Shard(3, 4).holds(good["image_id"]))
    with pytest.raises(IncompleteError, match=f"{missing} of {COUNT} images are not prepared") as error:
        _merge(good, cache)
    assert error.value.shards == (Shard(3, 4),)
    assert _inodes(cache) == before


def test_where_there_are_no_shards_none_is_named(good: pd.DataFrame, cache: Cache) -> None:
    with pytest.raises(IncompleteError, match=f"{COUNT} of {COUNT} images") as error:
        _merge(good, cache)
    assert error.value.shards == ()


def test_another_number_of_shards_uses_what_is_there_and_is_named_from_then_on(
    good: pd.DataFrame, cache: Cache, whole_good: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    _prepare(good, cache, "1/2")
    with monkeypatch.context() as patched:
        patched.setattr(Cache, "_entry", lambda *_: pytest.fail("an image was opened"))
        done = _prepare(good, cache, "1/3").n_done
    wanted, there = Shard(1, 3).holds(good["image_id"]), Shard(1, 2).holds(good["image_id"])
    assert done == sum(one and not known for one, known in zip(wanted, there, strict=True)) < sum(wanted)
    with pytest.raises(IncompleteError) as error:
        _merge(good, cache)
    assert {shard.count for shard in error.value.shards} == {3}
    for shard in error.value.shards:
        _prepare(good, cache, str(shard))
    _merge(good, cache)
    assert _content(cache) == _content(whole_good)


def test_ids_that_vanish_or_come_between_shards(good: pd.DataFrame, cache: Cache, tmp_path: Path) -> None:
    _prepare(good, cache, "1/2")
    fewer = good.tail(COUNT - 3).reset_index(drop=True)
    _prepare(fewer, cache, "2/2")
    assert _merge(fewer, cache).n_kept == COUNT - 3
    new = files.write_set(tmp_path / "new", 1).assign(image_id="new")
    more = pd.concat([fewer, new], ignore_index=True)
    with pytest.raises(IncompleteError, match=r"1 of 10 images are not prepared \(first: new\)"):
        _merge(more, cache)


def test_a_file_that_changed_after_its_shard_is_not_merged(cache: Cache, tmp_path: Path) -> None:
    table = files.write_set(tmp_path / "own", 3)
    for shard in ("1/2", "2/2"):
        _prepare(table, cache, shard)
    time.sleep(0.03)  # times of files advance by some milliseconds at once
    Path(table["path"][1]).write_bytes(Path(table["path"][0]).read_bytes())
    with pytest.raises(IncompleteError, match=r"1 of 3 images are not prepared \(first: 1001\)") as error:
        _merge(table, cache)
    (shard,) = error.value.shards
    assert _prepare(table, cache, str(shard)).n_done == 1
    assert _merge(table, cache).n_kept == 3


def test_failures_are_counted_over_the_set_and_a_mended_file_is_none(cache: Cache, tmp_path: Path) -> None:
    table = files.write_set(tmp_path / "own", 4)
    file = Path(table["path"][1])
    content = file.read_bytes()
    file.write_text("no image")
    for shard in ("1/2", "2/2"):
        _prepare(table, cache, shard)  # whatever share of a shard has failed
    with pytest.raises(PrepareError, match=r"1 of 4 images failed, more than max_failed=0\.2"):
        merge_shards(table, SETTINGS, cache, max_failed=0.2)
    assert _merge(table, cache).failures["image_id"].tolist() == ["1001"]
    assert _merge(table, cache).failures["image_id"].tolist() == ["1001"]  # told by the set's own list
    file.write_bytes(content)
    number = Shard(1, 2) if Shard(1, 2).holds(["1001"])[0] else Shard(2, 2)
    assert _prepare(table, cache, str(number)).n_done == 1
    assert _merge(table, cache).failures.empty
    assert not cache.failures_file.exists()


def test_a_failure_is_of_the_file_as_it_was(cache: Cache, tmp_path: Path) -> None:
    table = files.write_set(tmp_path / "own", 4)
    file = Path(table["path"][1])
    content = file.read_bytes()
    file.write_text("no image")
    (shard,) = (shard for shard in (Shard(1, 2), Shard(2, 2)) if shard.holds(["1001"])[0])
    for number in ("1/2", "2/2"):
        _prepare(table, cache, number)
    file.touch()  # as of a copy: its time is another, and it is the same
    shutil.copytree(cache.directory, tmp_path / "merged" / cache.directory.name)
    assert _merge(table, Cache(tmp_path / "merged" / cache.directory.name)).failures["image_id"].tolist() == ["1001"]
    file.write_bytes(content)
    for changed, shards in ((cache, (shard,)), (Cache(tmp_path / "merged" / cache.directory.name), ())):
        with pytest.raises(IncompleteError, match=r"1 of 4 images are not prepared \(first: 1001\)") as error:
            _merge(table, changed)
        assert error.value.shards == shards
    assert _prepare(table, cache, str(shard)).n_done == 1
    assert _merge(table, cache).failures.empty
    file.unlink()
    assert _merge(table, cache).failures.empty  # what was prepared stays


def test_a_file_that_comes_after_it_failed_is_missing_and_one_that_goes_is_not(cache: Cache, tmp_path: Path) -> None:
    table = files.write_set(tmp_path / "own", 2)
    late, gone = (Path(path) for path in table["path"])
    content = late.read_bytes()
    late.unlink()
    gone.write_text("no image")
    _prepare(table, cache, "1/1")
    gone.unlink()
    with pytest.raises(PrepareError, match="2 of 2 images failed"):
        merge_shards(table, SETTINGS, cache)
    late.write_bytes(content)
    with pytest.raises(IncompleteError, match=r"1 of 2 images are not prepared \(first: 1000\)"):
        _merge(table, cache)


def test_a_list_of_failures_that_is_damaged_tells_of_none(images: pd.DataFrame, cache: Cache) -> None:
    _prepare(images, cache, "1/1")
    for content in ("", "image_id,path\nbad,x\n", "image_id,path,class,message,stamp\nbad,x,OSError,why,?\n"):
        (cache.directory / "shards" / "1-of-1.csv").write_text(content)
        with pytest.raises(IncompleteError, match=r"\(first: bad\)"):
            _merge(images, cache)


def test_of_lists_that_tell_of_one_image_the_latest_counts(images: pd.DataFrame, cache: Cache) -> None:
    _prepare(images, cache, "1/1")
    latest = cache.directory / "shards" / "1-of-1.csv"
    told = pd.read_csv(latest, dtype=str)
    for name in ("0-of-9", "1-of-0", "1-of-2", "9-of-9"):
        older = latest.with_name(f"{name}.csv")
        told.assign(message="of another day").to_csv(older, index=False)
        os.utime(older, (0, 0))
    assert _merge(images, cache).failures["message"].tolist() == told["message"].tolist()


def test_one_process_goes_on_from_shards(images: pd.DataFrame, whole: Cache, cache: Cache) -> None:
    kept = _prepare(images, cache, "1/2").n_done
    report = prepare_table(images, SETTINGS, cache, workers=1, max_failed=0.5)
    assert (report.n_done, report.n_kept) == (COUNT - kept, kept)
    assert {name: text for name, text in _content(cache).items() if "shards" not in name} == _content(whole)


def _run(table: pd.DataFrame, directory: Path, shard: str) -> None:
    os.setpgid(0, 0)
    prepare_table(table, SETTINGS, Cache(directory), workers=1, shard=Shard.parse(shard))


def test_processes_that_do_the_same_shard_at_once_harm_nothing(
    good: pd.DataFrame, whole_good: Cache, cache: Cache
) -> None:
    context = multiprocessing.get_context("spawn")
    shards = ("1/2", "1/2", "2/2", "2/3")
    processes = [context.Process(target=_run, args=(good, cache.directory, shard)) for shard in shards]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    _merge(good, cache)
    assert _content(cache) == _content(whole_good)


def test_a_killed_shard_goes_on_where_it_was(
    good: pd.DataFrame, whole_good: Cache, cache: Cache, tmp_path: Path
) -> None:
    with files.stalled(tmp_path / "stalled.dcm") as path:  # without an end that the kill might miss
        number = next(n for n in range(10_000) if Shard(1, 2).holds([f"endless{n}"])[0])
        row = {**good.iloc[0].to_dict(), "image_id": f"endless{number}", "path": str(path)}
        table = pd.concat([good, pd.DataFrame([row])], ignore_index=True)
        process = multiprocessing.get_context("spawn").Process(target=_run, args=(table, cache.directory, "1/2"))
        process.start()
        deadline = time.monotonic() + 120
        while len(cache) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        kill_group(process.pid or 0)
        process.join(30)
    _prepare(good, cache, "2/2")
    if len(cache) < COUNT:
        with pytest.raises(IncompleteError) as error:
            _merge(good, cache)
        assert error.value.shards == (Shard(1, 2),)
    assert _prepare(good, cache, "1/2").n_kept >= 2
    _merge(good, cache)
    assert _content(cache) == _content(whole_good)


def test_a_disk_without_locks_is_said_and_used(
    good: pd.DataFrame,
    whole_good: Cache,
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")  # of Lustre without the option flock

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING):
        for shard in ("1/2", "2/2"):
            _prepare(good, cache, shard)
    assert "this disk has no locks (Function not implemented)" in caplog.text
    _merge(good, cache)
    assert _content(cache) == _content(whole_good)


def test_a_lock_that_is_shared_is_of_a_file_that_may_be_read(
    good: pd.DataFrame, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_nfs(lock: BinaryIO, kind: int) -> None:
        needed = (os.O_RDONLY if kind & fcntl.LOCK_SH else os.O_WRONLY, os.O_RDWR)
        if fcntl.fcntl(lock, fcntl.F_GETFL) & os.O_ACCMODE not in needed:
            pytest.fail("Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", as_nfs)
    _prepare(good, cache, "1/1")
    _merge(good, cache)


def test_a_shard_that_waits_for_a_merge_goes_on_without_the_folder_that_it_removed(
    good: pd.DataFrame, cache: Cache, whole_good: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    _prepare(good, cache, "1/2")
    original = fcntl.flock

    def merged_meanwhile(lock: BinaryIO, kind: int) -> None:
        original(lock, kind)
        if kind & fcntl.LOCK_SH:
            shutil.rmtree(cache.directory / "shards")

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", merged_meanwhile)
        _prepare(good, cache, "2/2")
    _merge(good, cache)
    assert _content(cache) == _content(whole_good)


def test_boxes_reach_the_shards(good: pd.DataFrame, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image_id,x0,y0,x1,y1\n" + "".join(f"{i},10,20,100,200\n" for i in good["image_id"]))
    settings = replace(SETTINGS, crop="boxes", boxes=str(boxes))
    cache = Cache.create(tmp_path, "set", settings)
    prepare_table(good, settings, cache, workers=1, shard=Shard(1, 1))
    assert cache.geometry("1000").box == (10, 20, 100, 200)
