"""What can be wrong with coded pixels; `rsna.dicom.errors` holds the rest."""

from __future__ import annotations

from typing import ClassVar


class DicomError(ValueError):
    """A file that cannot become pixels.

    `where` names the file (set by the function that opened it), `what` the tag or marker and what is wrong
    with it, `remedy` what a person can do.
    """

    remedy: ClassVar[str] = "Leave the file out, or get it again from its source."

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.where = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}. {self.remedy}"


class Truncated(DicomError):
    """The file ends before its pixels do."""

    remedy = "Copy the file again from its source; half an image is never returned."


class CorruptPixels(DicomError):
    """The codestream cannot be decoded, or is not what the header says."""


class UnsupportedSyntax(DicomError):
    """A transfer syntax that holds no still grayscale image (video, JPIP), or an unknown one."""

    remedy = "Convert the file to Explicit VR Little Endian or JPEG 2000 with the software that wrote it."


class UnsupportedPixels(DicomError):
    """Pixels that no mammography machine writes: floats, more than 16 bits, 1 bit."""

    remedy = "Convert the image to 8 to 16 bits a pixel."
