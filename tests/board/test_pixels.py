from dataclasses import replace

import numpy as np
import pytest

from rsna.board.pixels import Pixels, find_image
from rsna.dataset.source import load_table
from rsna.prepare.cache import Cache
from rsna.prepare.table import prepare_table
from rsna.runs.errors import RunError
from rsna.runs.run import open_run


def _first(pictured):
    return load_table(pictured.parents[1] / "set").frame.iloc[0]


def test_originals_are_shown_with_the_crop_of_the_network(pictured):
    image = _first(pictured)
    shown = Pixels(open_run(pictured)).show(image["image_id"], 200)
    x0, y0, x1, y1 = shown.geometry.box
    assert shown.original
    assert shown.pixels.dtype == np.uint8
    assert 190 <= shown.pixels.shape[0] <= 210 or shown.pixels.shape[0] == y1 - y0
    assert shown.pixels.shape[0] / shown.pixels.shape[1] == pytest.approx((y1 - y0) / (x1 - x0), rel=0.03)


def test_heat_lands_where_the_same_pixels_are(pictured):
    """The prepared image itself, laid over the original as if it were heat, is the original."""
    for image_id in load_table(pictured.parents[1] / "set").frame["image_id"][:6]:
        shown = Pixels(open_run(pictured)).show(image_id, 200)
        again = shown.heat(shown.prepared.astype(np.float32))
        assert again.shape == shown.pixels.shape
        assert np.corrcoef(again.ravel(), shown.pixels.ravel())[0, 1] > 0.9
        mirrored = np.corrcoef(again[:, ::-1].ravel(), shown.pixels.ravel())[0, 1]
        assert mirrored < 0.7


def test_without_originals_the_cache_is_shown(pictured, tmp_path):
    run = open_run(pictured)
    table = load_table(pictured.parents[1] / "set").frame
    run = replace(run, config=replace(run.config, cache_dir=str(tmp_path)))
    pixels = Pixels(run, data=str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="neither in"):
        pixels.show(table["image_id"][0], 200)
    cache = Cache.create(tmp_path, "demo", run.config.preprocess)
    prepare_table(table.head(1), run.config.preprocess, cache, workers=1)
    shown = Pixels(run, data=str(tmp_path / "gone")).show(table["image_id"][0], 200)
    assert not shown.original
    assert shown.heat(np.ones((64, 32), np.float32)).shape == shown.pixels.shape == shown.geometry.fitted


def test_an_image_is_found_by_id_and_by_path_with_the_fold_that_has_not_seen_it(pictured):
    image = _first(pictured)
    run = open_run(pictured)
    by_id = find_image(run, image["image_id"])
    assert str(by_id[0]) == image["path"]
    assert by_id == find_image(run, image["path"])
    assert len(by_id[1]) == 1
    with pytest.raises(RunError, match="neither a file nor an id"):
        find_image(run, "nobody")
