import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nst
from PIL import Image

from rsna.prepare import tiff
from tests.prepare import phantoms

pictures = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda dtype: nst.arrays(dtype, nst.array_shapes(min_dims=2, max_dims=2, max_side=40))
)


@given(pictures, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=50))
def test_any_picture_comes_back_here_and_from_libtiff(pixels: np.ndarray, text: str) -> None:
    content = tiff.encode(pixels, text)
    back = tiff.decode(content)
    assert back.dtype == pixels.dtype
    np.testing.assert_array_equal(back, pixels)
    image = Image.open(io.BytesIO(content))
    np.testing.assert_array_equal(np.asarray(image), pixels)
    assert image.tag_v2.get(270, "").rstrip("\0") == text
    assert tiff.read_description(io.BytesIO(content)) == text
    assert tiff.encode(pixels, text) == content


def test_a_long_description_is_read_without_the_pixels() -> None:
    content = tiff.encode(np.zeros((2, 2), np.uint8), "x" * 10_000)
    assert tiff.read_description(io.BytesIO(content)) == "x" * 10_000


def test_a_file_cut_anywhere_is_refused() -> None:
    content = tiff.encode((phantoms.breast(60, 50)[0] * 255).astype(np.uint8), "{}")
    for length in range(0, len(content), 7):
        with pytest.raises(tiff.TiffError, match="missing|damaged"):
            tiff.decode(content[:length])


def test_damage_is_refused_or_leaves_a_picture_of_the_same_size() -> None:
    content = tiff.encode((phantoms.breast(60, 50)[0] * 255).astype(np.uint8), "{}")
    strip = 8 + 2 + 12 * 11 + 4 + 5
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(strip, len(content), 300):
        hurt = bytearray(content)
        hurt[place] ^= 1 << int(rng.integers(8))
        try:
            shape = tiff.decode(bytes(hurt)).shape
        except tiff.TiffError:
            refused += 1
        else:
            assert shape == (60, 50)
    assert refused > 10


def test_any_damage_of_the_header_is_refused_at_once_or_leaves_the_size() -> None:
    content = tiff.encode((phantoms.breast(60, 50)[0] * 255).astype(np.uint8), "{}")
    for bit in range(8 * (8 + 2 + 12 * 11 + 4)):
        hurt = bytearray(content)
        hurt[bit // 8] ^= 1 << bit % 8
        with suppress(tiff.TiffError):
            assert tiff.decode(bytes(hurt)).shape == (60, 50)
        with suppress(tiff.TiffError):
            tiff.read_description(io.BytesIO(hurt))


def test_tiff_files_of_others_are_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(file, "TIFF")
    with pytest.raises(tiff.TiffError, match="another program"):
        tiff.decode(file.getvalue())
    with pytest.raises(tiff.TiffError):
        tiff.decode(b"PNG or whatever it is that stands here, longer than a directory" * 10)
