import json
import os
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.prepare.cache import CacheError
from rsna.prepare.packs import storage
from rsna.prepare.packs.index import PackError
from rsna.prepare.packs.pack import Pack
from rsna.prepare.packs.writer import write_pack
from tests.prepare.packs.caches import SETTINGS, pixels_of, read_by_forks, write_cache

IDS = [f"{number:03d}" for number in range(20)]


@pytest.fixture
def place(tmp_path):
    """A pack of twenty images in four shards."""
    write_pack(write_cache(tmp_path / "cache", IDS), str(tmp_path / "pack"), 4000)
    return tmp_path / "pack"


def shard_of(place: Path, image_id: str) -> tuple[Path, int, int]:
    """The shard of an image, and where it begins and ends there."""
    found = Pack(str(place))._index.find(image_id)
    return place / found.shard, found.start, found.start + found.length


def test_images_come_back_as_they_do_from_the_cache(tmp_path):
    ids = [*IDS, "../ä b", "Z" * 300, "😀"]
    random.Random(0).shuffle(ids)
    cache = write_cache(tmp_path / "cache", ids)
    write_pack(cache, str(tmp_path / "pack"), 4000)
    pack = pickle.loads(pickle.dumps(Pack(str(tmp_path / "pack"))))
    assert len(pack) == len(ids)
    assert sorted(pack) == sorted(ids)
    for image_id in ids:
        np.testing.assert_array_equal(pack.read(image_id), cache.read(image_id))
        assert pack.geometry(image_id) == cache.geometry(image_id)
        assert image_id in pack
    pack.read("003")[0, 0] = 1  # fresh and writable
    assert pack.preprocessing_hash == cache.preprocessing_hash
    assert "0030" not in pack
    with pytest.raises(CacheError, match="image 0030 is not in the pack"):
        pack.read("0030")


def test_threads_and_forks_read_the_same_files_at_once(place, monkeypatch):
    monkeypatch.setattr(storage, "_OPEN", 2)  # of four, so that files are closed while others are read
    pack = Pack(str(place))
    pack.read("000")
    for image_id, pixels in zip(IDS * 5, read_by_forks(pack, IDS * 5), strict=True):
        np.testing.assert_array_equal(pixels, pixels_of(image_id))
    wanted = {image_id: pixels_of(image_id) for image_id in IDS}
    drawn = random.Random(0).choices(IDS, k=4000)
    with ThreadPoolExecutor(8) as threads:
        for image_id, pixels in zip(drawn, threads.map(pack.read, drawn), strict=True):
            np.testing.assert_array_equal(pixels, wanted[image_id])


def test_a_flipped_bit_of_an_image_is_an_error_that_names_shard_and_image(place):
    draw = random.Random(0)
    for _ in range(60):
        image_id = draw.choice(IDS)
        shard, start, end = shard_of(place, image_id)
        whole = shard.read_bytes()
        content = bytearray(whole)
        content[draw.randrange(start, end)] ^= 1 << draw.randrange(8)
        shard.write_bytes(content)
        pack = Pack(str(place))
        with pytest.raises(
            CacheError, match=f"image {image_id} in shard .*{shard.name} is damaged: .*remove that shard"
        ):
            pack.read(image_id)
        other = draw.choice([one for one in IDS if one != image_id])
        np.testing.assert_array_equal(pack.read(other), pixels_of(other))
        shard.write_bytes(whole)


def test_a_shard_that_is_cut_off_exchanged_or_gone_is_said(place):
    shard, start, end = shard_of(place, "004")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: end - 1])
    with pytest.raises(CacheError, match=f"image 004 in shard .*{shard.name} is damaged: the shard ends before it"):
        Pack(str(place)).read("004")
    _, other, stop = shard_of(place, "003")
    shard.write_bytes(whole[:start] + whole[other:stop].ljust(end - start, b"\0") + whole[end:])
    with pytest.raises(
        CacheError, match=f"image 004 in shard .*{shard.name} is damaged: the shard holds the image 003"
    ):
        Pack(str(place)).read("004")
    shard.unlink()
    with pytest.raises(CacheError, match=f"image 004: shard .*{shard.name} cannot be read: No such file"):
        Pack(str(place)).geometry("004")
    table = pd.DataFrame({"image_id": IDS, "path": ["gone"] * 20})
    with pytest.raises(PackError, match=rf"lacks 1 of \d shards \(first: {shard.name}\); copy the pack again"):
        Pack(str(place)).check("set", SETTINGS, table, 0.0)


