"""The grayscale pipeline against pydicom's, which works on whole images in float64."""

import io
import re

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from rsna.dicom import NoSuchWindow, open_mammogram, read_mammogram
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


def shown_with(notes: tuple[str, ...], **elements: object):
    """The image as it is displayed, after each of `notes` was logged with the file's name, and nothing else."""
    mammogram = open_mammogram(dicom_bytes(breast(), **elements))
    assert len(mammogram.notes) == len(notes)
    for said, expected in zip(mammogram.notes, notes, strict=True):
        assert re.search(expected, said), said
    return mammogram.display()


NO_WIDTH = [("LINEAR", 0.5), ("LINEAR_EXACT", 0), ("SIGMOID", -3)]
FULL = "no window can be applied: the image is shown as one that has none"


@pytest.mark.parametrize(("function", "width"), NO_WIDTH)
def test_a_window_of_no_width_gives_way_to_the_next_and_the_last_to_the_full_range(function, width):
    elements = {"WindowCenter": [100, 2000], "WindowWidth": [width, 900], "VOILUTFunction": function}
    expected = read_mammogram(dicom_bytes(breast(), WindowCenter=2000, WindowWidth=900, VOILUTFunction=function))
    narrow = r"\(0028,1051\) Window Width \S+ is too narrow for VOI LUT Function"
    np.testing.assert_array_equal(shown_with((narrow,), **elements), expected)
    elements = {"WindowCenter": 100, "WindowWidth": width, "VOILUTFunction": function}
    np.testing.assert_allclose(shown_with((narrow, FULL), **elements), breast() / 4095, atol=1e-6)


@pytest.mark.parametrize(("function", "width"), NO_WIDTH)
def test_a_window_that_cannot_be_applied_is_an_error_where_it_is_asked_for(function, width):
    names = ["GOOD", "BAD"]
    elements = {"WindowCenter": [2000, 100], "WindowWidth": [900, width], "WindowCenterWidthExplanation": names}
    data = dicom_bytes(breast(), VOILUTFunction=function, **elements)
    for window in (1, "BAD"):
        with pytest.raises(NoSuchWindow, match=r"\(0028,1051\)"):
            read_mammogram(data, window=window)
    np.testing.assert_array_equal(read_mammogram(data, window="good"), read_mammogram(data))
    # The index of a window is its place in the file, whatever stands before it.
    data = dicom_bytes(breast(), WindowCenter=[100, 1000, 2000], WindowWidth=[0, 500, 900])
    for index, (center, width) in enumerate([(1000, 500), (2000, 900)], start=1):
        expected = read_mammogram(dicom_bytes(breast(), WindowCenter=center, WindowWidth=width))
        np.testing.assert_array_equal(read_mammogram(data, window=index), expected)


def test_what_was_passed_over_is_logged_once_with_the_file(caplog, tmp_path):
    path = tmp_path / "narrow.dcm"
    path.write_bytes(dicom_bytes(breast(), WindowCenter=[100, 2000], WindowWidth=[0, 900]))
    mammogram = open_mammogram(path)
    assert not caplog.records
    mammogram.display()
    mammogram.display(window=None)
    assert [record.message for record in caplog.records] == [f"{path}: {mammogram.notes[0]}"]


def raw_element(data: bytes, vr: bytes, value: bytes, new: bytes) -> bytes:
    """The file with another value, which pydicom would not write, of the same length."""
    assert len(value) == len(new)
    assert data.count(vr + len(value).to_bytes(2, "little") + value) == 1
    return data.replace(vr + len(value).to_bytes(2, "little") + value, vr + len(value).to_bytes(2, "little") + new)


@pytest.mark.parametrize(
    ("center", "width"), [(b"2048,0", b"900.00"), (b"2048  ", b" 900,0"), (b"2048\0\0", b"900\0\0\0")]
)
def test_a_window_with_commas_blanks_or_nuls_is_read(center, width):
    data = dicom_bytes(breast(), WindowCenter="1111.1", WindowWidth="2222.2")
    data = raw_element(raw_element(data, b"DS", b"1111.1", center), b"DS", b"2222.2", width)
    mammogram = open_mammogram(data)
    expected = read_mammogram(dicom_bytes(breast(), WindowCenter=2048, WindowWidth=900))
    np.testing.assert_array_equal(mammogram.display(), expected)
    commas = [note for note in mammogram.notes if "the comma is read as a point" in note]
    assert len(commas) == len(mammogram.notes) == (b"," in center) + (b"," in width)


@pytest.mark.parametrize("center", [b"high  ", b"      ", b"nan   ", b"1e300 ", b"a\\b   "])
def test_a_window_that_is_no_number_leaves_the_full_range(center):
    data = raw_element(dicom_bytes(breast(), WindowCenter="1111.1", WindowWidth=900), b"DS", b"1111.1", center)
    mammogram = open_mammogram(data)
    np.testing.assert_allclose(mammogram.display(), breast() / 4095, atol=1e-6)
    assert mammogram.notes[-1] == FULL
    assert "(0028,1050) Window Center" in mammogram.notes[0]


