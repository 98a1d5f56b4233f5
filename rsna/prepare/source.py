"""One door for every file of a table: DICOM as it came, or PNG, JPEG and PGM that somebody converted."""

import copy
import io
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from rsna.codecs.errors import CorruptPixels
from rsna.codecs.libjpeg import require_whole
from rsna.codecs.pgm import MAGIC, Pgm, decode_pgm, parse_pgm
from rsna.dicom.box import Box
from rsna.dicom.decode import Stored
from rsna.dicom.file import MAX_PIXELS, open_mammogram
from rsna.dicom.grayscale import intersection
from rsna.files import require_regular

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".pgm")
"""File endings of converted images; everything else is read as DICOM."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_BITS = 24
"""Offset of Bit depth in IHDR, the first chunk (PNG 11.2.2)."""


class PictureError(ValueError):
    """A PNG, JPEG or PGM file that cannot become grey pixels; the message names the file and what is wrong with it."""


class SourceImage(Protocol):
    """What preparing needs of an opened file; `rsna.dicom.file.Mammogram` is one."""

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) at full size."""

    @property
    def levels(self) -> int:
        """How many times the image can be halved while decoding."""

    @property
    def has_window(self) -> bool:
        """Whether the file says which values are black and white; without, its full range is shown."""

    @property
    def full_range(self) -> tuple[int, int]:
        """The least and the greatest stored value that the header or the pixel type allows."""

    def narrowed(self, value_range: tuple[int, int]) -> "SourceImage":
        """This image with what lies in ``value_range`` of its full range as its full range."""

    def size_at(self, level: int) -> tuple[int, int]:
        """(rows, columns) of what `decode(level)` returns."""

    def decode(self, level: int = 0) -> Stored:
        """(H, W) stored values."""

    def display(
        self, stored: Stored | int, *, window: int | str | None = 0, box: Box | None = None
    ) -> npt.NDArray[np.float32]:
        """(H, W) float32 in [0, 1] of stored values or of a level, dense tissue bright.

        Of `box` (x0, y0, x1, y1) alone where one is given; then no more of a level need be decoded.
        """


