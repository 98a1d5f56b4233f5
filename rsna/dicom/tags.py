"""The header of a mammogram as plain values: what tables, audits and decoders ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from pydicom.tag import BaseTag

from rsna.dicom.elements import Elements, label, number, shown
from rsna.dicom.errors import (
    ColourImage,
    CorruptHeader,
    MultiFrame,
    NotMammogram,
    TooLarge,
    UnsupportedPixels,
)
from rsna.dicom.views import read_laterality, read_modifiers, read_view

NEEDED_TAGS: list[BaseTag | int] = [
    0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x00080030,
    0x00080031, 0x00080032, 0x00080033, 0x00080060, 0x00080068, 0x00080070, 0x00080080, 0x00081010, 0x0008103E,
    0x00081090, 0x00082218, 0x00100020, 0x00100021, 0x00100030, 0x00100040, 0x00101010, 0x00181030, 0x00181114,
    0x00181164, 0x00181400, 0x00185101, 0x00187022, 0x0020000D, 0x0020000E, 0x00200060, 0x00200062, 0x00280002,
    0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103,
    0x00280120, 0x00280121, 0x00280300, 0x00281041, 0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281055,
    0x00281056, 0x00281300, 0x00281350, 0x00282110, 0x00283000, 0x00283010, 0x00400560, 0x00540220, 0x00540222,
    0x20500020, 0x52009229, 0x52009230,
]  # fmt: skip
"""Everything that is read from a header; other elements are stepped over."""


_TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
# Beginnings of Image Type values. Recombined and high-energy images of contrast mammography show iodine, not tissue; a
# low-energy image is a mammogram.
_OTHER_TYPES = (
    "LOCALIZER", "SCOUT", "STEREO", "BIOPSY", "PREFIRE", "POSTFIRE", "POSTBIOPSY", "POSTMARKER", "TOMO_SCOUT",
    "TOMO_PROJ", "HIGH_ENERGY", "RECOMBINED", "SUBTRACT", "ADDITION", "SPECIMEN",
)  # fmt: skip
_PARTICULARS = {"LOW_ENERGY": "low energy", "PRE_CONTRAST": "before contrast", "POST_CONTRAST": "after contrast"}
_PARTICULAR_WORDS = {r"MAG(N\w*)?": "magnified", "SPOT": "spot compression"}
_MAGNIFIED = 1.3
"""(0018,1114) Estimated Radiographic Magnification Factor of a view on a stand; on the detector it is 1.0 to 1.1."""
# What machines call a view that is generated from tomosynthesis, where its Image Type does not say so.
_GENERATED = re.compile(
    r"\b(C-?VIEW|S-VIEW|V-PREVIEW|INTELLIGENT ?2D|INSIGHT ?2D|GENERATED ?2D|SYNTH(ETIC|ESI[SZ]ED))\b", re.IGNORECASE
)
# What a series is called whose images are slices, projections, scouts or tests, where their Image Type does not say so.
_DOUBTFUL = re.compile(
    r"(?<![A-Z])(TOMO(?=S|[ _-]|$)\w*|DBT|ROUTINE3D\w*|STEREO\w*|BIOPS\w*|SPECIMEN|PHANTOM|FLAT ?FIELD|SCOUT)",
    re.IGNORECASE,
)
_FOR_PROCESSING = ("1.2.840.10008.5.1.4.1.1.1.2.1", "1.2.840.10008.5.1.4.1.1.1.1.1")
"""SOP classes of mammograms and other digital X-ray images."""
_COLOURS = ("RGB", "YBR", "PALETTE", "HSV", "ARGB", "CMYK", "XYB")
SHAPES = {"IDENTITY": "MONOCHROME2", "INVERSE": "MONOCHROME1"}
"""(2050,0020) Presentation LUT Shape → the (0028,0004) Photometric Interpretation that goes with it in mammography."""
_COARSEST = 10.0
"""mm between pixels beyond which a spacing is none."""
_OLDEST = 110
"""Years beyond which a date of birth is a stand-in, such as 1900."""
NO_DATE = r"(\d)\1{7}|(0\d{3}|1[0-8]\d\d|19[0-4]\d)0101|19700101|18581117|18991230|0000.*|9999.*"
"""YYYYMMDD that anonymisers and programs write for no date: zeros, ones, the first of a calendar."""


@dataclass(frozen=True)
class Tags:
    """The header of one mammogram. Text that the file does not carry is "", numbers are None."""

    patient_id: str
    """(0010,0020)"""
    study_instance_uid: str
    """(0020,000D)"""
    series_instance_uid: str
    """(0020,000E)"""
    sop_instance_uid: str
    """(0008,0018)"""
    sop_class_uid: str
    """(0008,0016), or (0002,0002) where the data set lacks it"""
    modality: str
    """(0008,0060)"""
    presentation_intent: str
    """(0008,0068): FOR PRESENTATION or FOR PROCESSING"""
    image_type: tuple[str, ...]
    """(0008,0008)"""
    kind: str
    """"2D" or "generated 2D" (from tomosynthesis), then what makes it other than a plain view: ", magnified" """
    laterality: str
    """"L" or "R", see `rsna.dicom.views.read_laterality`"""
    view: str
    """CC, MLO, ML, …, see `rsna.dicom.views.read_view`"""
    patient_age: str
    """(0010,1010), as "063Y"; where it cannot be read, the years between (0010,0030) and (0008,0020)"""
    patient_id_issuer: str
    """(0010,0021) Issuer of Patient ID, within which an ID is one patient's"""
    patient_birth_date: str
    """(0010,0030)"""
    patient_sex: str
    """(0010,0040)"""
    exam_time: str
    """(0008,0020) Study Date and (0008,0030) Study Time as digits, 20180305141500, or as much of it as there is; else
    those of Series, Acquisition or Content"""
    manufacturer: str
    """(0008,0070)"""
    model: str
    """(0008,1090)"""
    station: str
    """(0008,1010)"""
    institution: str
    """(0008,0080)"""
    implant: bool | None
    """(0028,1300) Breast Implant Present"""
    transfer_syntax: str
    """(0002,0010), as labelled; the codestream may be another"""
    rows: int
    """(0028,0010)"""
    columns: int
    """(0028,0011)"""
    bits_allocated: int
    """(0028,0100): 8, 16 or 32"""
    bits_stored: int
    """(0028,0101): 2 to 16"""
    high_bit: int
    """(0028,0102), else Bits Stored − 1"""
    signed: bool
    """(0028,0103) Pixel Representation"""
    photometric: str
    """(0028,0004): MONOCHROME1 or MONOCHROME2"""
    lossy: bool
    """(0028,2110) Lossy Image Compression: whether a codec has ever lost detail, whatever the pixels are in now"""
    embedded_overlay: bool
    """Whether bits of the pixels beside the stored ones hold an overlay"""
    pixel_spacing: tuple[float, float] | None
    """mm between rows, between columns: (0018,1164) Imager Pixel Spacing, else (0018,7022), else (0028,0030)"""
    notes: tuple[str, ...]
    """What had to be interpreted, and what contradicts what was chosen."""

    @property
    def machine(self) -> str:
        """Manufacturer and model, by which machines are told apart everywhere; "" where neither is said."""
        return f"{self.manufacturer} {self.model}".strip()

    @property
    def for_processing(self) -> bool:
        """Raw data, which the machine has not made for reading."""
        return (self.presentation_intent or self.sop_class_uid) in ("FOR PROCESSING", *_FOR_PROCESSING)

    @property
    def stored_range(self) -> tuple[int, int]:
        """The least and the greatest stored value that the header allows."""
        if self.signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1