def test_a_pack_that_is_not_whole_is_refused(place, tmp_path):
    with pytest.raises(PackError, match=r"there is no pack \(no pack.json"):
        Pack(str(tmp_path / "nothing"))
    record, index = place / "pack.json", next(place.glob("*.arrow"))
    whole, text = index.read_bytes(), record.read_text()
    for changed in (whole[:-1], whole[:100] + b"!" + whole[101:], b""):
        index.write_bytes(changed)
        with pytest.raises(PackError, match=r"\.arrow: is damaged|cannot be read"):
            Pack(str(place))
    index.unlink()
    with pytest.raises(PackError, match=r"\.arrow: cannot be read .*run `rsna pack` again"):
        Pack(str(place))
    index.write_bytes(whole)
    values = json.loads(text)
    for torn in (text[:-20], "[]", "{}", json.dumps(values | {"extra": 1}), json.dumps(values | {"shards": 1})):
        record.write_text(torn)
        with pytest.raises(PackError, match=r"pack\.json: is torn"):
            Pack(str(place))
    record.write_text(json.dumps(values | {"format": 99}))
    with pytest.raises(PackError, match="has format 99, and this program reads 1"):
        Pack(str(place))


def test_a_pack_of_other_settings_another_set_or_of_too_few_images_is_refused(place):
    pack, table = Pack(str(place)), pd.DataFrame({"image_id": IDS, "path": ["gone"] * 20})
    missing, complete = pack.check("set", SETTINGS, table, 0.0)
    assert not missing
    assert complete.no_breast == ("000",)
    with pytest.raises(PackError, match=r"was made with preprocessing .*, these settings are .*crop: breast → none"):
        pack.check("set", replace(SETTINGS, crop="none"), table, 0.0)
    with pytest.raises(PackError, match="holds the set set, not another"):
        pack.check("another", SETTINGS, table, 0.0)
    more = pd.DataFrame({"image_id": ["a", *IDS, "b"], "path": ["gone"] * 22})
    assert pack.check("set", SETTINGS, more, 0.1)[0] == ("a", "b")
    with pytest.raises(PackError, match=r"lacks 2 of 22 images \(first: a, b\)"):
        pack.check("set", SETTINGS, more, 0.05)


def test_files_that_were_changed_since_are_noticed_and_those_moved_or_put_away_are_not(tmp_path):
    files = {image_id: tmp_path / "files" / image_id for image_id in IDS}
    (tmp_path / "files").mkdir()
    for image_id, file in files.items():
        file.write_text(image_id)
    write_pack(write_cache(tmp_path / "cache", IDS, files), str(tmp_path / "pack"))
    pack = Pack(str(tmp_path / "pack"))

    def check(folder: str) -> None:
        table = pd.DataFrame({"image_id": IDS, "path": [str(tmp_path / folder / one) for one in IDS]})
        pack.check("set", SETTINGS, table, 0.0)

    check("files")
    check("nowhere")
    (tmp_path / "files").rename(tmp_path / "moved")
    for file in (tmp_path / "moved").iterdir():
        os.utime(file, (1, 1))
    check("moved")
    (tmp_path / "moved" / "003").write_text("0003")
    with pytest.raises(PackError, match=r"1 files have changed since they were packed .*\(first: 003\)"):
        check("moved")
    (tmp_path / "moved" / "003").write_text("003")
    (tmp_path / "moved").rename(tmp_path / "files")
    with pytest.raises(PackError, match="20 files have changed"):
        check("files")
