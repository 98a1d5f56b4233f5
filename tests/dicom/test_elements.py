"""Whatever pixels do not need costs no image, however it is written."""

import io
import struct

import numpy as np
import pydicom
import pytest
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from rsna.dicom import open_mammogram
from rsna.dicom.elements import Elements, items_of, number, shown, values_of
from rsna.dicom.tags import NEEDED_TAGS
from tests.dicom_files import breast, dicom_bytes

PIXELS_NEED = {
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation",
}  # fmt: skip
NEEDLESS = sorted({keyword_for_tag(tag) for tag in NEEDED_TAGS} - PIXELS_NEED)
VALUES = {
    "empty": (b"LO", b""),
    "NULs": (b"LO", b"\0\0\0\0"),
    "spaces": (b"LO", b"    "),
    "text": (b"LO", b"unknown "),
    "several": (b"LO", b"a\\\\b\\\xff\\"),
    "a comma": (b"DS", b"0,07\\0,07 "),
    "no number": (b"DS", b"nan\\inf\\1e400"),
    "out of range": (b"DS", b"-1e300"),
    "half a number": (b"US", b"\1"),
    "other bytes": (b"OB", b"\xff\xfe\0\1"),
    "an empty item": (b"SQ", b"\xfe\xff\0\xe0\0\0\0\0"),
    "no item": (b"SQ", b""),
    "an item that is none": (b"SQ", b"\xfe\xff\0\xe0\xff\0\0\0ab"),
    "a codec": (b"CS", b"undefined "),
}


def with_element(data: bytes, keyword: str, vr: bytes, value: bytes) -> bytes:
    """The file with an element before all others."""
    tag = pydicom.datadict.tag_for_keyword(keyword)
    long = vr in (b"OB", b"SQ")
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    head += struct.pack("<HI" if long else "<H", *((0,) if long else ()), len(value))
    start = 144 + int.from_bytes(data[140:144], "little")
    return data[:start] + head + value + data[start:]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("keyword", NEEDLESS)
def test_no_value_of_what_pixels_do_not_need_costs_the_image(keyword):
    window = {} if keyword in ("WindowCenter", "WindowWidth") else {"WindowCenter": 2000, "WindowWidth": 900}
    data = dicom_bytes(breast(9, 7), ImageLaterality=None, ViewPosition=None, **window)
    expected = open_mammogram(data).display()
    for vr, value in VALUES.values():
        broken = with_element(data, keyword, vr, value)
        np.testing.assert_array_equal(open_mammogram(broken).display(), expected)
        if keyword != "SpecificCharacterSet":  # with which pydicom itself cannot read some of them
            np.testing.assert_array_equal(open_mammogram(pydicom.dcmread(io.BytesIO(broken))).display(), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("vr", VALUES)
def test_a_data_set_is_named_by_its_uid_whatever_stands_there(vr):
    dataset = pydicom.dcmread(
        io.BytesIO(with_element(dicom_bytes(breast(9, 7), SOPInstanceUID=None), "SOPInstanceUID", *VALUES[vr]))
    )
    np.testing.assert_array_equal(open_mammogram(dataset).decode(), breast(9, 7))


@pytest.mark.parametrize(
    ("text", "value"),
    [("2048", 2048), (" 1.5\0", 1.5), ("2048,0", 2048), ("0,07", 0.07), ("-1,5e3", -1500), ("1e3", 1000),
     ("", None), ("unknown", None), ("1,000,000", None), ("1,000.5", None), ("1_000", None), ("nan", None),
     ("inf", None), ("1e13", None), ("0x10", None)],
)  # fmt: skip
def test_a_number_is_read_as_vendors_write_it(text, value):
    assert number(text) == value


def test_values_are_text_without_padding_and_items_are_data_sets():
    dataset = Dataset()
    dataset.add_new("PatientID", "LO", "77\0 ")
    dataset.add_new("ImageType", "CS", ["A", "", "B "])
    dataset.add_new("ViewCodeSequence", "LO", "CC")
    dataset.VOILUTSequence = [Dataset()]
    assert values_of(dataset, "PatientID") == ["77"]
    assert values_of(dataset, "ImageType") == ["A", "", "B"]
    assert values_of(dataset, "StudyDate") == []
    assert items_of(dataset, "ViewCodeSequence") == []
    assert items_of(dataset, "VOILUTSequence") == [Dataset()]


def test_a_note_shows_values_in_quotes_on_one_short_line():
    assert shown(["0,07", "0,07"]) == "'0,07\\0,07'"
    assert shown(["a\nb\0'", 5]) == "'a\\nb\\x00’\\5'"
    assert len(shown(["x" * 99])) == 42


CHARACTER_SETS = [
    b"",
    b"\0\0\0\0",
    b"\0ISO",
    b"ISO\0IR 100",
    b"x\\\0\0y",
    b"nonsense",
    b"rot13 ",
    b"undefined ",
    b"utf_16",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*CHARACTER_SETS, b"ISO_IR 100", b"ISO_IR 192", b"\\ISO 2022 IR 87", b"GB18030 "])
