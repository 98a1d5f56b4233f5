"""Look-up tables, windows and rescaling of headers in which one element decides how another is to be read."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from rsna.dicom import open_mammogram
from tests.dicom_files import breast, dicom_bytes, header, lut_item

SYNTAXES = ("explicit", "implicit", "big_endian")


def displayed(lut: Dataset, stored: np.ndarray, bits: int, syntax: str, **elements) -> np.ndarray:
    mammogram = open_mammogram(dicom_bytes(stored, bits, syntax, VOILUTSequence=[lut], **elements))
    assert not mammogram.notes
    return mammogram.display()


def item(first: int, entries: np.ndarray, syntax: str, *, signed: bool) -> Dataset:
    lut = lut_item(first, 16, entries, signed=signed)
    lut.LUTData = entries.astype(">u2" if syntax == "big_endian" else "<u2").tobytes()
    return lut


@pytest.mark.parametrize("signed", [False, True], ids=["US", "SS"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_first_value_of_a_voi_lut_is_signed_where_rescaled_values_are(syntax, signed):
    """PS3.3 C.11.2.1.1; the stored values have no sign, by which implicit VR is parsed."""
    stored, entries = breast(), np.arange(2048) * 32
    lut = item(-1024 if signed else -1024 % 65536, entries, syntax, signed=signed)
    shown = displayed(lut, stored, 12, syntax, RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_allclose(shown, entries[np.minimum(stored, 2047)] / 65535, atol=1e-6)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_first_value_of_a_voi_lut_has_no_sign_where_rescaled_values_have_none(syntax):
    stored, entries = breast(bits=16, signed=True), np.arange(20000) * 3
    lut = item(40000, entries, syntax, signed=False)
    shown = displayed(lut, stored, 16, syntax, RescaleSlope=1, RescaleIntercept=32768)
    inputs = stored.astype(int) + 32768
    np.testing.assert_allclose(shown, entries[np.clip(inputs - 40000, 0, 19999)] / 65535, atol=1e-6)


def test_entries_of_more_bits_than_the_descriptor_says_are_said():
    lut = lut_item(0, 12, np.arange(4096) * 16)
    for keyword in ("VOILUTSequence", "ModalityLUTSequence"):
        (note,) = open_mammogram(dicom_bytes(breast(), **{keyword: [lut]})).notes
        assert "has '3840' of '4096' entries beyond white: (0028,3002) LUT Descriptor says '12' bits" in note


def test_entries_and_their_number_have_no_sign_though_their_vr_has():
    stored, entries = breast(bits=16), np.arange(65535 - 40000, 65535)
    lut = Dataset()
    lut.add_new("LUTDescriptor", "SS", [40000 - 65536, 0, 16])
    lut.add_new("LUTData", "SS", entries.astype(np.uint16).view(np.int16).tolist())
    dataset = header(stored, 16, VOILUTSequence=[lut])
    dataset.PixelData = stored.tobytes()
    shown = open_mammogram(dataset).display()
    np.testing.assert_allclose(shown, entries[np.minimum(stored, 39999)] / 65535, atol=1e-6)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_two_entries_of_8_bits_stand_in_a_word(syntax):
    stored, entries = breast(), (np.arange(4096) * 7 % 251).astype(np.uint8)
    words = entries.view("<u2").astype(">u2" if syntax == "big_endian" else "<u2")
    lut = lut_item(0, 8, entries)
    lut.LUTData = words.tobytes()
    np.testing.assert_allclose(displayed(lut, stored, 12, syntax), entries[stored] / 255, atol=1e-6)


@pytest.mark.parametrize(
    "elements", [{"WindowWidth": 10}, {"WindowCenter": 77}, {"RescaleSlope": 1}, {"RescaleIntercept": 9}]
)
def test_halves_of_a_window_and_of_rescaling_are_not_taken_from_two_places(elements):
    window, rescaling, group = Dataset(), Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 3000, 5000
    rescaling.RescaleSlope, rescaling.RescaleIntercept, rescaling.RescaleType = 2, -5, "US"
    group.FrameVOILUTSequence, group.PixelValueTransformationSequence = [window], [rescaling]
    found = open_mammogram(dicom_bytes(breast(), SharedFunctionalGroupsSequence=[group], **elements)).grayscale
    assert [(one.center, one.width) for one in found.windows] == [(3000, 5000)]
    assert (found.slope, found.intercept) == (2, -5)