def test_of_windows_without_partners_the_whole_ones_are_read():
    expected = read_mammogram(dicom_bytes(breast(), WindowCenter=2000, WindowWidth=900))
    for elements in (
        {"WindowCenter": [2000, 1000], "WindowWidth": 900},
        {"WindowCenter": 2000, "WindowWidth": [900, 5]},
    ):
        np.testing.assert_array_equal(shown_with(("is no window: it is passed over",), **elements), expected)


@pytest.mark.parametrize(("center", "width"), [(-5000, 900), (90000, 900), (5000, 1)])
def test_a_window_beside_the_stored_range_is_passed_over(center, width):
    image = shown_with(("shows every value alike", FULL), WindowCenter=center, WindowWidth=width)
    np.testing.assert_allclose(image, breast() / 4095, atol=1e-6)
    window = {"WindowCenter": [center, 2000], "WindowWidth": [width, 900]}
    expected = read_mammogram(dicom_bytes(breast(), WindowCenter=2000, WindowWidth=900))
    np.testing.assert_array_equal(shown_with(("shows every value alike",), **window), expected)


def test_linear_window_of_width_1_is_a_threshold():
    data = dicom_bytes(breast(), WindowCenter=1000, WindowWidth=1)
    np.testing.assert_array_equal(read_mammogram(data), (breast() > 999).astype(np.float32))


def too_short() -> Dataset:
    item = lut_item(0, 12, np.arange(100))
    item.LUTDescriptor[0] = 200
    return item


def without_data() -> Dataset:
    item = lut_item(0, 12, np.arange(100))
    del item.LUTData
    return item


BROKEN_LUTS = {
    "20 bits": lut_item(0, 20, np.arange(100)),
    "no bits": lut_item(0, 0, np.arange(100)),
    "too short": too_short(),
    "without data": without_data(),
    "an empty item": Dataset(),
    "black": lut_item(0, 12, np.zeros(4096)),
}
WINDOW = {"WindowCenter": 2000, "WindowWidth": 900}


@pytest.mark.parametrize("broken", BROKEN_LUTS)
def test_a_broken_voi_lut_gives_way_to_the_next_and_the_last_to_a_window(broken):
    item, good = BROKEN_LUTS[broken], lut_item(0, 12, np.arange(4096)[::-1].copy(), "REVERSED")
    passed_over = r"an item of \(0028,3010\) VOI LUT Sequence .*: it is passed over"
    for luts in ([item, good], [good, item]):
        image = shown_with((passed_over,), VOILUTSequence=luts, **WINDOW)
        np.testing.assert_allclose(image, 1 - breast() / 4095, atol=1e-6)
    data = dicom_bytes(breast(), VOILUTSequence=[item, good])
    np.testing.assert_array_equal(read_mammogram(data, window=1), read_mammogram(data, window="reversed"))
    image = shown_with((passed_over,), VOILUTSequence=[item], **WINDOW)
    np.testing.assert_array_equal(image, read_mammogram(dicom_bytes(breast(), **WINDOW)))
    image = shown_with((passed_over, FULL), VOILUTSequence=[item])
    np.testing.assert_allclose(image, breast() / 4095, atol=1e-6)


def test_a_lut_sequence_without_items_or_that_is_none_says_nothing():
    expected = read_mammogram(dicom_bytes(breast(), **WINDOW))
    for keyword in ("VOILUTSequence", "ModalityLUTSequence"):
        np.testing.assert_array_equal(shown_with((), **{keyword: []}, **WINDOW), expected)
        dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(breast(), **WINDOW)))
        dataset.add_new(keyword, "LO", "none")
        np.testing.assert_array_equal(read_mammogram(dataset), expected)


@pytest.mark.parametrize("broken", BROKEN_LUTS)
def test_without_its_modality_lut_no_window_means_anything_unless_the_item_is_empty(broken):
    item = BROKEN_LUTS[broken]
    mammogram = open_mammogram(dicom_bytes(breast(), ModalityLUTSequence=[item], **WINDOW))
    if broken == "an empty item":
        np.testing.assert_array_equal(mammogram.display(), read_mammogram(dicom_bytes(breast(), **WINDOW)))
    else:
        np.testing.assert_allclose(mammogram.display(), breast() / 4095, atol=1e-6)
        assert mammogram.notes[0].endswith(": it is passed over")
        assert "what it means depends on (0028,3000) Modality LUT Sequence" in mammogram.notes[1]
        assert mammogram.notes[2] == FULL
        rescaling = {"RescaleSlope": 2, "RescaleIntercept": -5}
        image = read_mammogram(dicom_bytes(breast(), ModalityLUTSequence=[item], **rescaling, **WINDOW))
        np.testing.assert_array_equal(image, read_mammogram(dicom_bytes(breast(), **rescaling, **WINDOW)))


