import cv2
import numpy as np
import pytest

from rsna.dicom import open_mammogram
from tests.dicom_files import breast, dicom_bytes


def padded(value: int, *, inverted: bool) -> np.ndarray:
    """A breast that touches padding at the left, above and below; (600, 500) uint16 of 12 bits."""
    y, x = np.mgrid[0:600, 0:500]
    inside = np.clip(1 - np.hypot((x - 76) / 300, (y - 300) / 260), 0, 1) ** 0.5
    texture = cv2.GaussianBlur(np.random.default_rng(0).normal(size=x.shape), (0, 0), 4)
    stored = 200 + 3500 * inside * (0.6 + 0.1 * texture / texture.std())
    stored = (4095 - stored if inverted else stored).clip(1, 4094).round().astype(np.uint16)
    stored[:, :76] = stored[:30] = stored[-40:] = value
    return stored


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((image - reference) ** 2)))


@pytest.mark.parametrize(("value", "inverted"), [(0, True), (4095, False), (0, False), (4095, True)])
@pytest.mark.parametrize(("syntax", "least"), [("jpeg2000", 40), ("jpeg2000_lossy", 36)])
def test_padding_leaves_no_rim_at_the_next_level(value, inverted, syntax, least):
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    stored = padded(value, inverted=inverted)
    mammogram = open_mammogram(
        dicom_bytes(stored, syntax=syntax, PixelPaddingValue=value, PhotometricInterpretation=photometric)
    )
    full = stored / np.float32(4095)
    full = np.where(stored == value, 0, 1 - full if inverted else full).astype(np.float32)
    small = mammogram.display(1)
    assert psnr(small, cv2.resize(full, small.shape[::-1], interpolation=cv2.INTER_AREA)) >= least
    assert small[:, :36].max() < 0.01


@pytest.mark.parametrize("written", [b"SS\2\0\0\xf8", b"US\2\0\0\xf8", b"US\2\0\0\x08"], ids=["signed", "16", "12"])
def test_padding_of_signed_pixels_is_found_however_its_sign_is_written(written):
    stored = breast(signed=True)
    stored[:, 60:] = -2048
    data = dicom_bytes(stored, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=-2048)
    assert data.count(b"SS\2\0\0\xf8") == 1
    assert open_mammogram(data.replace(b"SS\2\0\0\xf8", written)).display()[:, 60:].max() == 0


def test_padding_that_no_pixel_can_have_is_said():
    stored = breast()
    stored[:, 60:] = 0xFFFF
    mammogram = open_mammogram(dicom_bytes(stored, PixelPaddingValue=0xFFFF))
    said = "(0028,0120) Pixel Padding Value is '65535', beyond what can be stored: no pixel is taken for padding"
    assert mammogram.notes == (said,)
    mammogram = open_mammogram(dicom_bytes(stored, PixelPaddingRangeLimit=4095))
    assert mammogram.notes == (
        "(0028,0121) Pixel Padding Range Limit is '4095', without (0028,0120): it is passed over",
    )


@pytest.mark.parametrize("syntax", ["explicit", "jpeg_lossless"])
def test_padding_that_a_codec_made_uneven_before_the_last_one_is_hidden(syntax):
    stored = padded(4000, inverted=False)
    uneven = stored + np.random.default_rng(0).integers(-3, 4, stored.shape)
    stored = np.where(stored == 4000, uneven, stored).astype(np.uint16)
    lossy = open_mammogram(dicom_bytes(stored, syntax=syntax, PixelPaddingValue=4000, LossyImageCompression="01"))
    assert lossy.display()[40:-50, :70].max() == 0
    exact = open_mammogram(dicom_bytes(stored, syntax=syntax, PixelPaddingValue=4000, LossyImageCompression="00"))
    assert exact.display()[40:-50, :70].max() > 0.9


def test_tissue_of_the_padding_value_is_kept_at_an_earlier_level():
    """At full size every such pixel is padding by definition; blurred pixels are values of their own."""
    stored = padded(2000, inverted=False)
    mammogram = open_mammogram(dicom_bytes(stored, syntax="jpeg2000", PixelPaddingValue=2000))
    small = mammogram.display(1)
    tissue = cv2.erode((stored[::2, ::2] != 2000).astype(np.uint8), np.ones((9, 9))) != 0
    assert (small[tissue] > 0).all()


@pytest.mark.parametrize(("value", "inverted"), [(0, True), (4095, False)])
def test_a_lossy_codec_blurs_padding_at_full_size_too(value, inverted):
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    stored = padded(value, inverted=inverted)
    image = open_mammogram(
        dicom_bytes(stored, syntax="jpeg2000_lossy", PixelPaddingValue=value, PhotometricInterpretation=photometric)
    ).display()
    full = stored / np.float32(4095)
    assert psnr(image, np.where(stored == value, 0, 1 - full if inverted else full)) >= 50


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("value", [0, 4095])
def test_a_box_shows_what_the_whole_shows(level, value):
    mammogram = open_mammogram(dicom_bytes(padded(value, inverted=True), syntax="jpeg2000", PixelPaddingValue=value))
    whole = mammogram.display(level)
    for box in ((0, 0, 40, 50), (10, 20, 60, 90), (50, 3, 51, 4)):
        x0, y0, x1, y1 = box
        part = mammogram.display(level, box=box)
        np.testing.assert_array_equal(part, whole[y0:y1, x0:x1])
        assert part.flags.c_contiguous


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_stored_values_and_their_level_display_alike(bits, signed):
    mammogram = open_mammogram(dicom_bytes(breast(bits=bits, signed=signed), bits, "jpeg2000"))
    for level in range(mammogram.levels + 1):
        stored = mammogram.decode(level)
        before = stored.copy()
        np.testing.assert_array_equal(mammogram.display(stored), mammogram.display(level))
        np.testing.assert_array_equal(stored, before)