def test_whatever_the_character_set_two_patients_stay_two(name):
    ids = []
    for patient in (b"M\xfcller", b"M\xf6ller"):
        data = with_element(dicom_bytes(breast(8, 8), PatientID=None), "PatientID", b"LO", patient)
        data = with_element(data, "SpecificCharacterSet", b"CS", name)
        mammogram = open_mammogram(data)
        np.testing.assert_array_equal(mammogram.decode(), breast(8, 8))
        ids.append(mammogram.tags.patient_id)
        unknown = name in CHARACTER_SETS and name.strip(b"\0")
        assert any("(0008,0005)" in note for note in mammogram.notes) == bool(unknown)
    assert len(set(ids)) == 2
    assert "\ufffd" not in "".join(ids)


@pytest.mark.filterwarnings("ignore")
def test_a_character_set_of_an_item_costs_no_image():
    element = struct.pack("<HH2sH", 0x0008, 0x0005, b"CS", 4) + b"\0A\0 "
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + element + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    sequence = (
        struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )
    data = dicom_bytes(breast(8, 8), PatientID="Müller", SpecificCharacterSet="ISO_IR 100")
    start = 144 + int.from_bytes(data[140:144], "little")
    mammogram = open_mammogram(data[:start] + sequence + data[start:])
    np.testing.assert_array_equal(mammogram.decode(), breast(8, 8))
    assert mammogram.tags.patient_id == "Müller"
    assert "(0008,0005)" in mammogram.notes[0]


@pytest.mark.parametrize(("first", "second", "view"), [(b"CC", b"MLO ", "MLO"), (b"CC", b"", ""), (b"", b"ML", "ML")])
def test_of_two_elements_with_one_tag_the_latter_is_read_which_is_noted(first, second, view):
    data = with_element(dicom_bytes(breast(8, 8), ViewPosition=None), "ViewPosition", b"CS", second)
    tags = open_mammogram(with_element(data, "ViewPosition", b"CS", first)).tags
    assert tags.view == view
    assert tags.notes == ("(0018,5101) View Position stands there twice: the latter is read",)


def test_text_of_a_known_character_set_is_read_by_it():
    for name, patient in (("ISO_IR 100", "Müller"), ("ISO_IR 192", "Müller 山田"), ("GB18030", "王小东")):
        assert open_mammogram(
            dicom_bytes(breast(8, 8), PatientID=patient, SpecificCharacterSet=name)
        ).tags.patient_id == (patient)


def test_an_id_with_a_backslash_is_one_id():
    ids = {open_mammogram(dicom_bytes(breast(8, 8), PatientID=[first, "1"])).tags.patient_id for first in "AB"}
    assert ids == {"A\\1", "B\\1"}


def test_the_first_frames_functional_groups_stand_behind_the_data_set():
    macro, group, shared = Dataset(), Dataset(), Dataset()
    macro.WindowCenter, macro.WindowWidth = 5, 6
    group.FrameVOILUTSequence = [macro]
    macro = Dataset()
    macro.WindowCenter, macro.FrameLaterality = 7, "R"
    shared.FrameVOILUTSequence = [macro]
    dataset = Dataset()
    dataset.PerFrameFunctionalGroupsSequence = [group, shared]
    dataset.SharedFunctionalGroupsSequence = [shared]
    elements = Elements(dataset)
    assert (elements.values("WindowCenter"), elements.values("WindowWidth")) == ([5], [6])
    assert elements.text("FrameLaterality") == "R"
    dataset.WindowCenter = 1
    assert elements.values("WindowCenter") == [1]