@pytest.mark.parametrize(
    ("elements", "tag"),
    [
        ({"RescaleSlope": 0, "RescaleIntercept": 1}, r"\(0028,1053\)"),
        ({"RescaleSlope": 2}, r"\(0028,1053\)"),
        ({"RescaleIntercept": -5}, r"\(0028,1052\)"),
    ],
)
def test_a_rescaling_that_means_nothing_is_none(elements, tag):
    image = shown_with((tag + ".*values are not rescaled",), **elements, **WINDOW)
    np.testing.assert_array_equal(image, read_mammogram(dicom_bytes(breast(), **WINDOW)))


def test_a_function_that_nobody_knows_is_linear():
    for said, function in (("GAMMA", "LINEAR"), ("linear exact", "LINEAR_EXACT"), (" sigmoid", "SIGMOID")):
        notes = (r"\(0028,1056\) VOI LUT Function is 'GAMMA', read as LINEAR",) if said == "GAMMA" else ()
        image = shown_with(notes, VOILUTFunction=said, **WINDOW)
        expected = read_mammogram(dicom_bytes(breast(), VOILUTFunction=function, **WINDOW))
        np.testing.assert_array_equal(image, expected)


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
    contradiction = shape is not None and (shape == "INVERSE") != (photometric == "MONOCHROME1")
    assert len(open_mammogram(dicom_bytes(stored, **elements)).notes) == contradiction


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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", ["none", "0,5", "1e99"])
def test_padding_that_is_no_value_is_none_and_half_a_range_its_value(text):
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(breast(), PixelPaddingRangeLimit=3100)))
    dataset.add_new("PixelPaddingValue", "LO", text)
    mammogram = open_mammogram(dataset)
    assert mammogram.grayscale.padding is None
    assert "(0028,0120) Pixel Padding Value" in mammogram.notes[-1]
    dataset.add_new("PixelPaddingRangeLimit", "LO", text)
    dataset.add_new("PixelPaddingValue", "LO", " 3000")
    assert open_mammogram(dataset).grayscale.padding == (3000, 3000)


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


RAW = {"PresentationIntentType": "FOR PROCESSING"}
RAW_CLASS = {"PresentationIntentType": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1"}


@pytest.mark.parametrize("raw", [RAW, RAW_CLASS], ids=["intent", "SOP class"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("relationship", ["LIN", "LOG"])
def test_raw_images_show_dense_tissue_bright_whatever_their_photometric_interpretation(raw, photometric, relationship):
    dense_high = breast()
    elements = {**raw, "PhotometricInterpretation": photometric, "PixelIntensityRelationship": relationship}
    for sign, stored in ((1, 4095 - dense_high), (-1, dense_high)):
        mammogram = open_mammogram(dicom_bytes(stored, PixelIntensityRelationshipSign=sign, **elements))
        np.testing.assert_allclose(mammogram.display(), dense_high / 4095, atol=1e-6)
        said = any("(0028,1041)" in note for note in mammogram.notes)
        assert said == ((sign == 1) != (photometric == "MONOCHROME1"))


@pytest.mark.parametrize("pipeline", [
    {"RescaleSlope": -1, "RescaleIntercept": 4095},
    {"WindowCenter": 2048, "WindowWidth": 4096},
    {"ModalityLUTSequence": [lut_item(0, 12, np.arange(4096)[::-1].copy())]},
    {"VOILUTSequence": [lut_item(0, 12, np.arange(4096)[::-1].copy())]},
])  # fmt: skip
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_what_turns_raw_values_over_on_the_way_is_turned_back(pipeline, signed):
    stored = 4095 - breast()
    if signed:
        pipeline = {"WindowCenter": 0, "WindowWidth": 4096}
        stored = (stored.astype(int) - 2048).astype(np.int16)
    data = dicom_bytes(stored, PixelIntensityRelationshipSign=1, **RAW, **pipeline)
    np.testing.assert_allclose(read_mammogram(data), breast() / 4095, atol=3e-4)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_sign_is_no_presentation(sign, photometric):
    """PS3.3 C.8.11.3.1.2: what is FOR PRESENTATION says itself how it is meant."""
    for intent in ("FOR PRESENTATION", None):
        elements = {"PhotometricInterpretation": photometric, "PresentationIntentType": intent}
        plain = read_mammogram(dicom_bytes(breast(), **elements))
        data = dicom_bytes(breast(), PixelIntensityRelationshipSign=sign, **elements)
        np.testing.assert_array_equal(read_mammogram(data), plain)


@pytest.mark.parametrize("sign", [None, 0, 7])
def test_raw_images_that_do_not_say_whether_air_is_bright_are_noted(sign):
    mammogram = open_mammogram(dicom_bytes(breast(), PixelIntensityRelationshipSign=sign, **RAW))
    np.testing.assert_allclose(mammogram.display(), breast() / 4095, atol=1e-6)
    assert any("FOR PROCESSING" in note and "MONOCHROME2" in note for note in mammogram.notes)
