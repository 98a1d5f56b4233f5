"""One DICOM file → pixels, faithfully and fast."""

from rsna.dicom.errors import (
    ColourImage,
    CorruptHeader,
    CorruptPixels,
    DicomError,
    Localizer,
    MultiFrame,
    NoPixels,
    NoSuchLevel,
    NoSuchWindow,
    NotDicom,
    TooLarge,
    Truncated,
    UnsupportedPixels,
    UnsupportedSyntax,
)
from rsna.dicom.file import MAX_PIXELS, Mammogram, open_mammogram, read_mammogram
from rsna.dicom.tags import Tags

__all__ = [
    "MAX_PIXELS",
    "ColourImage",
    "CorruptHeader",
    "CorruptPixels",
    "DicomError",
    "Localizer",
    "Mammogram",
    "MultiFrame",
    "NoPixels",
    "NoSuchLevel",
    "NoSuchWindow",
    "NotDicom",
    "Tags",
    "TooLarge",
    "Truncated",
    "UnsupportedPixels",
    "UnsupportedSyntax",
    "open_mammogram",
    "read_mammogram",
]
