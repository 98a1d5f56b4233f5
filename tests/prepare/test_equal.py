"""The same picture under two names is found by its prepared pixels."""

import numpy as np

from rsna.config.data import PreprocessSettings
from rsna.prepare.cache import Cache, Entry
from rsna.prepare.equal import equal_pixels
from rsna.prepare.geometry import fit


def test_equal_pictures_share_a_name_and_black_ones_do_not(tmp_path):
    cache = Cache.create(tmp_path, "set", PreprocessSettings(size=(16, 8)))
    rng = np.random.default_rng(0)
    picture = rng.integers(1, 255, (16, 8)).astype(np.uint8)
    other = picture.copy()
    other[3, 3] ^= 1
    black = np.zeros((16, 8), np.uint8)
    images = {"a": picture, "b": picture, "c": other, "d": black, "e": black}
    for image_id, pixels in images.items():
        entry = Entry(f"1-{image_id}", fit((0, 0, 8, 16), (16, 8), (16, 8), False, False))
        cache.write(image_id, pixels, entry)
    found = equal_pixels(cache, (*images, "missing"))
    assert set(found) == {"a", "b"}
    assert found["a"] == found["b"]