class Picture:
    """A grey PNG, JPEG or PGM, 8 or 16 bits; its values are taken as displayed already, black at 0.

    Pixels lie as they are stored: an orientation tag (EXIF) is for photographs, and converters leave it as it was.
    """

    levels = 0
    has_window = False

    def __init__(self, path: Path, max_pixels: int) -> None:
        self.name = str(path)
        require_regular(path)
        self._content = content = path.read_bytes()
        self._header = _open_picture(path, content)
        if isinstance(self._header, Pgm):
            self.size = (self._header.rows, self._header.columns)
            self.full_range = (0, self._header.maximum)
        else:
            self.size = (self._header.height, self._header.width)
            # By the file: Pillow opens 16 bits as 8 where they are colour or have alpha. Fewer than 8 spread over 8.
            sixteen = self._header.format == "PNG" and content[_PNG_BITS] == 16
            self.full_range = (0, 65535 if sixteen else 255)
        if self.size[0] * self.size[1] > max_pixels:
            raise PictureError(f"{path}: {self.size[0]}×{self.size[1]} pixels exceed {max_pixels:,}. Raise max_pixels")

    def narrowed(self, value_range: tuple[int, int]) -> "Picture":
        """This picture with what lies in ``value_range`` of its pixel type as its full range."""
        other = copy.copy(self)
        other.full_range = intersection(self.full_range, value_range)
        return other

    def size_at(self, level: int) -> tuple[int, int]:
        """(rows, columns); there is level 0 alone."""
        if level != 0:
            raise PictureError(f"{self.name}: a PNG, JPEG or PGM image has level 0 alone, not {level}")
        return self.size

    def decode(self, level: int = 0) -> Stored:
        """(H, W) uint8 or uint16."""
        self.size_at(level)
        return self._pixels

    @cached_property
    def _pixels(self) -> Stored:
        try:
            pixels = self._decode()
        except CorruptPixels as error:
            raise PictureError(f"{self.name}: {error.what}. Copy or convert the file again") from error
        except (OSError, SyntaxError, ValueError, EOFError, cv2.error, imagecodecs.Jpeg8Error) as error:
            raise PictureError(f"{self.name}: {error}. Copy or convert the file again") from error
        if pixels.ndim == 3:
            # What shows through is said nowhere, and tools leave anything below.
            if (pixels[..., 3:] != np.iinfo(pixels.dtype).max).any():
                raise PictureError(f"{self.name}: transparent pixels. Convert it to grey without alpha")
            if (pixels[..., :3] != pixels[..., :1]).any():
                raise PictureError(f"{self.name}: a colour image. Convert it to grey, 8 or 16 bits a pixel")
            pixels = pixels[..., 0]
        return np.ascontiguousarray(pixels)

    def _decode(self) -> npt.NDArray[Any]:
        """(H, W) or (H, W, 3 or 4) uint8 or uint16; the fourth is alpha."""
        if isinstance(self._header, Pgm):
            return decode_pgm(self._content, self._header)
        return self._decode_png() if self._header.format == "PNG" else _decode_jpeg(self._content, self._header)

    def _decode_png(self) -> npt.NDArray[Any]:
        """(H, W) or (H, W, 3 or 4) uint8 or uint16; the fourth is alpha."""
        _require_whole_png(self._content)
        # Not by Pillow, which leaves 8 bits of 16 in colour, and may not look at the checksum of the pixels.
        pixels = cv2.imdecode(np.frombuffer(self._content, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise CorruptPixels("PNG: header or pixels that libpng refuses")
        return np.asarray(pixels)

    def display(
        self, stored: Stored | int, *, window: int | str | None = 0, box: Box | None = None
    ) -> npt.NDArray[np.float32]:
        """(H, W) float32 in [0, 1], by the full range: converted files have lost their windows."""
        if not isinstance(stored, np.ndarray):
            stored = self.decode(stored)
        if window not in (0, None):
            raise PictureError(f"{self.name}: a PNG, JPEG or PGM image has no window {window!r}. Use window=0 or null")
        if box is not None:
            stored = stored[box[1] : box[3], box[0] : box[2]]
        black, white = self.full_range
        # Through a table, rounded as a DICOM file's is: the same pixels become the same bytes in either format.
        values = np.arange(np.iinfo(stored.dtype).max + 1, dtype=np.float64)
        table = np.clip((values - black) / (white - black), 0.0, 1.0).astype(np.float32)
        return np.asarray(cv2.LUT(np.ascontiguousarray(stored), table), dtype=np.float32)


def _open_picture(path: Path, content: bytes) -> Pgm | Image.Image:
    """The header of a picture, by its content; nothing is decoded."""
    try:
        if MAGIC.match(content):
            return parse_pgm(content)
        return Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    except CorruptPixels as error:
        raise PictureError(f"{path}: {error.what}. Copy or convert the file again") from error
    except UnidentifiedImageError as error:  # which would name an object in memory
        raise PictureError(f"{path}: not a PNG, JPEG or PGM image. Convert it again") from error
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"{path}: not a PNG, JPEG or PGM image ({error}). Convert it again") from error


def _decode_jpeg(content: bytes, header: Image.Image) -> npt.NDArray[Any]:
    """(H, W) or (H, W, 3) uint8."""
    # Pillow refuses truncated files, and is deaf to libjpeg's warnings.
    pixels = np.asarray(header if header.mode == "L" else header.convert("RGB"))
    require_whole(content)
    return pixels


def _require_whole_png(content: bytes) -> None:
    """The chunks up to IEND are there and as they were written (PNG 5.3)."""
    position, kind = len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        end = position + 8 + int.from_bytes(content[position : position + 4], "big")
        kind, check = content[position + 4 : position + 8], content[end : end + 4]
        if len(check) < 4:
            raise CorruptPixels("PNG: truncated")
        if zlib.crc32(memoryview(content)[position + 4 : end]) != int.from_bytes(check, "big"):
            raise CorruptPixels(f"PNG: the checksum of chunk {kind.decode('latin-1')!r} at byte {position} is wrong")
        position = end + 4


def open_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> SourceImage:
    """Opens a DICOM file, or by its ending a PNG, JPEG or PGM, of at most ``max_pixels``; nothing is decoded yet.

    Raises:
        DicomError: A DICOM file that cannot become pixels.
        PictureError: A PNG, JPEG or PGM file that cannot.
        OSError: The file cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return Picture(path, max_pixels)
    return open_mammogram(path, max_pixels=max_pixels)
