"""The grayscale pipeline against pydicom's, which works on whole images in float64."""

import io

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from rsna.dicom import CorruptHeader, NoSuchWindow, open_mammogram, read_mammogram
from tests.dicom_files import breast, dicom_bytes, lut_item

FUNCTIONS = ["LINEAR", "LINEAR_EXACT", "SIGMOID"]


def pydicom_display(data: bytes, low: float, high: float, index: int = 0):
    """pydicom's modality LUT and VOI LUT, from its output range `low` … `high` to [0, 1]."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    values = apply_modality_lut(dataset.pixel_array, dataset)
    return (apply_voi_lut(values, dataset, index=index).astype(np.float64) - low) / (high - low)


@pytest.mark.parametrize("function", [None, *FUNCTIONS])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_windows_equal_pydicoms(function, signed):
    for bits in (8, 10, 12, 16):
        stored = breast(bits=bits, signed=signed)
        middle, full = float(stored.mean()), 1 << bits
        for center, width in ((middle, full / 3), (middle + 0.5, 1.5), (0, 2.0 * full), (10.25, full / 7)):
            data = dicom_bytes(stored, bits, WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
            low = -(1 << (bits - 1)) if signed else 0
            expected = pydicom_display(data, low, low + full - 1)
            np.testing.assert_allclose(read_mammogram(data), expected, atol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_rescaled_values_are_windowed_in_modality_units(function):
    stored = breast()
    for slope, intercept in ((1, 0), (2.5, -100), (-1, 4095), (0.001, 1)):
        elements = {"RescaleSlope": slope, "RescaleIntercept": intercept, "VOILUTFunction": function}
        center, width = 1500 * slope + intercept, max(1.0, abs(900 * slope))
        data = dicom_bytes(stored, WindowCenter=center, WindowWidth=width, **elements)
        expected = pydicom_display(data, intercept, 4095 * slope + intercept)
        np.testing.assert_allclose(read_mammogram(data), expected, atol=1e-6)


def test_rescaling_alone_changes_no_full_range():
    stored = breast()
    for slope, intercept in ((3, -5), (0.5, 0)):
        image = read_mammogram(dicom_bytes(stored, RescaleSlope=slope, RescaleIntercept=intercept), window=None)
        np.testing.assert_allclose(image, stored / 4095, atol=1e-6)
    inverted = read_mammogram(dicom_bytes(stored, RescaleSlope=-1, RescaleIntercept=4095), window=None)
    np.testing.assert_allclose(inverted, 1 - stored / 4095, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("first", [0, 300, -50])
def test_voi_luts_equal_pydicoms(bits, first):
    signed = first < 0
    stored = breast(signed=signed)
    entries = np.linspace(0, (1 << bits) - 1, 2000).astype(np.uint16) ** 1
    luts = [lut_item(first, bits, entries, signed=signed), lut_item(first, bits, entries[::-1].copy(), signed=signed)]
    data = dicom_bytes(stored, VOILUTSequence=luts, WindowCenter=7, WindowWidth=9)
    for index in (0, 1):
        # pydicom computes the index in 8 bits where the entries have 8; PS3.3 C.11.2.1.1 does not.
        if bits == 8:
            position = np.clip(stored.astype(int) - first, 0, 1999)
            expected = (entries if index == 0 else entries[::-1])[position] / 255
        else:
            expected = pydicom_display(data, 0, (1 << bits) - 1, index)
        np.testing.assert_allclose(open_mammogram(data).display(window=index), expected, atol=1e-6)


def test_luts_are_read_from_every_encoding():
    stored = breast()
    entries = (np.arange(4096) // 2).astype(np.uint16)
    expected = read_mammogram(dicom_bytes(stored, VOILUTSequence=[lut_item(0, 12, entries)]))
    for syntax in ("implicit", "big_endian", "deflated", "jpeg2000"):
        item = lut_item(0, 12, entries)
        if syntax == "big_endian":
            item["LUTData"].value = entries.astype(">u2").tobytes()
        data = dicom_bytes(stored, syntax=syntax, VOILUTSequence=[item])
        np.testing.assert_array_equal(read_mammogram(data), expected)
    as_numbers = lut_item(0, 12, entries)
    as_numbers.add_new("LUTData", "US", entries.tolist())
    np.testing.assert_array_equal(read_mammogram(dicom_bytes(stored, VOILUTSequence=[as_numbers])), expected)


def test_lut_of_8_bits_may_be_packed_into_bytes():
    stored = breast(bits=8)
    entries = np.arange(256, dtype=np.uint16)[::-1].copy()
    packed = lut_item(0, 8, entries)
    packed["LUTData"].value = entries.astype(np.uint8).tobytes()
    for item in (packed, lut_item(0, 8, entries)):
        np.testing.assert_allclose(
            read_mammogram(dicom_bytes(stored, 8, VOILUTSequence=[item])), 1 - stored / 255, atol=1e-6
        )


def test_modality_lut_equals_pydicoms():
    stored = breast()
    entries = (np.sqrt(np.arange(3000) / 2999) * 65535).astype(np.uint16)
    elements = {"ModalityLUTSequence": [lut_item(500, 16, entries)]}
    data = dicom_bytes(stored, WindowCenter=30000, WindowWidth=20000, **elements)
    np.testing.assert_allclose(read_mammogram(data), pydicom_display(data, 0, 65535), atol=1e-6)
    expected = entries[np.clip(stored.astype(int) - 500, 0, 2999)] / 65535
    np.testing.assert_allclose(read_mammogram(dicom_bytes(stored, **elements), window=None), expected, atol=1e-6)


def test_lut_of_65536_entries_says_0():
    stored = breast(bits=16)
    entries = np.arange(65536, dtype=np.uint16)
    item = lut_item(0, 16, entries)
    assert item.LUTDescriptor[0] == 0
    image = read_mammogram(dicom_bytes(stored, 16, VOILUTSequence=[item]))
    np.testing.assert_allclose(image, stored / 65535, atol=1e-6)


def test_windows_are_chosen_by_index_or_explanation():
    stored = breast()
    names = ["NORMAL", "HARDER", "SOFTER"]
    data = dicom_bytes(
        stored, WindowCenter=[2000, 2200, 1800], WindowWidth=[900, 500, 1500], WindowCenterWidthExplanation=names
    )
    mammogram = open_mammogram(data)
    for index, name in enumerate(names):
        image = mammogram.display(window=index)
        np.testing.assert_array_equal(mammogram.display(window=f" {name.lower()} "), image)
        np.testing.assert_allclose(image, pydicom_display(data, 0, 4095, index), atol=1e-6)


@pytest.mark.parametrize("window", [1, -1, "HARDER"])
def test_a_window_that_is_not_there_is_an_error(window):
    mammogram = open_mammogram(dicom_bytes(breast(), WindowCenter=2000, WindowWidth=900))
    with pytest.raises(NoSuchWindow, match="the file has"):
        mammogram.display(window=window)


def test_a_file_without_windows_has_its_full_range_at_index_0():
    stored = breast()
    for elements in ({}, {"WindowCenter": "", "WindowWidth": ""}, {"WindowCenter": 5}):
        data = dicom_bytes(stored, **elements)
        np.testing.assert_allclose(read_mammogram(data), stored / 4095, atol=1e-6)
        with pytest.raises(NoSuchWindow):
            read_mammogram(data, window=1)


def test_full_range_comes_from_the_header_not_from_the_pixels():
    dull = (breast() // 4 + 100).astype(np.uint16)
    np.testing.assert_allclose(read_mammogram(dicom_bytes(dull), window=None), dull / 4095, atol=1e-6)
    np.testing.assert_allclose(read_mammogram(dicom_bytes(dull, 14), window=None), dull / 16383, atol=1e-6)
    signed = breast(signed=True)
    np.testing.assert_allclose(read_mammogram(dicom_bytes(signed), window=None), (signed + 2048) / 4095, atol=1e-6)


@pytest.mark.parametrize(("function", "width"), [("LINEAR", 0.5), ("LINEAR_EXACT", 0), ("SIGMOID", -3)])
def test_a_window_of_no_width_is_an_error_only_where_it_is_used(function, width):
    data = dicom_bytes(breast(), WindowCenter=100, WindowWidth=width, VOILUTFunction=function)
    with pytest.raises(NoSuchWindow, match=r"\(0028,1051\)"):
        read_mammogram(data)
    assert read_mammogram(data, window=None).max() == 1.0


def test_linear_window_of_width_1_is_a_threshold():
    data = dicom_bytes(breast(), WindowCenter=1000, WindowWidth=1)
    np.testing.assert_array_equal(read_mammogram(data), (breast() > 999).astype(np.float32))


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"VOILUTFunction": "GAMMA"}, r"\(0028,1056\)"),
        ({"RescaleSlope": 0, "RescaleIntercept": 1}, r"\(0028,1053\)"),
        ({"VOILUTSequence": [lut_item(0, 20, np.arange(100))]}, r"\(0028,3002\)"),
    ],
)
def test_a_pipeline_that_means_nothing_is_refused(elements, message):
    with pytest.raises(CorruptHeader, match=message):
        open_mammogram(dicom_bytes(breast(), **elements))


def test_a_lut_with_too_few_entries_is_refused():
    item = lut_item(0, 12, np.arange(100))
    item.LUTDescriptor[0] = 200
    with pytest.raises(CorruptHeader, match="100 of 200 entries"):
        open_mammogram(dicom_bytes(breast(), VOILUTSequence=[item]))


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_small_values_are_bright_where_the_header_says_so_once_or_twice(photometric, shape, inverted):
    stored = breast()
    elements = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    image = read_mammogram(dicom_bytes(stored, **elements))
    np.testing.assert_allclose(image, 1 - stored / 4095 if inverted else stored / 4095, atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("value", "limit"), [(0, None), (3000, 3100), (3100, 3000), (4095, None)])
def test_padding_is_black_and_nothing_else_changes(photometric, value, limit):
    stored = breast()
    plain = read_mammogram(dicom_bytes(stored, PhotometricInterpretation=photometric))
    elements = {"PixelPaddingValue": value, "PixelPaddingRangeLimit": limit}
    image = read_mammogram(dicom_bytes(stored, PhotometricInterpretation=photometric, **elements))
    low, high = sorted((value, value if limit is None else limit))
    padding = (stored >= low) & (stored <= high)
    assert padding.any()
    assert not image[padding].any()
    np.testing.assert_array_equal(image[~padding], plain[~padding])


def test_padding_of_signed_pixels_may_be_written_unsigned():
    stored = breast(bits=16, signed=True)
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(stored, 16)))
    dataset.add_new("PixelPaddingValue", "US", 65536 - 32768)
    image = read_mammogram(dataset)
    np.testing.assert_array_equal(image[stored == -32768], 0)
    assert open_mammogram(dataset).grayscale.padding == (-32768, -32768)


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(8, 16),
    signed=st.booleans(),
    function=st.sampled_from(FUNCTIONS),
    center=st.floats(-1e5, 1e5),
    width=st.floats(1.5, 1e5),
    inverted=st.booleans(),
)
def test_any_window_stays_in_range_and_keeps_the_order(bits, signed, function, center, width, inverted):
    stored = breast(20, 20, bits, signed=signed)
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    elements = {"WindowCenter": f"{center:.8g}", "WindowWidth": f"{width:.8g}", "VOILUTFunction": function}
    image = read_mammogram(dicom_bytes(stored, bits, PhotometricInterpretation=photometric, **elements))
    assert image.dtype == np.float32
    assert 0.0 <= image.min() <= image.max() <= 1.0
    ordered = image.ravel()[np.argsort(stored, axis=None)]
    steps = np.diff(-ordered if inverted else ordered)
    assert (steps >= 0).all()
