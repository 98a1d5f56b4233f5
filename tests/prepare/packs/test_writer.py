import os
import signal
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from rsna.config.data import PreprocessSettings
from rsna.files import only_writer
from rsna.prepare.cache import CacheError
from rsna.prepare.packs.index import PackError
from rsna.prepare.packs.pack import Pack
from rsna.prepare.packs.writer import write_pack
from tests.prepare.packs.caches import write_cache

IDS = [f"{number:03d}" for number in range(20)]
SMALL = 4000
"""Bytes of a shard that some six of these images fill."""


def content(folder: Path) -> dict[str, bytes]:
    """Name → bytes of what is in a folder, but for what a killed process left."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}


def test_a_shard_is_a_zip_of_the_caches_own_files(tmp_path):
    cache = write_cache(tmp_path / "cache", [*IDS, "../ä b"])
    report = write_pack(cache, str(tmp_path / "pack"), SMALL)
    shards = sorted((tmp_path / "pack").glob("*.zip"))
    assert (report.images, report.shards, report.written) == (21, len(shards), len(shards))
    assert len(shards) > 2
    for shard in shards:
        with ZipFile(shard) as archive:
            assert archive.testzip() is None
            archive.extractall(tmp_path / "again")
    assert content(tmp_path / "again" / "images") == content(cache.directory / "images")


def test_the_same_cache_makes_the_same_bytes_and_a_second_run_writes_nothing(tmp_path):
    cache = write_cache(tmp_path / "cache", IDS)
    for name in ("a", "b"):
        write_pack(cache, str(tmp_path / name), SMALL)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "a").iterdir()}
    assert write_pack(cache, str(tmp_path / "a"), SMALL).written == 0
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "a").iterdir()} == before


def test_an_image_that_came_or_changed_makes_its_shard_anew_and_no_other(tmp_path):
    place = str(tmp_path / "pack")
    write_pack(write_cache(tmp_path / "cache", IDS), place, SMALL)
    before = content(tmp_path / "pack")
    report = write_pack(write_cache(tmp_path / "cache", [*IDS, "999"]), place, SMALL)
    after = content(tmp_path / "pack")
    assert report.written == 1
    assert len([name for name in after if name in before and name.endswith(".zip")]) == report.shards - 1
    assert set(Pack(place)) == {*IDS, "999"}
    assert len(after) == report.shards + 2, "what only the earlier pack needed is gone"


@pytest.mark.parametrize("after", [0, 2])
def test_a_killed_writer_leaves_nothing_that_is_read_and_the_next_goes_on(tmp_path, after):
    """Killed in the middle of a shard, behind as many whole ones."""
    cache, place = write_cache(tmp_path / "cache", IDS), tmp_path / "pack"
    code = f"""
import os, signal
from rsna.prepare.cache import Cache
from rsna.prepare.packs import writer
inner, left = writer.ZipFile.writestr, [{after * 6 + 3}]
def writestr(*arguments):
    inner(*arguments)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
writer.ZipFile.writestr = writestr
writer.write_pack(Cache({str(cache.directory)!r}), {str(place)!r}, {SMALL})
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    finished = len(list(place.glob("shard-*.zip")))
    assert finished == after
    with pytest.raises(PackError, match="there is no pack"):
        Pack(str(place))
    report = write_pack(cache, str(place), SMALL)
    assert report.written == report.shards - finished
    write_pack(cache, str(tmp_path / "undisturbed"), SMALL)
    assert content(place) == content(tmp_path / "undisturbed")
    assert not list(place.glob(".*.tmp"))


def test_what_is_damaged_is_mended_as_the_errors_say(tmp_path):
    cache, place = write_cache(tmp_path / "cache", IDS), tmp_path / "pack"
    write_pack(cache, str(place), SMALL)
    whole = content(place)
    shard, other = sorted(place.glob("*.zip"))[:2]
    os.truncate(shard, 3000)
    other.unlink()
    next(place.glob("*.arrow")).write_bytes(b"damaged")
    assert write_pack(cache, str(place), SMALL).written == 2
    assert content(place) == whole
    (place / "pack.json").write_text("{")
    with pytest.raises(PackError, match="is torn .* remove it and run `rsna pack` again"):
        write_pack(cache, str(place), SMALL)
    (place / "pack.json").unlink()
    assert write_pack(cache, str(place), SMALL).written == 0
    assert content(place) == whole


def test_a_damaged_image_is_not_packed(tmp_path):
    cache = write_cache(tmp_path / "cache", IDS)
    file = cache.path("007")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CacheError, match=r"007\.tif is damaged.*run `rsna prepare` again"):
        write_pack(cache, str(tmp_path / "pack"))


def test_what_cannot_be_packed_is_said(tmp_path):
    with pytest.raises(PackError, match="holds no prepared image; run `rsna prepare` first"):
        write_pack(write_cache(tmp_path / "empty", []), str(tmp_path / "pack"))
    cache = write_cache(tmp_path / "cache", IDS)
    write_pack(cache, str(tmp_path / "pack"))
    other = write_cache(tmp_path / "cache", IDS, settings=PreprocessSettings(size=(32, 16), crop="none"))
    with pytest.raises(PackError, match=r"holds a pack of set with preprocessing .* choose another place"):
        write_pack(other, str(tmp_path / "pack"))
    (tmp_path / "file").touch()
    with pytest.raises(PackError, match=r"pack cannot be written: .* name another place.* finished shards are kept"):
        write_pack(cache, str(tmp_path / "file" / "pack"))
    with only_writer(tmp_path / "pack"), pytest.raises(RuntimeError, match="is being written by process"):
        write_pack(cache, str(tmp_path / "pack"))