def read_tags(elements: Elements, transfer_syntax: str, max_pixels: int) -> Tags:
    """Check that the header describes one grayscale frame, and take its values out.

    Only what pixels need can be an error; whatever else is unreadable is taken from elsewhere, or missing, and noted.

    Raises:
        ColourImage, MultiFrame, NotMammogram, UnsupportedPixels, TooLarge, CorruptHeader
    """
    frames = elements.count("NumberOfFrames", default=1)
    if frames > 1:
        raise MultiFrame(f"(0028,0008) Number of Frames is {frames}")
    tags = Tags(
        # A backslash separates values, and has no place in an id: whoever wrote one there meant one id.
        patient_id="\\".join(map(str, elements.values("PatientID"))),
        study_instance_uid=elements.text("StudyInstanceUID"),
        series_instance_uid=elements.text("SeriesInstanceUID"),
        sop_instance_uid=elements.text("SOPInstanceUID"),
        sop_class_uid=elements.text("SOPClassUID") or elements.text("MediaStorageSOPClassUID"),
        modality=elements.text("Modality"),
        presentation_intent=elements.text("PresentationIntentType").upper(),
        image_type=tuple(str(value).upper() for value in elements.values("ImageType")),
        kind=_kind(elements),
        laterality=read_laterality(elements),
        view=read_view(elements),
        patient_age=_age(elements),
        patient_id_issuer=elements.text("IssuerOfPatientID"),
        patient_birth_date=elements.text("PatientBirthDate"),
        patient_sex=elements.text("PatientSex").upper(),
        exam_time=_exam_time(elements),
        manufacturer=elements.text("Manufacturer"),
        model=elements.text("ManufacturerModelName"),
        station=elements.text("StationName"),
        institution=elements.text("InstitutionName"),
        implant={"YES": True, "NO": False}.get(elements.text("BreastImplantPresent").upper()),
        transfer_syntax=transfer_syntax,
        rows=elements.count("Rows"),
        columns=elements.count("Columns"),
        bits_allocated=elements.count("BitsAllocated"),
        bits_stored=(bits_stored := elements.count("BitsStored")),
        high_bit=_high_bit(elements, bits_stored),
        signed=_signed(elements),
        photometric=_photometric(elements),
        lossy=elements.text("LossyImageCompression") == "01",
        embedded_overlay=elements.has_embedded_overlay(),
        pixel_spacing=_spacing(elements),
        notes=elements.take_notes(),
    )
    _check(tags, elements, max_pixels)
    return tags


