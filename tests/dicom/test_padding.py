"""Padding that a lossy codec made uneven: how uneven is measured in the image, whatever its header's range."""

import cv2
import imagecodecs
import numpy as np
import pytest

from rsna.dicom import open_mammogram
from tests.dicom.test_display import padded
from tests.dicom_files import breast, dicom_bytes, encode, encode_jpeg2000

CODECS = ("jpeg_ls_2", "jpeg_ls_10", "jpeg_75", "jpeg_95", "jpeg2000_60", "jpeg2000_75", "htj2k")
"""Name and error, quality, or peak signal to noise ratio in dB."""


def compressed(stored, codec: str, bits: int = 12, **elements) -> bytes:
    """A file of Bits Stored `bits`, whose codestream has 12."""
    name, _, level = codec.rpartition("_") if codec != "htj2k" else (codec, "", "")
    syntax = {"jpeg": "jpeg_extended"}.get(name, f"{name}_lossy")
    if name == "jpeg_ls":
        frame = bytes(imagecodecs.jpegls_encode(stored, level=int(level)))
    elif name == "jpeg":
        frame = bytes(imagecodecs.jpeg8_encode(stored, level=int(level), bitspersample=12))
    elif name == "jpeg2000":
        frame = encode_jpeg2000(stored, 12, reversible=False, level=int(level))
    else:
        frame = encode(stored, "htj2k_lossy", 12)
    return dicom_bytes(stored, bits, syntax, frame=frame, **elements)


def both(stored, codec: str, **elements):
    """The image displayed with, and without its padding value."""
    value = elements.pop("PixelPaddingValue")
    with_padding = open_mammogram(compressed(stored, codec, PixelPaddingValue=value, **elements)).display()
    return with_padding, open_mammogram(compressed(stored, codec, **elements)).display()


def narrow(noise: float = 8.0) -> np.ndarray:
    """Tissue of 100 to 1000 beside padding of 0."""
    inside = breast(400, 300).astype(float) / 4095
    tissue = 100 + 900 * inside + np.random.default_rng(1).normal(size=inside.shape) * noise
    stored = np.where(inside > 0.02, tissue.clip(100, 1000), 0).round().astype(np.uint16)
    stored[:, -40:] = stored[0] = 0
    return stored


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("noise", [0.0, 8.0])
def test_tissue_is_kept_however_wide_the_headers_range(codec, bits, noise):
    stored = narrow(noise)
    window = {"WindowCenter": 500, "WindowWidth": 1000}
    image, plain = both(stored, codec, bits=bits, PixelPaddingValue=0, **window)
    np.testing.assert_array_equal(image[stored > 0], plain[stored > 0])
    assert image[stored == 0].max() <= plain[stored == 0].max()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("value", [0, 300, 2000, 40000, -5])
@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_a_value_that_no_padding_has_blackens_nothing(codec, value, noise):
    stored = padded(0, inverted=True)
    stored = (stored + np.random.default_rng(0).normal(size=stored.shape) * noise)[30:-40, 76:].clip(200, 4090)
    elements = {"PixelPaddingValue": value & 0xFFFF, "PhotometricInterpretation": "MONOCHROME1"}
    image, plain = both(stored.round().astype(np.uint16), codec, **elements)
    np.testing.assert_array_equal(image, plain)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("value", "inverted"), [(0, True), (4095, False), (2000, False)])
def test_bright_padding_is_hidden_and_tissue_is_not(codec, value, inverted):
    stored = padded(value, inverted=inverted)
    elements = {"PixelPaddingValue": value, "PhotometricInterpretation": f"MONOCHROME{1 if inverted else 2}"}
    image, plain = both(stored, codec, **elements)
    padding = stored == value
    inside = cv2.erode(padding.astype(np.uint8), np.ones((3, 3))) != 0
    assert plain[inside].min() > 0.4
    assert (image[inside] > 0.05).mean() < 0.01
    far = cv2.dilate(padding.astype(np.uint8), np.ones((21, 21))) == 0
    np.testing.assert_array_equal(image[far], plain[far])
    assert (image < plain - 0.1)[~padding].mean() < 0.001


@pytest.mark.parametrize("codec", CODECS)
def test_a_range_of_padding_in_either_order_is_hidden(codec):
    stored = padded(4095, inverted=False)
    noise = np.random.default_rng(0).integers(3950, 4096, stored.shape)
    stored = np.where(stored == 4095, noise, stored.clip(max=3700)).astype(np.uint16)
    inside = cv2.erode((stored >= 3950).astype(np.uint8), np.ones((3, 3))) != 0
    for ends in ((3950, 4095), (4095, 3950)):
        elements = dict(zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), ends, strict=True))
        image = open_mammogram(compressed(stored, codec, **elements)).display()
        assert (image[inside] > 0.05).mean() < 0.01
        assert (image == 0)[stored < 3700].mean() < 0.01


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("codec", ["jpeg2000_60", "htj2k"])
def test_a_part_shows_no_more_padding_than_the_whole(codec, level):
    mammogram = open_mammogram(compressed(padded(4095, inverted=False), codec, PixelPaddingValue=4095))
    rows, columns = mammogram.size_at(level)
    whole = mammogram.display(level)
    part = mammogram.display(level, box=(columns // 20, rows // 30, columns // 2, rows // 2))
    expected = whole[rows // 30 : rows // 2, columns // 20 : columns // 2]
    assert (np.abs(part - expected) > 0.05).mean() < 0.002
    assert (part[:, : columns // 20] > 0.05).mean() < 0.01


def test_signed_padding_is_hidden():
    stored = padded(4095, inverted=False)
    signed = (stored.astype(np.int32) - 2048).astype(np.int16)
    data = dicom_bytes(signed, 12, "jpeg2000_lossy")
    dataset = {"PixelPaddingValue": 2047 & 0xFFFF}
    image = open_mammogram(dicom_bytes(signed, 12, "jpeg2000_lossy", **dataset)).display()
    plain = open_mammogram(data).display()
    assert plain[stored == 4095].min() > 0.9
    assert image[stored == 4095].max() < 0.05


def test_a_reversible_filter_under_a_lossy_label_may_have_been_cut_off():
    """Layers of a reversible codestream are left out to reach a rate: nothing in it says so."""
    stored = padded(4095, inverted=False)
    noisy = stored - np.random.default_rng(0).integers(0, 4, stored.shape).astype(np.uint16) * (stored == 4095)
    frame = encode_jpeg2000(noisy, 12)
    image = open_mammogram(dicom_bytes(noisy, 12, "jpeg2000_lossy", frame=frame, PixelPaddingValue=4095)).display()
    assert image[cv2.erode((stored == 4095).astype(np.uint8), np.ones((3, 3))) != 0].max() < 0.05
