"""What can be wrong with a file: one class for each, all of them `DicomError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


class NotDicom(DicomError):
    """Neither the DICM prefix of PS3.10 7.1 nor a data set without one."""

    remedy = "Give a DICOM file; PNG and JPEG images belong in a table of converted images."


class NoPixels(DicomError):
    """A data set without (7FE0,0010) Pixel Data: a report, a DICOMDIR, a presentation state."""

    remedy = "Leave the file out: it holds no image."


class MultiFrame(DicomError):
    """More than one frame: tomosynthesis, a cine loop."""

    remedy = "Use the 2-D mammogram or the synthesized view (C-View, S-View) of the same breast."


class ColourImage(DicomError):
    """More than one sample a pixel, or a palette: a screenshot, a secondary capture."""

    remedy = "Leave the file out: mammograms are MONOCHROME1 or MONOCHROME2."


class Localizer(DicomError):
    """(0008,0008) Image Type says LOCALIZER: a scout, not a mammogram."""

    remedy = "Leave the file out: it shows where other images lie."


class TooLarge(DicomError):
    """The header, the codestream or an inflated data set promises more than the limit."""

    remedy = "If the image is real, raise max_pixels."


class Truncated(DicomError):
    """The file ends before its pixels do."""

    remedy = "Copy the file again from its source; half an image is never returned."


class CorruptHeader(DicomError):
    """Values that contradict each other, or that no image can have."""


class CorruptPixels(DicomError):
    """The codestream cannot be decoded, or is not what the header says."""


class UnsupportedSyntax(DicomError):
    """A transfer syntax that holds no still grayscale image (video, JPIP), or an unknown one."""

    remedy = "Convert the file to Explicit VR Little Endian or JPEG 2000 with the software that wrote it."


class UnsupportedPixels(DicomError):
    """Pixels that no mammography machine writes: floats, more than 16 bits, 1 bit."""

    remedy = "Convert the image to 8 to 16 bits a pixel."


class NoSuchWindow(DicomError):
    """The window that was asked for is not in the file, or cannot be applied."""

    remedy = "Choose one that is there, or window=None for the full stored range."


class NoSuchLevel(DicomError):
    """The file cannot be decoded at that level."""

    remedy = "Ask for a level between 0 and the file's `levels`."


@contextmanager
def located(where: str, fallback: type[DicomError]) -> Iterator[None]:
    """Name the file in every `DicomError`, and turn whatever else a parser or decoder raises into `fallback`.

    Errors of the operating system (a missing file, no permission) and a user's interrupt pass unchanged.
    """
    try:
        yield
    except DicomError as error:
        error.where = error.where or where
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise _blame(fallback, error, where) from error
    except MemoryError as error:
        raise _blame(TooLarge, "memory ran out", where) from error
    except RecursionError as error:
        raise _blame(CorruptHeader, "its sequences are nested too deep", where) from error
    except Exception as error:
        raise _blame(fallback, error, where) from error


def _blame(kind: type[DicomError], reason: Exception | str, where: str) -> DicomError:
    text = reason if isinstance(reason, str) else f"{type(reason).__name__}: {str(reason)[:200]}"
    error = kind(text.rstrip("."))
    error.where = where
    return error