def _check(tags: Tags, elements: Elements, max_pixels: int) -> None:
    _check_kind(tags, elements)
    if tags.bits_allocated not in (8, 16, 32) or not 2 <= tags.bits_stored <= 16:
        raise UnsupportedPixels(
            f"(0028,0100) Bits Allocated is {tags.bits_allocated}, (0028,0101) Bits Stored {tags.bits_stored}"
        )
    if tags.bits_stored > tags.bits_allocated:
        raise CorruptHeader(
            f"(0028,0101) Bits Stored {tags.bits_stored} exceeds (0028,0100) Bits Allocated {tags.bits_allocated}"
        )
    if tags.rows < 1 or tags.columns < 1:
        raise CorruptHeader(f"(0028,0010) Rows is {tags.rows}, (0028,0011) Columns {tags.columns}")
    if tags.rows * tags.columns > max_pixels:
        raise TooLarge(f"(0028,0010) Rows {tags.rows} × (0028,0011) Columns {tags.columns} exceeds {max_pixels:,}")


def _signed(elements: Elements) -> bool:
    if not elements.values("PixelRepresentation"):
        elements.note("(0028,0103) Pixel Representation is missing: read as unsigned")
    signed = elements.count("PixelRepresentation", default=0)
    if signed not in (0, 1):
        raise CorruptHeader(f"(0028,0103) Pixel Representation is {signed}, neither 0 nor 1")
    return bool(signed)


def _high_bit(elements: Elements, stored: int) -> int:
    value = (elements.numbers("HighBit") or [stored - 1])[0]
    if value is None or value != int(value):
        elements.note(f"{label('HighBit')} is {shown(elements.values('HighBit'))}, read as {stored - 1}")
        return stored - 1
    return int(value)


def _photometric(elements: Elements) -> str:
    """MONOCHROME1 or MONOCHROME2. Where the header does not say, (2050,0020) Presentation LUT Shape does: in
    mammography the two always go together (PS3.3 C.8.11.3.1.2). A guess would turn every second such image over.
    """
    said = elements.text("PhotometricInterpretation").upper()
    samples = number(elements.text("SamplesPerPixel") or 1)
    if (samples or 1) > 1 or said.startswith(_COLOURS):
        raise ColourImage(
            f"(0028,0002) Samples per Pixel is {elements.text('SamplesPerPixel') or 'missing'}, "
            f"(0028,0004) Photometric Interpretation {said or 'missing'}"
        )
    if said in ("MONOCHROME1", "MONOCHROME2"):
        return said
    what = f"(0028,0004) Photometric Interpretation is {shown([said]) if said else 'missing'}"
    shape = elements.text("PresentationLUTShape").upper()
    if shape not in SHAPES:
        raise CorruptHeader(f"{what}, and nothing else says whether small values are dark or bright")
    elements.note(f"{what}: read as {SHAPES[shape]}, as (2050,0020) Presentation LUT Shape is {shape}")
    return SHAPES[shape]


