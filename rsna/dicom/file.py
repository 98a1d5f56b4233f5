"""One file → pixels: `open_mammogram` for whoever needs the parts, `read_mammogram` for whoever wants the image."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from rsna.dicom.box import Box, clipped
from rsna.dicom.decode import Frame, Stored, decode_frame, read_frame
from rsna.dicom.display import to_display
from rsna.dicom.elements import Elements, values_of
from rsna.dicom.errors import CorruptHeader, CorruptPixels, NoSuchLevel, located
from rsna.dicom.frame import Header, header_of, read_header
from rsna.dicom.grayscale import Grayscale, intersection, read_grayscale
from rsna.dicom.greys import few_greys
from rsna.dicom.padding import margin
from rsna.dicom.syntax import LOSSY
from rsna.dicom.tags import Tags, read_tags

log = logging.getLogger(__name__)

MAX_PIXELS = 1 << 26
"""8192 × 8192: twice the largest detector's image."""


class Mammogram:
    """An opened file: its header is read, its pixels are decoded when they are asked for."""

    def __init__(self, header: Header, tags: Tags, grayscale: Grayscale, name: str) -> None:
        self.tags = tags
        self.grayscale = grayscale
        self.name = name
        self._pixels = replace(header.pixels, name=name)

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) at full size, as the header says."""
        return self.tags.rows, self.tags.columns

    @property
    def levels(self) -> int:
        """How many times the image can be halved while decoding: 0 except for JPEG 2000.

        Raises:
            DicomError: the pixels cannot be read.
        """
        return self._frame.levels

    @property
    def has_window(self) -> bool:
        """Whether the header says which values are black and white; without, the full range is shown."""
        return bool(self.grayscale.usable or self.grayscale.modality_lut)

    @property
    def full_range(self) -> tuple[int, int]:
        """The least and the greatest stored value, by Bits Stored and Pixel Representation."""
        return self.grayscale.stored_range

    def narrowed(self, value_range: tuple[int, int]) -> Mammogram:
        """This image with what lies in ``value_range`` of its full range as its full range."""
        other = copy.copy(self)
        other.grayscale = replace(self.grayscale, stored_range=intersection(self.full_range, value_range))
        return other

    def size_at(self, level: int) -> tuple[int, int]:
        """(rows, columns) of what `decode(level)` returns."""
        codestream = self._frame.codestream
        if not 0 <= level <= self.levels:
            error = NoSuchLevel(f"level {level} does not exist, the file has levels 0 to {self.levels}")
            error.where = self.name
            raise error
        return codestream.size(level) if codestream else self.size

    @property
    def notes(self) -> tuple[str, ...]:
        """What had to be interpreted, what contradicts what was chosen, what cannot be applied."""
        return self.tags.notes + self.grayscale.notes

    @cached_property
    def _frame(self) -> Frame:
        for note in self.grayscale.notes:
            log.warning("%s: %s", self.name, note)
        with located(self.name, CorruptPixels):
            return read_frame(self._pixels, self.tags)

    def decode(self, level: int = 0, box: Box | None = None) -> Stored:
        """Decode the stored values.

        Args:
            level: how often the image is halved; 0 is full size, `levels` the smallest.
            box: (x0, y0, x1, y1) in pixels of that level, x1 and y1 past the end; None for the whole image. In JPEG
                2000 files only the code blocks of that part are decoded.

        Returns:
            (H, W) uint8, uint16 or int16 stored values: of size `size_at(level)`, or of the part.

        Raises:
            DicomError: the pixels cannot be read, or not at this level.
            ValueError: the box holds no pixel of the image.
        """
        size = self.size_at(level)
        if box is not None:
            box = clipped(box, size)
            size = box[3] - box[1], box[2] - box[0]
        with located(self.name, CorruptPixels):
            stored = decode_frame(self._frame, self.tags, self._pixels, level, box)
            if stored.shape != size:
                raise CorruptPixels(f"decoded {stored.shape}, expected {size}")
        return stored

    def display(
        self, stored: Stored | int = 0, *, window: int | str | None = 0, box: Box | None = None
    ) -> NDArray[np.float32]:
        """Turn stored values into what a radiologist sees: modality LUT, window, padding, inversion.

        Args:
            stored: what `decode` returned for a whole image, or the level to decode.
            window: index or explanation of a window or VOI LUT of the file; None for the full stored range by
                the header. A file without any has its full stored range at index 0.
            box: (x0, y0, x1, y1) in pixels of `stored`, x1 and y1 past the end; None for the whole image. Of a level,
                nothing else is decoded.

        Returns:
            (y1 - y0, x1 - x0) float32 in [0, 1], dense tissue bright, padding 0.

        Raises:
            NoSuchWindow, DicomError
            ValueError: the box holds no pixel of the image.
        """
        codestream = self._frame.codestream
        error = codestream.error if codestream else 0
        if error == 0 and (self.tags.lossy or self.tags.transfer_syntax in LOSSY):
            # Another codec was before this one; or its filter is reversible, and bits may have been cut off.
            error = None
        if isinstance(stored, np.ndarray):
            reduced = stored.shape != self.size
            box = clipped(box, stored.shape) if box else None
        else:
            level, reduced = stored, stored > 0
            if box is None:
                stored = self.decode(level)
            else:
                box = clipped(box, self.size_at(level))
                x0, y0, x1, y1 = box
                around = margin(error) if self.grayscale.padding else 0
                left, top = max(0, x0 - around), max(0, y0 - around)
                stored = self.decode(level, (left, top, x1 + around, y1 + around))
                box = (x0 - left, y0 - top, x1 - left, y1 - top)
        with located(self.name, CorruptHeader):
            return to_display(stored, self.grayscale, window, box, reduced=reduced, error=error)


def open_mammogram(source: str | Path | bytes | Dataset, *, max_pixels: int = MAX_PIXELS) -> Mammogram:
    """Read the header of a mammogram; its pixels stay in the file until they are asked for.

    Args:
        source: a file, its bytes, or a data set with pixels, which is not changed.
        max_pixels: rows × columns beyond which a file is refused.

    Raises:
        DicomError: one class for each thing that can be wrong, see `rsna.dicom.errors`.
        OSError: the file cannot be opened.
    """
    if isinstance(source, Dataset):
        name = str((values_of(source, "SOPInstanceUID") or ["a data set"])[0])
    else:
        name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    with located(name, CorruptHeader):
        if isinstance(source, Dataset):
            header = header_of(source)
        else:
            header = read_header(source if isinstance(source, bytes) else Path(source), max_pixels)
        elements = Elements(header.dataset, header.meta, header.notes)
        tags = read_tags(elements, header.transfer_syntax, max_pixels)
        grayscale = read_grayscale(elements, tags, header.big_endian)
        grayscale = replace(grayscale, notes=(*grayscale.notes, *few_greys(grayscale)))
        return Mammogram(header, tags, grayscale, name)


def read_mammogram(
    source: str | Path | bytes | Dataset, window: int | str | None = 0, level: int = 0
) -> NDArray[np.float32]:
    """Read a mammogram as it is displayed.

    Args:
        source: a file, its bytes, or a data set with pixels.
        window: index or explanation of a window or VOI LUT; None for the full stored range.
        level: how often a JPEG 2000 image is halved while decoding; 0 is full size.

    Returns:
        (H, W) float32 in [0, 1], dense tissue bright.

    Raises:
        DicomError: one class for each thing that can be wrong, see `rsna.dicom.errors`.
    """
    return open_mammogram(source).display(level, window=window)
