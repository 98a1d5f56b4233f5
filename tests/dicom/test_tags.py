import ast
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from rsna.dicom import (
    ColourImage,
    CorruptHeader,
    MultiFrame,
    NotMammogram,
    TooLarge,
    UnsupportedPixels,
    open_mammogram,
)
from rsna.dicom.tags import NEEDED_TAGS
from tests.dicom_files import breast, code, dicom_bytes

FILES = sorted((Path(__file__).parents[2] / "rsna" / "dicom").glob("*.py"))
ELSEWHERE = {
    "AnatomicRegionModifierSequence", "CodeMeaning", "CodeValue", "Date", "FrameLaterality", "FrameType", "LUTData",
    "LUTDescriptor", "LUTExplanation", "MediaStorageSOPClassUID", "Time", "TransferSyntaxUID",
    "DoubleFloatPixelData", "FloatPixelData", "PixelData",
}  # fmt: skip
"""Keywords of items of sequences, of the file's meta information, of pixels, and halves of keywords."""


def tags_of(**elements):
    return open_mammogram(dicom_bytes(breast(20, 30), **elements)).tags


def test_the_header_as_plain_values():
    tags = tags_of(
        PatientID="10006",
        Manufacturer="ACME",
        ManufacturerModelName="Mammomat",
        StationName="RM1",
        InstitutionName="Site 2",
        PatientAge="063Y",
        PatientBirthDate="19550101",
        PatientSex="F",
        BreastImplantPresent="YES",
        ImagerPixelSpacing=[0.07, 0.08],
        ImageType=["ORIGINAL", "PRIMARY"],
        PresentationIntentType="FOR PRESENTATION",
    )
    assert (tags.patient_id, tags.sop_instance_uid, tags.modality) == ("10006", "1.2.3.4", "MG")
    assert (tags.manufacturer, tags.model, tags.station, tags.institution) == ("ACME", "Mammomat", "RM1", "Site 2")
    assert (tags.patient_birth_date, tags.patient_sex) == ("19550101", "F")
    assert (tags.patient_age, tags.implant, tags.pixel_spacing) == ("063Y", True, (0.07, 0.08))
    assert (tags.image_type, tags.presentation_intent) == (("ORIGINAL", "PRIMARY"), "FOR PRESENTATION")
    assert (tags.rows, tags.columns, tags.bits_allocated, tags.bits_stored, tags.signed) == (20, 30, 16, 12, False)
    assert (tags.photometric, tags.laterality, tags.view) == ("MONOCHROME2", "L", "CC")


