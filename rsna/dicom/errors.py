"""What can be wrong with a file: one class for each, all of them `DicomError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rsna.codecs.errors import CorruptPixels as CorruptPixels
from rsna.codecs.errors import DicomError as DicomError
from rsna.codecs.errors import Truncated as Truncated
from rsna.codecs.errors import UnsupportedPixels as UnsupportedPixels
from rsna.codecs.errors import UnsupportedSyntax as UnsupportedSyntax


class NotDicom(DicomError):
    """Neither the DICM prefix of PS3.10 7.1 nor a data set without one."""

    remedy = "Give a DICOM file; PNG, JPEG and PGM images belong in a table of converted images."


class NoPixels(DicomError):
    """A data set without (7FE0,0010) Pixel Data: a report, a DICOMDIR, a presentation state."""

    remedy = "Leave the file out: it holds no image."


class MultiFrame(DicomError):
    """More than one frame: tomosynthesis, a cine loop."""

    remedy = "Use the 2-D mammogram or the synthesized view (C-View, S-View) of the same breast."


class ColourImage(DicomError):
    """More than one sample a pixel, or a palette: a screenshot, a secondary capture."""

    remedy = "Leave the file out: mammograms are MONOCHROME1 or MONOCHROME2."


class NotMammogram(DicomError):
    """One grey frame, and yet no view of a breast to be screened: a slice or a projection of tomosynthesis, a biopsy's
    scout, a specimen, a test of the machine."""

    remedy = "Leave the file out; use the 2-D mammogram or the generated 2-D view of the same breast."


class TooLarge(DicomError):
    """The header, the codestream or an inflated data set promises more than the limit."""

    remedy = "If the image is real, raise max_pixels."


class CorruptHeader(DicomError):
    """Values that contradict each other, or that no image can have."""


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
