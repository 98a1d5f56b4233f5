"""One door for every file of a table: DICOM as it came, or PNG and JPEG that somebody converted."""

import io
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from rsna.dicom.box import Box
from rsna.dicom.decode import Stored
from rsna.dicom.file import MAX_PIXELS, open_mammogram

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""File endings of converted images; everything else is read as DICOM."""


class PictureError(ValueError):
    """A PNG or JPEG file that cannot become grey pixels; the message names the file and what is wrong with it."""


class SourceImage(Protocol):
    """What preparing needs of an opened file; `rsna.dicom.file.Mammogram` is one."""

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) at full size."""

    @property
    def levels(self) -> int:
        """How many times the image can be halved while decoding."""

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
    """A grey PNG or JPEG, 8 or 16 bits; its values are taken as displayed already, black at 0."""

    levels = 0

    def __init__(self, path: Path, max_pixels: int) -> None:
        self.name = str(path)
        content = path.read_bytes()
        try:
            # Pillow refuses truncated files; other readers fill the missing half with grey.
            self._image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
            raise PictureError(f"{path}: not a PNG or JPEG image ({error}). Convert it again") from error
        self.size = (self._image.height, self._image.width)
        if self.size[0] * self.size[1] > max_pixels:
            raise PictureError(f"{path}: {self.size[0]}×{self.size[1]} pixels exceed {max_pixels:,}. Raise max_pixels")

    def size_at(self, level: int) -> tuple[int, int]:
        """(rows, columns); there is level 0 alone."""
        if level != 0:
            raise PictureError(f"{self.name}: a PNG or JPEG image has level 0 alone, not {level}")
        return self.size

    def decode(self, level: int = 0) -> Stored:
        """(H, W) uint8 or uint16."""
        self.size_at(level)
        return self._pixels

    @cached_property
    def _pixels(self) -> Stored:
        try:
            grey = self._image.mode in ("L", "I;16", "I;16B", "I")
            pixels: npt.NDArray[Any] = np.asarray(self._image if grey else self._image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise PictureError(f"{self.name}: {error}. Copy or convert the file again") from error
        if pixels.ndim == 3:
            if (pixels != pixels[..., :1]).any():
                raise PictureError(f"{self.name}: a colour image. Convert it to grey, 8 or 16 bits a pixel")
            pixels = pixels[..., 0]
        return np.ascontiguousarray(pixels) if pixels.dtype == np.uint8 else pixels.astype(np.uint16)

    def display(
        self, stored: Stored | int, *, window: int | str | None = 0, box: Box | None = None
    ) -> npt.NDArray[np.float32]:
        """(H, W) float32 in [0, 1], the full range of the pixel type: converted files have lost their windows."""
        if not isinstance(stored, np.ndarray):
            stored = self.decode(stored)
        if window not in (0, None):
            raise PictureError(f"{self.name}: a PNG or JPEG image has no window {window!r}. Use window=0 or null")
        if box is not None:
            stored = stored[box[1] : box[3], box[0] : box[2]]
        return np.multiply(stored, np.float32(1.0 / np.iinfo(stored.dtype).max), dtype=np.float32)


def open_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> SourceImage:
    """Opens a DICOM file, or by its ending a PNG or JPEG, of at most ``max_pixels``; nothing is decoded yet.

    Raises:
        DicomError: A DICOM file that cannot become pixels.
        PictureError: A PNG or JPEG file that cannot.
        OSError: The file cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return Picture(path, max_pixels)
    return open_mammogram(path, max_pixels=max_pixels)