def _kind(elements: Elements) -> str:
    """2D or generated 2D, and what else a view is beside a plain one."""
    said = {str(value).upper() for keyword in ("ImageType", "FrameType") for value in elements.values(keyword)}
    generated = "GENERATED_2D" in said
    if not generated and (named := _GENERATED.search(elements.text("SeriesDescription"))):
        generated = True
        elements.note(f"a generated 2D view by (0008,103E) Series Description, which says {shown([named[0]])}")
    for keyword in ("SeriesDescription", "ProtocolName"):
        if not generated and (named := _DOUBTFUL.search(elements.text(keyword))):
            elements.note(
                f"read as a mammogram by (0008,0008) Image Type, though {label(keyword)} says {shown([named[0]])}"
            )
    particulars = [*read_modifiers(elements)]
    if any(factor and factor > _MAGNIFIED for factor in elements.numbers("EstimatedRadiographicMagnificationFactor")):
        particulars.append("magnified")
    for keyword in ("ViewPosition", "AcquisitionDeviceProcessingDescription", "SeriesDescription"):
        for word, name in _PARTICULAR_WORDS.items():
            if name not in particulars and re.search(rf"\b{word}\b", elements.text(keyword).upper()):
                particulars.append(name)
                elements.note(f"a {name} view by {label(keyword)}, which is {shown([elements.text(keyword)])}")
    particulars += [name for value, name in _PARTICULARS.items() if value in said]
    if elements.text("PartialView").upper() == "YES":
        particulars.append("partial view")
    return ", ".join(["generated 2D" if generated else "2D", *dict.fromkeys(particulars)])


def _check_kind(tags: Tags, elements: Elements) -> None:
    """PS3.3 C.8.11.7.1.4 and C.8.21.6.1.1: values 3 to 5 of Image Type say what is no mammogram, and so they do where
    the first two, which say other things, are missing."""
    types = {tag: [str(value).upper() for value in elements.values(tag)] for tag in ("ImageType", "FrameType")}
    generated = "GENERATED_2D" in {*types["ImageType"], *types["FrameType"]}
    for tag, values in types.items():
        for value in values:
            if value.startswith(_OTHER_TYPES) or (value.startswith("TOMO") and not generated):
                raise NotMammogram(f"{label(tag)} is {'/'.join(values)}, which has {value}")
    if tags.sop_class_uid == _TOMOSYNTHESIS and not generated:
        raise NotMammogram(
            "(0008,0016) SOP Class is Breast Tomosynthesis Image, and (0008,0008) Image Type has no GENERATED_2D"
        )
    if elements.text("QualityControlImage").upper() == "YES":
        raise NotMammogram("(0028,0300) Quality Control Image is YES")
    if tags.view == "SPECIMEN" or any(map(len, elements.items("SpecimenDescriptionSequence"))):
        raise NotMammogram("(0054,0220) View Code or (0040,0560) Specimen Description says that it shows a specimen")


def _age(elements: Elements) -> str:
    """(0010,1010), else from the dates of birth and of the study."""
    said = elements.text("PatientAge")
    if re.fullmatch(r"\d{1,3} ?[DWMYdwmy]", said):
        return said.upper().replace(" ", "")
    born, seen = (_date(elements.text(keyword)) for keyword in ("PatientBirthDate", "StudyDate"))
    if born is None or seen is None:
        return said
    years = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    if not 0 < years <= _OLDEST:
        return said
    elements.note(
        f"the age is that between (0010,0030) Patient's Birth Date and (0008,0020) Study Date, as (0010,1010) "
        f"Patient's Age is {shown([said]) if said else 'missing'}"
    )
    return f"{years:03}Y"


def _date(text: str) -> date | None:
    """YYYYMMDD, also with the points that ACR-NEMA put between (PS3.5 6.2)."""
    match = re.fullmatch(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})", text)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def _spacing(elements: Elements) -> tuple[float, float] | None:
    unusable = ""
    for keyword in ("ImagerPixelSpacing", "DetectorElementSpacing", "PixelSpacing"):
        values = [value for value in elements.numbers(keyword) if value is not None and 0 < value < _COARSEST]
        if len(values) == 2:
            if unusable:
                elements.note(f"{unusable}: {label(keyword)} is read")
            return values[0], values[1]
        if said := elements.values(keyword):
            unusable = unusable or f"{label(keyword)} is {shown(said)}"
    if unusable:
        elements.note(f"{unusable}: the spacing is not known")
    return None


def _exam_time(elements: Elements) -> str:
    for what in ("Study", "Series", "Acquisition", "Content"):
        if day := _date(elements.text(f"{what}Date")):
            if re.fullmatch(NO_DATE, day.isoformat().replace("-", "")):
                elements.note(f"{label(f'{what}Date')} is {shown([elements.text(f'{what}Date')])}, taken for none")
                continue
            # Times were written with colons before DICOM 3.0, and readers shall take them (PS3.5 6.2).
            time = elements.text(f"{what}Time").replace(":", "").partition(".")[0]
            return f"{day:%Y%m%d}{time if time.isdecimal() else ''}"
    return ""