def test_every_element_that_is_asked_for_is_read():
    """An element that NEEDED_TAGS lacks is stepped over in a file, and would be missing without a word."""
    constants = (node for file in FILES for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    words = {node.value for node in constants if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    asked = {word for word in words if word[:1].isupper() and tag_for_keyword(word)}
    missing = {word for word in asked - ELSEWHERE if tag_for_keyword(word) not in NEEDED_TAGS}
    assert not missing, f"add them to NEEDED_TAGS in rsna/dicom/tags.py: {sorted(missing)}"


def test_missing_text_is_empty():
    tags = tags_of(ImageLaterality=None, ViewPosition=None, PatientID=None, Modality=None)
    assert (tags.laterality, tags.view, tags.patient_id, tags.modality) == ("", "", "", "")
    assert tags.implant is None
    assert tags.pixel_spacing is None


@pytest.mark.parametrize(
    ("elements", "time"),
    [
        ({}, ""),
        ({"StudyDate": "20180305", "StudyTime": "101500.123", "ContentDate": "20221118"}, "20180305101500"),
        ({"StudyDate": "2018.03.05", "StudyTime": "10:15"}, "201803051015"),
        ({"StudyDate": "", "StudyTime": "10", "SeriesDate": "20180305"}, "20180305"),
        ({"StudyDate": "unknown", "AcquisitionDate": "20180305", "AcquisitionTime": "x"}, "20180305"),
        ({"ContentDate": "20221118", "ContentTime": "183901"}, "20221118183901"),
    ],
)
def test_the_time_of_an_exam_is_its_studys_or_what_stands_in_for_it(elements, time):
    assert tags_of(**elements).exam_time == time


@pytest.mark.parametrize(
    ("elements", "kind", "message"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, ColourImage, r"\(0028,0004\).* RGB"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, ColourImage, "PALETTE COLOR"),
        ({"PhotometricInterpretation": None}, CorruptHeader, r"\(0028,0004\).* missing"),
        ({"NumberOfFrames": 57, "PhotometricInterpretation": None}, MultiFrame, r"\(0028,0008\)"),
        ({"NumberOfFrames": 57}, MultiFrame, r"\(0028,0008\) Number of Frames is 57"),
        ({"ImageType": ["DERIVED", "PRIMARY", "LOCALIZER"]}, NotMammogram, r"\(0008,0008\)"),
        ({"BitsAllocated": 1, "BitsStored": 1}, UnsupportedPixels, r"\(0028,0100\)"),
        ({"BitsAllocated": 12}, UnsupportedPixels, r"\(0028,0100\)"),
        ({"BitsAllocated": 32, "BitsStored": 24}, UnsupportedPixels, r"\(0028,0101\)"),
        ({"BitsAllocated": 8, "BitsStored": 12}, CorruptHeader, "exceeds"),
        ({"Rows": 0}, CorruptHeader, r"\(0028,0010\) Rows is 0"),
        ({"Rows": None}, CorruptHeader, r"\(0028,0010\) Rows is missing"),
        ({"BitsStored": None}, CorruptHeader, r"\(0028,0101\) Bits Stored is missing"),
        ({"Rows": 65535, "Columns": 65535}, TooLarge, "65535"),
    ],
)
def test_what_is_no_mammogram_has_its_own_error(elements, kind, message):
    with pytest.raises(kind, match=message):
        tags_of(**elements)


OTHER_TYPES = [
    "LOCALIZER", "STEREO_SCOUT", "STEREO_MINUS", "STEREO_PLUS", "PREFIRE", "PREFIRE_MINUS", "POSTFIRE_PLUS",
    "POSTBIOPSY", "POSTMARKER_MINUS", "TOMO_PROJ", "TOMO_SCOUT", "TOMOSYNTHESIS", "TOMO", "HIGH_ENERGY",
    "RECOMBINED", "SUBTRACTION", "SUBTRACTED", "BIOPSY", "SCOUT",
]  # fmt: skip
TOMOSYNTHESIS = pydicom.uid.BreastTomosynthesisImageStorage
QUALITY = {"QualityControlImage": "YES"}


@pytest.mark.parametrize("value", OTHER_TYPES)
def test_one_frame_that_is_no_mammogram_is_told_by_its_image_type(value):
    plain = ["ORIGINAL", "PRIMARY", value]
    for types in (
        plain,
        ["DERIVED", "PRIMARY", "", value.lower()],
        ["", "", "", "", value],
        ["ORIGINAL", value],
        [value],
    ):
        with pytest.raises(NotMammogram, match=rf"\(0008,0008\) Image Type .* has {value}"):
            tags_of(ImageType=types)
    if not value.startswith("TOMO"):  # a scout that was generated is a scout
        with pytest.raises(NotMammogram):
            tags_of(ImageType=["DERIVED", "PRIMARY", value, "GENERATED_2D"])


@pytest.mark.parametrize(
    "text",
    [
        "L CC Tomosynthesis Projection",
        "R MLO Tomo Slices",
        "ROUTINE3D_PRJ_",
        "Stereo biopsy",
        "Specimen",
        "ACR phantom",
    ],
)
def test_a_series_that_is_called_as_what_is_no_mammogram_is_said(text):
    for keyword in ("SeriesDescription", "ProtocolName"):
        tags = tags_of(**{keyword: text})
        assert tags.kind == "2D"
        assert any("read as a mammogram by (0008,0008) Image Type, though" in note for note in tags.notes)
    for plain in ("L CC", "Customer 3", "Automotomo", "C-View Tomosynthesis"):
        assert not any("though" in note for note in tags_of(SeriesDescription=plain).notes)


def test_an_error_names_the_tag_that_says_it():
    frame_type = Dataset()
    frame_type.FrameType = ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "NONE"]
    groups = Dataset()
    groups.XRay3DFrameTypeSequence = [frame_type]
    with pytest.raises(NotMammogram, match=r"\(0008,9007\) Frame Type is DERIVED/PRIMARY/TOMOSYNTHESIS/NONE, which"):
        tags_of(SOPClassUID=TOMOSYNTHESIS, PerFrameFunctionalGroupsSequence=[groups])


