import pytest
from pydicom.dataset import Dataset

from rsna.dicom import (
    ColourImage,
    CorruptHeader,
    Localizer,
    MultiFrame,
    TooLarge,
    UnsupportedPixels,
    open_mammogram,
)
from tests.dicom_files import breast, dicom_bytes


def tags_of(**elements):
    return open_mammogram(dicom_bytes(breast(20, 30), **elements)).tags


def view_code(value: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "SCT"
    return [item]


def test_the_header_as_plain_values():
    tags = tags_of(
        PatientID="10006",
        Manufacturer="ACME",
        ManufacturerModelName="Mammomat",
        StationName="RM1",
        InstitutionName="Site 2",
        PatientAge="063Y",
        BreastImplantPresent="YES",
        ImagerPixelSpacing=[0.07, 0.08],
        ImageType=["ORIGINAL", "PRIMARY"],
        PresentationIntentType="FOR PRESENTATION",
    )
    assert (tags.patient_id, tags.sop_instance_uid, tags.modality) == ("10006", "1.2.3.4", "MG")
    assert (tags.manufacturer, tags.model, tags.station, tags.institution) == ("ACME", "Mammomat", "RM1", "Site 2")
    assert (tags.patient_age, tags.implant, tags.pixel_spacing) == ("063Y", True, (0.07, 0.08))
    assert (tags.image_type, tags.presentation_intent) == (("ORIGINAL", "PRIMARY"), "FOR PRESENTATION")
    assert (tags.rows, tags.columns, tags.bits_allocated, tags.bits_stored, tags.signed) == (20, 30, 16, 12, False)
    assert (tags.photometric, tags.laterality, tags.view) == ("MONOCHROME2", "L", "CC")


def test_missing_text_is_empty():
    tags = tags_of(ImageLaterality=None, ViewPosition=None, PatientID=None, Modality=None)
    assert (tags.laterality, tags.view, tags.patient_id, tags.modality) == ("", "", "", "")
    assert tags.implant is None
    assert tags.pixel_spacing is None


@pytest.mark.parametrize(
    ("elements", "laterality"),
    [
        ({"ImageLaterality": "R", "Laterality": "L"}, "R"),
        ({"ImageLaterality": None, "Laterality": "R"}, "R"),
        ({"ImageLaterality": "", "Laterality": "R"}, "R"),
    ],
)
def test_laterality_comes_from_the_image_before_the_series(elements, laterality):
    assert tags_of(**elements).laterality == laterality


@pytest.mark.parametrize(
    ("code", "view"), [("399162004", "CC"), ("R-10242", "CC"), ("399368009", "MLO"), ("R-10226", "MLO"), ("?", "")]
)
def test_view_comes_from_its_code_where_there_is_no_position(code, view):
    assert tags_of(ViewPosition=None, ViewCodeSequence=view_code(code)).view == view
    assert tags_of(ViewPosition="ML", ViewCodeSequence=view_code(code)).view == "ML"


@pytest.mark.parametrize(
    ("elements", "kind", "message"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, ColourImage, r"\(0028,0004\).* RGB"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, ColourImage, "PALETTE COLOR"),
        ({"PhotometricInterpretation": None}, ColourImage, "missing"),
        ({"NumberOfFrames": 57}, MultiFrame, r"\(0028,0008\) Number of Frames is 57"),
        ({"ImageType": ["DERIVED", "PRIMARY", "LOCALIZER"]}, Localizer, r"\(0008,0008\)"),
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
