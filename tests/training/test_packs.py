"""Training from a pack is training from the cache that it was made of."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from rsna.board.pixels import Pixels
from rsna.cli import main
from rsna.dataset.source import load_data, prepare_set
from rsna.prepare.packs.index import PackError
from rsna.prepare.packs.pack import Pack
from rsna.prepare.packs.writer import write_pack
from rsna.runs.run import open_run
from rsna.runs.run_directory import read_oof
from rsna.runs.schema import WEIGHTS
from rsna.training.experiment import resolve
from tests import s3
from tests.training.tiny import die_at_step, tiny_config, train_here, write_set


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A set, and a run that was trained from its cache."""
    folder = tmp_path_factory.mktemp("packs")
    write_set(folder / "set")
    train_here(tiny_config(folder))
    assert main(["pack", f"run={folder / 'run'}", f"out={folder / 'pack'}", "shard_mib=1"]) == 0
    return folder


def packed(place, name: str, **overrides: object):
    """The same configuration, but for where images are read from."""
    return tiny_config(
        place, run=str(place / name), cache_dir=str(place / "no-cache"), pack=str(place / "pack"), **overrides
    )


def weights(run: Path) -> bytes:
    """The file of fold 0."""
    return (run / "fold0" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pack_gives_the_same_weights_bit_for_bit(place, workers):
    run = train_here(packed(place, f"from-pack-{workers}", trainer__workers=workers))
    assert weights(run) == weights(place / "run")
    pd.testing.assert_frame_equal(read_oof(run, 0), read_oof(place / "run", 0), check_exact=True)
    assert not (place / "no-cache").exists()
    opened = open_run(run)
    assert isinstance(Pixels(opened).images, Pack)
    assert Pixels(opened).prepared("3CC")[0].shape == (48, 32)


def test_a_run_goes_on_from_a_pack_where_it_stopped_with_a_cache(place):
    config = tiny_config(place, run=str(place / "mixed"), trainer__checkpoint_every_steps=1)
    assert die_at_step(config, 1) == -9
    run = train_here(packed(place, "mixed", trainer__checkpoint_every_steps=1))
    assert weights(run) == weights(place / "run")


def test_a_pack_on_s3_gives_the_same_weights_with_loaders_of_their_own(place):
    config = tiny_config(place)
    table = load_data(config.data)
    with s3.bucket() as url:
        write_pack(prepare_set(config, table, lambda line: None)[0], f"{url}/pack")
        remote = tiny_config(
            place, run=str(place / "s3"), cache_dir=str(place / "no-cache"), pack=f"{url}/pack", trainer__workers=2
        )
        run = train_here(remote)
    assert weights(run) == weights(place / "run")


def test_a_pack_that_does_not_fit_is_refused_before_any_work(place, tmp_path):
    with pytest.raises(PackError, match=r"was made with preprocessing .*crop: none → breast"):
        resolve(packed(place, "refused", preprocess__crop="breast"))
    with pytest.raises(PackError, match="holds the set tiny, not another"):
        resolve(packed(place, "refused", data__name="another"))
    shutil.copytree(place / "pack", tmp_path / "pack")
    next((tmp_path / "pack").glob("*.arrow")).unlink()
    with pytest.raises(PackError, match="cannot be read"):
        resolve(tiny_config(place, pack=str(tmp_path / "pack")))
    assert not (place / "refused").exists()


def test_a_damaged_image_ends_training_with_its_shard_and_name(place, tmp_path):
    shutil.copytree(place / "pack", tmp_path / "pack")
    for shard in (tmp_path / "pack").glob("*.zip"):
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    config = tiny_config(place, run=str(tmp_path / "run"), pack=str(tmp_path / "pack"), trainer__workers=2)
    with pytest.raises(Exception, match=r"image \w+ in shard .*\.zip is damaged") as caught:
        train_here(config)
    assert "Traceback" not in str(caught.value)