def test_tomosynthesis_test_images_and_specimens_are_told_by_other_tags():
    specimen = Dataset()
    specimen.SpecimenIdentifier = "A"
    for elements, tag in (
        ({"SOPClassUID": TOMOSYNTHESIS}, r"\(0008,0016\)"),
        ({"SOPClassUID": TOMOSYNTHESIS, "ImageType": ["DERIVED", "PRIMARY"]}, r"\(0008,0016\)"),
        (QUALITY, r"\(0028,0300\)"),
        ({"SpecimenDescriptionSequence": [specimen]}, r"\(0040,0560\)"),
        ({"ViewPosition": None, "ViewCodeSequence": code("127457009")}, r"\(0054,0220\)"),
        ({"ViewPosition": None, "ViewCodeSequence": code("G-8310")}, r"\(0054,0220\)"),
    ):
        with pytest.raises(NotMammogram, match=tag):
            tags_of(**elements)
    assert tags_of(QualityControlImage="NO").kind == tags_of(QualityControlImage="BOTH").kind == "2D"


@pytest.mark.parametrize(
    ("elements", "kind"),
    [
        ({}, "2D"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "LOW_ENERGY"]}, "2D, low energy"),
        ({"ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]}, "generated 2D"),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "GENERATED_2D"]}, "generated 2D"),
        ({"PartialView": "YES"}, "2D, partial view"),
        ({"ViewModifierCodeSequence": code("R-102D6") + code("399055006")}, "2D, magnified, spot compression"),
        ({"ViewCodeSequence": code("399162004", ViewModifierCodeSequence=code("399209000"))}, "2D, implant displaced"),
    ],
)
def test_the_kind_says_what_a_view_is_beside_a_plain_one(elements, kind):
    tags = tags_of(**elements)
    assert (tags.kind, tags.notes) == (kind, ())


def test_a_magnified_or_spot_view_may_be_told_by_a_factor_or_by_a_text_which_is_noted():
    assert tags_of(EstimatedRadiographicMagnificationFactor="1.8").kind == "2D, magnified"
    assert tags_of(EstimatedRadiographicMagnificationFactor="1.07").kind == "2D"
    for text, kind in (("R CC SPOT MAG", "2D, magnified, spot compression"), ("L MLO Magnification", "2D, magnified")):
        for keyword in ("AcquisitionDeviceProcessingDescription", "SeriesDescription"):
            tags = tags_of(**{"ImageLaterality": None, "ViewPosition": None, keyword: text})
            assert tags.kind == kind
            assert sum(" view by (" in note for note in tags.notes) == kind.count(",")


@pytest.mark.parametrize(
    "text", ["R CC C-View", "L MLO CView", "S-View", "V-Preview MLO", "Synthesized 2D", "Insight 2D"]
)
def test_a_generated_view_may_be_told_by_its_series_which_is_noted(text):
    tags = tags_of(SeriesDescription=text)
    assert tags.kind == "generated 2D"
    assert "(0008,103E) Series Description" in tags.notes[0]
    assert tags_of(SeriesDescription="Screening view CC").kind == "2D"


