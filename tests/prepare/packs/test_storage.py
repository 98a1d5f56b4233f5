import contextlib
import pickle

import fsspec
import numpy as np
import pytest

from rsna.prepare.cache import CacheError
from rsna.prepare.packs.index import PackError
from rsna.prepare.packs.pack import Pack
from rsna.prepare.packs.storage import Storage, StorageError
from rsna.prepare.packs.writer import write_pack
from tests import s3
from tests.prepare.packs.caches import pixels_of, read_by_forks, write_cache


@pytest.fixture(params=["disk", "memory", "s3"])
def place(request, tmp_path):
    """A folder that is not there yet: of a disk, of this process's memory, of an S3 server."""
    with contextlib.ExitStack() as stack:
        if request.param == "memory":
            stack.callback(fsspec.filesystem("memory").store.clear)
        yield {
            "disk": lambda: f"{tmp_path}/deep/pack",
            "memory": lambda: "memory://deep/pack",
            "s3": lambda: f"{stack.enter_context(s3.bucket())}/deep/pack",
        }[request.param]()


def test_files_are_written_whole_and_read_from_any_place(place):
    storage = pickle.loads(pickle.dumps(Storage(f"{place}/")))
    assert storage.names() == []
    with storage.write("a") as path:
        path.write_bytes(bytes(range(100)))
        assert storage.names() in ([], [path.name]), "it is not there yet"
    assert storage.names() == ["a"]
    assert storage.read("a") == bytes(range(100))
    assert storage.read("a", 0, 3) == bytes([0, 1, 2])
    assert storage.read("a", 10, 3) == bytes([10, 11, 12])
    assert storage.read("a", 98, 5)[:2] == bytes([98, 99])
    with storage.binary("a") as file:
        file.seek(50)
        assert file.read(1) == bytes([50])
    with pytest.raises(FileNotFoundError):
        storage.read("b")
    with pytest.raises(ZeroDivisionError), storage.write("b") as path:
        path.write_bytes(b"half")
        raise ZeroDivisionError
    assert storage.names() == ["a"]
    storage.remove("a")
    assert storage.names() == []


def test_a_pack_is_written_and_read_wherever_it_lies(place, tmp_path):
    ids = [f"{number:03d}" for number in range(20)]
    cache = write_cache(tmp_path / "cache", ids)
    assert write_pack(cache, place, 4000).shards == 4
    again = write_pack(cache, place, 4000)
    assert (again.written, again.shards) == (0, 4)
    pack = Pack(place)
    for image_id in ids:
        np.testing.assert_array_equal(pack.read(image_id), pixels_of(image_id))
        assert pack.geometry(image_id) == cache.geometry(image_id)
    if not place.startswith("memory"):
        for image_id, pixels in zip(ids, read_by_forks(pack, ids), strict=True):
            np.testing.assert_array_equal(pixels, pixels_of(image_id))
    storage = Storage(place)
    shard = pack.record.shards[0]
    cut = storage.read(shard)[:900]
    with storage.write(shard) as path:
        path.write_bytes(cut)
    with pytest.raises(CacheError, match=f"image 00[0-9] in shard {place}/{shard} is damaged"):
        [Pack(place).read(image_id) for image_id in ids]


def test_urls_that_nobody_reads_are_said():
    with pytest.raises(StorageError, match=r"nonsense://x: nonsense:// cannot be read here .*pip install"):
        Storage("nonsense://x").read("a")
    with pytest.raises(PackError, match="nonsense:// cannot be read here"):
        Pack("nonsense://x")
    with pytest.raises(PackError, match="s3://: names no bucket; write s3://bucket/folder"):
        Pack("s3://")
