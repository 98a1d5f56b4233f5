"""One DICOM file → pixels, faithfully and fast.

Each name is imported when it is first used: a box or an error needs neither pydicom nor a decoder.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from rsna.lazy import lazy_names as _lazy_names

if _TYPE_CHECKING:
    from rsna.dicom.errors import ColourImage as ColourImage
    from rsna.dicom.errors import CorruptHeader as CorruptHeader
    from rsna.dicom.errors import CorruptPixels as CorruptPixels
    from rsna.dicom.errors import DicomError as DicomError
    from rsna.dicom.errors import MultiFrame as MultiFrame
    from rsna.dicom.errors import NoPixels as NoPixels
    from rsna.dicom.errors import NoSuchLevel as NoSuchLevel
    from rsna.dicom.errors import NoSuchWindow as NoSuchWindow
    from rsna.dicom.errors import NotDicom as NotDicom
    from rsna.dicom.errors import NotMammogram as NotMammogram
    from rsna.dicom.errors import TooLarge as TooLarge
    from rsna.dicom.errors import Truncated as Truncated
    from rsna.dicom.errors import UnsupportedPixels as UnsupportedPixels
    from rsna.dicom.errors import UnsupportedSyntax as UnsupportedSyntax
    from rsna.dicom.file import MAX_PIXELS as MAX_PIXELS
    from rsna.dicom.file import Mammogram as Mammogram
    from rsna.dicom.file import open_mammogram as open_mammogram
    from rsna.dicom.file import read_mammogram as read_mammogram
    from rsna.dicom.tags import Tags as Tags

__all__ = [
    "MAX_PIXELS",
    "ColourImage",
    "CorruptHeader",
    "CorruptPixels",
    "DicomError",
    "Mammogram",
    "MultiFrame",
    "NoPixels",
    "NoSuchLevel",
    "NoSuchWindow",
    "NotDicom",
    "NotMammogram",
    "Tags",
    "TooLarge",
    "Truncated",
    "UnsupportedPixels",
    "UnsupportedSyntax",
    "open_mammogram",
    "read_mammogram",
]

_FILE = ("MAX_PIXELS", "Mammogram", "open_mammogram", "read_mammogram")
__getattr__, __dir__ = _lazy_names(
    globals(),
    dict.fromkeys(__all__, "rsna.dicom.errors") | dict.fromkeys(_FILE, "rsna.dicom.file") | {"Tags": "rsna.dicom.tags"},
)