def generated(**groups: dict[str, object]) -> dict[str, object]:
    """Elements of a generated view as enhanced images have them, in shared and per-frame functional groups."""
    sequences = {}
    for name, macros in groups.items():
        group = Dataset()
        for keyword, elements in macros.items():
            item = Dataset()
            for element, value in elements.items():
                setattr(item, element, value)
            setattr(group, keyword, [item])
        sequences[name] = [group]
    return {
        "SOPClassUID": TOMOSYNTHESIS, "ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"],
        "NumberOfFrames": 1, "ImageLaterality": None, "ViewPosition": None, **sequences,
    }  # fmt: skip


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "jpeg2000"])
@pytest.mark.parametrize("place", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_a_generated_view_of_tomosynthesis_is_read_from_its_functional_groups(syntax, place):
    window, rescaling = {"WindowCenter": 3000, "WindowWidth": 900}, {"RescaleSlope": 2, "RescaleIntercept": -5}
    groups = {
        "FrameVOILUTSequence": window,
        "PixelValueTransformationSequence": rescaling,
        "FrameAnatomySequence": {"FrameLaterality": "R"},
        "PixelMeasuresSequence": {"PixelSpacing": [0.1, 0.1]},
    }
    elements = generated(**{place: groups}) | {"ViewCodeSequence": code("399368009")}
    mammogram = open_mammogram(dicom_bytes(breast(), syntax=syntax, **elements))
    tags = mammogram.tags
    assert (tags.kind, tags.laterality, tags.view, tags.pixel_spacing) == ("generated 2D", "R", "MLO", (0.1, 0.1))
    assert mammogram.notes == ()
    expected = open_mammogram(dicom_bytes(breast(), syntax=syntax, **window, **rescaling)).display()
    np.testing.assert_array_equal(mammogram.display(), expected)


def test_the_frames_own_group_stands_before_the_shared_one():
    elements = generated(
        SharedFunctionalGroupsSequence={"FrameAnatomySequence": {"FrameLaterality": "L"}},
        PerFrameFunctionalGroupsSequence={"FrameAnatomySequence": {"FrameLaterality": "R"}},
    )
    assert tags_of(**elements).laterality == "R"
    assert tags_of(**elements | {"ImageLaterality": "L"}).laterality == "L"


def test_a_frame_type_says_as_much_as_an_image_type():
    frame = {"PerFrameFunctionalGroupsSequence": {"XRay3DFrameTypeSequence": {
        "FrameType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]}}}  # fmt: skip
    assert tags_of(**generated(**frame) | {"ImageType": ["DERIVED", "PRIMARY"]}).kind == "generated 2D"
    with pytest.raises(NotMammogram):
        tags_of(**generated(**frame) | {"ImageType": ["DERIVED", "PRIMARY", "PREFIRE"]})


@pytest.mark.parametrize(
    ("elements", "spacing", "note"),
    [
        ({"ImagerPixelSpacing": [0.07, 0.08], "PixelSpacing": [1, 1]}, (0.07, 0.08), ""),
        ({"PixelSpacing": [0.1, 0.2]}, (0.1, 0.2), ""),
        ({"DetectorElementSpacing": [0.3, 0.3], "PixelSpacing": [0.1, 0.1]}, (0.3, 0.3), ""),
        ({"ImagerPixelSpacing": [0, 0], "PixelSpacing": [0.1, 0.1]}, (0.1, 0.1), r"\(0018,1164\) .*: \(0028,0030\)"),
        (
            {"ImagerPixelSpacing": [0.1], "DetectorElementSpacing": [0.2, 0.2]},
            (0.2, 0.2),
            r"\(0018,1164\) .* \(0018,7022\)",
        ),
        ({"ImagerPixelSpacing": [-1, 70]}, None, "the spacing is not known"),
        ({}, None, ""),
    ],
)
def test_a_spacing_that_is_none_gives_way_to_the_next(elements, spacing, note):
    tags = tags_of(**elements)
    assert tags.pixel_spacing == spacing
    assert re.search(note, "".join(tags.notes))
    assert len(tags.notes) == bool(note)


@pytest.mark.parametrize(
    ("text", "spacing"), [(b"0,07\\0,07 ", (0.07, 0.07)), (b"unknown   ", None), (b"0.07\\\\\\\\0 ", None)]
)
def test_a_spacing_as_text_is_read_or_missing(text, spacing):
    data = dicom_bytes(breast(20, 30), ImagerPixelSpacing=["0.07", "0.070"])
    assert data.count(b"0.07\\0.070") == 1
    tags = open_mammogram(data.replace(b"0.07\\0.070", text)).tags
    assert tags.pixel_spacing == spacing
    assert any("(0018,1164) Imager Pixel Spacing" in note for note in tags.notes)


DATES = {"PatientBirthDate": "19500615", "StudyDate": "20200614"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("elements", "age", "noted"),
    [
        ({"PatientAge": "061Y", **DATES}, "061Y", False),
        ({"PatientAge": "61 y", **DATES}, "61Y", False),
        (DATES, "069Y", True),
        ({**DATES, "StudyDate": "20200615"}, "070Y", True),
        ({"PatientAge": "old", **DATES}, "069Y", True),
        ({"PatientAge": "old"}, "old", False),
        ({**DATES, "PatientBirthDate": "1950.06.15"}, "069Y", True),
        ({**DATES, "PatientBirthDate": "19000101"}, "", False),
        ({**DATES, "PatientBirthDate": "20210101"}, "", False),
        ({**DATES, "PatientBirthDate": "19501315"}, "", False),
    ],
)
def test_an_age_that_is_missing_is_the_time_between_two_dates(elements, age, noted):
    tags = tags_of(**elements)
    assert tags.patient_age == age
    assert any("(0010,0030) Patient's Birth Date" in note for note in tags.notes) == noted


@pytest.mark.parametrize(
    ("shape", "photometric"), [("INVERSE", "MONOCHROME1"), ("IDENTITY", "MONOCHROME2"), (None, None), ("LIN OD", None)]
)
@pytest.mark.parametrize("said", [None, "", "MONOCHROME", "GREY"])
def test_a_missing_photometric_interpretation_is_not_colour_and_never_guessed(said, shape, photometric):
    elements = {"PhotometricInterpretation": said, "PresentationLUTShape": shape}
    if photometric is None:
        with pytest.raises(CorruptHeader, match=r"\(0028,0004\) Photometric Interpretation"):
            tags_of(**elements)
    else:
        tags = tags_of(**elements)
        assert tags.photometric == photometric
        assert "(2050,0020) Presentation LUT Shape" in tags.notes[0]
    with pytest.raises(ColourImage):
        tags_of(**elements, SamplesPerPixel=3)


def test_a_missing_sign_is_a_guess_that_is_said_and_a_third_one_an_error():
    tags = tags_of(PixelRepresentation=None)
    assert not tags.signed
    assert tags.notes == ("(0028,0103) Pixel Representation is missing: read as unsigned",)
    with pytest.raises(CorruptHeader, match=r"\(0028,0103\)"):
        tags_of(PixelRepresentation=2)


def test_one_frame_is_no_multi_frame():
    assert tags_of(NumberOfFrames=1).rows == 20


def test_a_number_that_is_none_names_its_tag():
    data = dicom_bytes(breast(20, 30), NumberOfFrames="12")
    with pytest.raises(CorruptHeader, match=r"\(0028,0008\) Number of Frames"):
        open_mammogram(data.replace(b"IS\x02\x0012", b"IS\x02\x001A"))


def test_stored_range_follows_bits_and_sign():
    assert tags_of().stored_range == (0, 4095)
    signed = open_mammogram(dicom_bytes(breast(20, 30, bits=10, signed=True), 10)).tags
    assert signed.stored_range == (-512, 511)
