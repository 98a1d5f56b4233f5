"""Rows about headers as vendors write them: what stands in for what, and one frame that is no mammogram."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import BreastTomosynthesisImageStorage

from rsna import dicom
from rsna.dicom import open_mammogram
from tests.dicom.rows import refuse, row
from tests.dicom_files import breast, code, dicom_bytes, lut_item

FULL = (breast() / 4095).astype(np.float32)
WINDOW = {"WindowCenter": 2000, "WindowWidth": 900}
WINDOWED = open_mammogram(dicom_bytes(breast(), **WINDOW)).display()


def check(expected: np.ndarray, note: str, **elements: object) -> None:
    """The image is displayed so, and a note names the tag."""
    mammogram = open_mammogram(dicom_bytes(breast(), **elements))
    np.testing.assert_allclose(mammogram.display(), expected, atol=1e-6)
    assert any(note in said for said in mammogram.notes)


def check_tag(name: str, value: object, note: str, **elements: object) -> None:
    elements = {"ImageLaterality": None, "ViewPosition": None} | elements
    tags = open_mammogram(dicom_bytes(breast(), **elements)).tags
    assert getattr(tags, name) == value
    assert any(note in said for said in tags.notes) == bool(note)


@row("a window that cannot be applied")
def _():
    for center, width in (("100", "0"), ("100", "-3"), ("99999", "5")):
        check(FULL, "(0028,1051)", WindowCenter=center, WindowWidth=width)
        check(WINDOWED, "(0028,1051)", WindowCenter=[center, 2000], WindowWidth=[width, 900])


@row("a VOI LUT that cannot be applied")
def _():
    for item in (Dataset(), lut_item(0, 20, np.arange(100)), lut_item(0, 12, np.zeros(4096))):
        check(WINDOWED, "LUT", VOILUTSequence=[item], **WINDOW)
        check(FULL, "LUT", VOILUTSequence=[item, lut_item(0, 12, np.arange(4096))], **WINDOW)


@row("a window or a look-up table that shows next to nothing")
def _():
    lut = {"VOILUTSequence": [lut_item(0, 16, np.arange(4096, dtype=np.uint16))]}
    for elements in ({"WindowCenter": 2048, "WindowWidth": 1}, {"WindowCenter": 40, "WindowWidth": 400}, lut):
        mammogram = open_mammogram(dicom_bytes(breast(), **elements))
        assert len(mammogram.notes) == 1
        assert mammogram.display().max() > 0


@row("a Modality LUT that cannot be applied")
def _():
    check(WINDOWED, "(0028,3000)", ModalityLUTSequence=[Dataset()], **WINDOW)
    check(FULL, "(0028,3000)", ModalityLUTSequence=[lut_item(0, 20, np.arange(100))], **WINDOW)


@row("a VOI LUT Function that nobody knows")
def _():
    check(WINDOWED, "(0028,1056)", VOILUTFunction="GAMMA", **WINDOW)


@row("Rescale Slope or Intercept that is 0, no number, or alone")
def _():
    check(WINDOWED, "(0028,1053)", RescaleSlope=0, RescaleIntercept=3, **WINDOW)
    check(WINDOWED, "(0028,1053)", RescaleSlope=2, **WINDOW)


@row("numbers with a comma, blanks or NULs")
def _():
    data = dicom_bytes(breast(), WindowCenter="1111.1", WindowWidth="900")
    for text in (b"2000,0", b" 2000 ", b"2000\0\0"):
        mammogram = open_mammogram(data.replace(b"1111.1", text))
        np.testing.assert_array_equal(mammogram.display(), WINDOWED)
        assert any("the comma is read as a point" in note for note in mammogram.notes) == (b"," in text)


@row("Photometric Interpretation missing")
def _():
    for shape, expected in (("IDENTITY", FULL), ("INVERSE", 1 - FULL)):
        mammogram = open_mammogram(dicom_bytes(breast(), PhotometricInterpretation=None, PresentationLUTShape=shape))
        np.testing.assert_allclose(mammogram.display(), expected, atol=1e-6)
        assert "(0028,0004)" in mammogram.notes[0]
    refuse(dicom.CorruptHeader, dicom_bytes(breast(), PhotometricInterpretation=None))


@row("an element twice")
def _():
    data = dicom_bytes(breast(), ViewPosition="CC")
    view = b"\x18\0\x01\x51CS\2\0CC"
    tags = open_mammogram(data.replace(view, view + view[:-2] + b"ML")).tags
    assert tags.view == "ML"
    assert "(0018,5101)" in tags.notes[0]


@row("a character set that is none")
def _():
    data = dicom_bytes(breast(), SpecificCharacterSet="ISO_IR 100", PatientID="Müller")
    mammogram = open_mammogram(data.replace(b"ISO_IR 100", b"\0ISO\0\0\0\0\0\0"))
    assert mammogram.tags.patient_id == "Müller"
    assert "(0008,0005)" in mammogram.notes[0]


@row("Image Laterality")
def _():
    check_tag("laterality", "R", "", ImageLaterality="R")
    check_tag("laterality", "R", "", Laterality="R")
    check_tag("laterality", "L", "", AnatomicRegionSequence=code("80248007"))
    check_tag("laterality", "R", "(0020,0060) Laterality 'R', as (0020,0062)", ImageLaterality="U", Laterality="R")
    check_tag("laterality", "R", "(0018,5101) View Position 'RCC'", ViewPosition="RCC")
    check_tag("laterality", "L", "stands, though (0018,5101)", ImageLaterality="L", ViewPosition="RCC")


@row("View Position")
def _():
    check_tag("view", "MLO", "", ViewPosition="MLO")
    check_tag("view", "MLO", "", ViewCodeSequence=code("399368009"))
    check_tag("view", "MLO", "(0018,1400)", AcquisitionDeviceProcessingDescription="R MLO")
    check_tag("view", "CC", "(0008,103E)", SeriesDescription="L-CC")
    check_tag("view", "CC", "stands, though (0054,0220)", ViewPosition="CC", ViewCodeSequence=code("399368009"))


@row("Imager Pixel Spacing")
def _():
    check_tag("pixel_spacing", (0.1, 0.1), "", ImagerPixelSpacing=[0.1, 0.1])
    check_tag("pixel_spacing", (0.1, 0.1), "(0018,7022)", ImagerPixelSpacing=0, DetectorElementSpacing=[0.1, 0.1])
    check_tag("pixel_spacing", None, "not known", ImagerPixelSpacing=0)


@row("Patient's Age")
def _():
    check_tag("patient_age", "061Y", "", PatientAge="061Y")
    check_tag("patient_age", "070Y", "(0010,0030)", PatientBirthDate="19500615", StudyDate="20200615")


@row("Padding value that is none, a range limit without a value")
def _():
    data = dicom_bytes(breast(), PixelPaddingValue=7)
    mammogram = open_mammogram(data.replace(b"\x28\0\x20\x01US\2\0\7\0", b"\x28\0\x20\x01SH\2\0no"))
    np.testing.assert_allclose(mammogram.display(), FULL, atol=1e-6)
    assert "(0028,0120)" in mammogram.notes[0]


@row("generated 2D view, one frame")
def _():
    voi, group = Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth = 2000, 900
    group.FrameVOILUTSequence = [voi]
    data = dicom_bytes(
        breast(),
        SOPClassUID=BreastTomosynthesisImageStorage,
        ImageType=["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"],
        SharedFunctionalGroupsSequence=[group],
    )
    mammogram = open_mammogram(data)
    assert mammogram.tags.kind == "generated 2D"
    np.testing.assert_array_equal(mammogram.display(), WINDOWED)


@row("slice or projection of tomosynthesis, one frame")
def _():
    refuse(dicom.NotMammogram, dicom_bytes(breast(), SOPClassUID=BreastTomosynthesisImageStorage))
    for value in ("TOMOSYNTHESIS", "TOMO_PROJ", "TOMO_SCOUT"):
        refuse(dicom.NotMammogram, dicom_bytes(breast(), ImageType=["ORIGINAL", "PRIMARY", value]))


@row("scout or control image of a biopsy, specimen")
def _():
    for value in ("STEREO_SCOUT", "PREFIRE_MINUS", "POSTFIRE", "POSTBIOPSY", "POSTMARKER_PLUS"):
        refuse(dicom.NotMammogram, dicom_bytes(breast(), ImageType=["ORIGINAL", "PRIMARY", value]))
    refuse(dicom.NotMammogram, dicom_bytes(breast(), ViewPosition=None, ViewCodeSequence=code("127457009")))


@row("recombined or high-energy image with contrast medium")
def _():
    for value in ("SUBTRACTION", "RECOMBINED", "HIGH_ENERGY"):
        refuse(dicom.NotMammogram, dicom_bytes(breast(), ImageType=["DERIVED", "PRIMARY", "POST_CONTRAST", value]))


@row("Quality Control Image YES")
def _():
    refuse(dicom.NotMammogram, dicom_bytes(breast(), QualityControlImage="YES"))


@row("magnified, spot, implant displaced or partial view")
def _():
    modifiers = code("399163009") + code("399055006")
    check_tag("kind", "2D, magnified, spot compression, partial view", "", PartialView="YES",
              ViewCodeSequence=code("399162004", ViewModifierCodeSequence=modifiers))  # fmt: skip
