import pytest

from rsna.config.schema import Config
from rsna.prepare.cache import Cache
from rsna.prepare.hashing import preprocessing_hash
from rsna.prepare.packs.index import PackError
from rsna.prepare.packs.pack import Pack
from rsna.prepare.packs.prepared import find_prepared, open_cache, open_prepared
from rsna.prepare.packs.writer import write_pack
from tests.prepare.packs.caches import SETTINGS, write_cache


def test_images_are_read_from_the_pack_where_one_is_named_and_else_from_the_cache(tmp_path):
    write_pack(write_cache(tmp_path / "cache", ["1"]), str(tmp_path / "pack"))
    config = Config(cache_dir=str(tmp_path / "cache"), preprocess=SETTINGS)
    packed = Config(cache_dir=str(tmp_path / "other"), preprocess=SETTINGS, pack=str(tmp_path / "pack"))
    assert isinstance(open_prepared(config, "set"), Cache)
    assert isinstance(open_prepared(packed, "set"), Pack)
    assert not (tmp_path / "other").exists()
    with pytest.raises(PackError, match="there is no pack"):
        open_prepared(Config(pack=str(tmp_path)), "set")


def test_what_a_run_read_is_found_again(tmp_path):
    cache = write_cache(tmp_path / "cache", ["1"])
    write_pack(cache, str(tmp_path / "pack"))
    config = Config(cache_dir=str(tmp_path / "cache"), pack=str(tmp_path / "pack"))
    digest = preprocessing_hash(SETTINGS)
    assert isinstance(find_prepared(config, "set", digest), Pack)
    assert find_prepared(config, "another", digest) is None
    assert find_prepared(config, "set", "0" * 12) is None
    (tmp_path / "pack" / "pack.json").unlink()
    assert isinstance(find_prepared(config, "set", digest), Cache)
    assert open_cache(cache.directory).directory == cache.directory
    assert open_cache(tmp_path) is None
