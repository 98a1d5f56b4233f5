import io

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


def test_every_flipped_bit_and_every_byte_too_many_is_refused() -> None:
    content = tiff.encode((phantoms.breast(30, 20)[0] * 255).astype(np.uint8), "{}")
    for bit in range(8 * len(content)):
        hurt = bytearray(content)
        hurt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(tiff.TiffError):
            tiff.decode(bytes(hurt))
    with pytest.raises(tiff.TiffError, match="damaged"):
        tiff.decode(content + b"\0")


def test_every_flipped_bit_before_the_pixels_is_refused_by_who_reads_the_description_alone() -> None:
    content = tiff.encode((phantoms.breast(30, 20)[0] * 255).astype(np.uint8), '{"geometry": [1, 2]}')
    for bit in range(8 * (content.index(b"}") + 2)):
        hurt = bytearray(content)
        hurt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(tiff.TiffError):
            tiff.read_description(io.BytesIO(hurt))


def test_tiff_files_of_others_are_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(file, "TIFF")
    with pytest.raises(tiff.TiffError, match="another program"):
        tiff.decode(file.getvalue())
    with pytest.raises(tiff.TiffError):
        tiff.decode(b"PNG or whatever it is that stands here, longer than a directory" * 10)
