"""The header of a mammogram as plain values: what tables, audits and decoders ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from rsna.dicom.errors import (
    ColourImage,
    CorruptHeader,
    Localizer,
    MultiFrame,
    TooLarge,
    UnsupportedPixels,
)

# (0054,0220) View Code Sequence → (0018,5101) View Position: PS3.16 CID 4014, SNOMED CT and, as older machines
# write it, SNOMED RT.
_VIEW_CODES = {
    "399162004": "CC", "R-10242": "CC",
    "399368009": "MLO", "R-10226": "MLO",
    "399260004": "ML", "R-10224": "ML",
    "399352003": "LM", "R-10228": "LM",
    "399099002": "LMO", "R-10230": "LMO",
    "399196006": "FB", "R-10244": "FB",
    "399188001": "SIO", "R-102D0": "SIO",
    "441555000": "ISO",
    "399192008": "XCCL", "R-1024A": "XCCL",
    "399101009": "XCCM", "R-1024B": "XCCM",
}  # fmt: skip

NEEDED_TAGS: list[BaseTag | int] = [
    0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x00080068, 0x00080070, 0x00080080, 0x00081010,
    0x00081090, 0x00100020, 0x00101010, 0x00181164, 0x00185101, 0x0020000D, 0x0020000E, 0x00200060, 0x00200062,
    0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x00280101, 0x00280102,
    0x00280103, 0x00280120, 0x00280121, 0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281055, 0x00281056,
    0x00281300, 0x00283000, 0x00283010, 0x00540220, 0x20500020,
]  # fmt: skip
"""Everything that is read from a header; other elements are stepped over."""


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
    laterality: str
    """"L" or "R": (0020,0062) Image Laterality, else (0020,0060) Laterality"""
    view: str
    """(0018,5101) View Position, else (0054,0220) View Code Sequence: CC, MLO, ML, …"""
    patient_age: str
    """(0010,1010), as "063Y\""""
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
    signed: bool
    """(0028,0103) Pixel Representation"""
    photometric: str
    """(0028,0004): MONOCHROME1 or MONOCHROME2"""
    pixel_spacing: tuple[float, float] | None
    """mm between rows, between columns: (0018,1164) Imager Pixel Spacing, else (0028,0030)"""

    @property
    def stored_range(self) -> tuple[int, int]:
        """The least and the greatest stored value that the header allows."""
        if self.signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1


def read_tags(dataset: Dataset, transfer_syntax: str, max_pixels: int) -> Tags:
    """Check that the header describes one grayscale frame, and take its values out.

    Raises:
        ColourImage, MultiFrame, Localizer, UnsupportedPixels, TooLarge, CorruptHeader
    """
    image_type = tuple(str(value).upper() for value in values_of(dataset, "ImageType"))
    tags = Tags(
        patient_id=_text(dataset, "PatientID"),
        study_instance_uid=_text(dataset, "StudyInstanceUID"),
        series_instance_uid=_text(dataset, "SeriesInstanceUID"),
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        sop_class_uid=_text(dataset, "SOPClassUID"),
        modality=_text(dataset, "Modality"),
        presentation_intent=_text(dataset, "PresentationIntentType").upper(),
        image_type=image_type,
        laterality=(_text(dataset, "ImageLaterality") or _text(dataset, "Laterality")).upper()[:1],
        view=_view(dataset),
        patient_age=_text(dataset, "PatientAge"),
        manufacturer=_text(dataset, "Manufacturer"),
        model=_text(dataset, "ManufacturerModelName"),
        station=_text(dataset, "StationName"),
        institution=_text(dataset, "InstitutionName"),
        implant={"YES": True, "NO": False}.get(_text(dataset, "BreastImplantPresent").upper()),
        transfer_syntax=transfer_syntax,
        rows=_count(dataset, "Rows"),
        columns=_count(dataset, "Columns"),
        bits_allocated=_count(dataset, "BitsAllocated"),
        bits_stored=_count(dataset, "BitsStored"),
        signed=bool(_count(dataset, "PixelRepresentation", default=0)),
        photometric=_text(dataset, "PhotometricInterpretation").upper(),
        pixel_spacing=_spacing(dataset),
    )
    _check(tags, dataset, max_pixels)
    return tags


def _check(tags: Tags, dataset: Dataset, max_pixels: int) -> None:
    samples = _count(dataset, "SamplesPerPixel", default=1)
    if samples != 1 or tags.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ColourImage(
            f"(0028,0002) Samples per Pixel is {samples}, "
            f"(0028,0004) Photometric Interpretation {tags.photometric or 'missing'}"
        )
    frames = _count(dataset, "NumberOfFrames", default=1)
    if frames > 1:
        raise MultiFrame(f"(0028,0008) Number of Frames is {frames}")
    if "LOCALIZER" in tags.image_type[2:]:
        raise Localizer(f"(0008,0008) Image Type is {'/'.join(tags.image_type)}")
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


def label(keyword: str) -> str:
    """An element as errors name it: "(0028,0010) Rows"."""
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {dictionary_description(tag)}"


def values_of(dataset: Dataset, keyword: str) -> list[Any]:
    """An element's values as a list, empty where the element is missing or has none.

    Raises:
        CorruptHeader: the element cannot be read.
    """
    try:
        value = dataset.get(keyword)
    except RecursionError:
        raise
    except Exception as error:
        raise CorruptHeader(f"{label(keyword)} cannot be read: {error}") from error
    if value is None or (isinstance(value, str) and not value.strip("\0 ")):
        return []
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _text(dataset: Dataset, keyword: str) -> str:
    values = values_of(dataset, keyword)
    return str(values[0]).strip("\0 ") if values else ""


def _count(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    values = values_of(dataset, keyword)
    if not values and default is not None:
        return default
    try:
        return int(values[0])
    except (IndexError, TypeError, ValueError):
        raise CorruptHeader(f"{label(keyword)} is {values[0] if values else 'missing'}") from None


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        values = values_of(dataset, keyword)
        if len(values) == 2:
            return float(values[0]), float(values[1])
    return None


def _view(dataset: Dataset) -> str:
    if position := _text(dataset, "ViewPosition").upper():
        return position
    for item in dataset.get("ViewCodeSequence") or ():
        if view := _VIEW_CODES.get(_text(item, "CodeValue")):
            return view
    return ""
