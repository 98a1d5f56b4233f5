"""One source → prepared pixels in a worker process, with the time each stage took."""

import copy
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy.typing as npt
from numpy import float32

from rsna.config.data import PreprocessSettings, ValueRange
from rsna.dicom import Tags, open_mammogram
from rsna.dicom.box import Box
from rsna.dicom.decode import Stored
from rsna.dicom.file import Mammogram
from rsna.files import stamp
from rsna.prepare.geometry import Geometry
from rsna.prepare.image import Prepared, prepare_each
from rsna.prepare.source import SourceImage, open_image
from rsna.prepare.value_range import FEW_LEVELS, grey_levels


@dataclass(frozen=True)
class PickledDataset:
    """A pydicom data set on its way to a worker."""

    content: bytes


Source = str | bytes | PickledDataset
"""A path, the bytes of a DICOM file, or a data set."""


@dataclass(frozen=True)
class PreparedSource:
    """What a worker made of a source."""

    pixels: Prepared
    """(H, W) uint8 or uint16."""
    geometry: Geometry
    tags: Tags | None
    """What the header says; None of a picture, which has none."""
    stamp: str
    """Of the file, from before it was read; "" where there is none."""
    read: float
    """Seconds to read the file and its header."""
    decode: float
    """Seconds to decode the codestream, and to window what was decoded for the purpose."""
    prepare: float
    """Seconds for everything else: crop, scaling."""
    doubts: tuple[str, ...] = ()
    """Why a prediction from these pixels may mean nothing."""


class _Timed:
    """An opened image that adds up the time its decoding takes."""

    def __init__(self, image: SourceImage) -> None:
        self._image = image
        self.size, self.levels, self.size_at = image.size, image.levels, image.size_at
        self.has_window, self.full_range = image.has_window, image.full_range
        self._spent = [0.0]
        """One place for this image and what is narrowed of it."""

    @property
    def seconds(self) -> float:
        return self._spent[0]

    def narrowed(self, value_range: ValueRange) -> "_Timed":
        other = copy.copy(self)
        other._image = self._image.narrowed(value_range)
        other.full_range = other._image.full_range
        return other

    def decode(self, level: int = 0) -> Stored:
        started = time.perf_counter()
        stored = self._image.decode(level)
        self._spent[0] += time.perf_counter() - started
        return stored

    def display(
        self, stored: Stored | int, *, window: int | str | None = 0, box: Box | None = None
    ) -> npt.NDArray[float32]:
        started = time.perf_counter()
        display = self._image.display(stored, window=window, box=box)
        if isinstance(stored, int):  # which it decodes first
            self._spent[0] += time.perf_counter() - started
        return display


def prepare_source(source: Source, settings: PreprocessSettings) -> PreparedSource:
    """Reads and prepares a source."""
    return prepare_source_each(source, [settings])[0]


def prepare_source_each(source: Source, settings: Sequence[PreprocessSettings]) -> list[PreparedSource]:
    """Reads a source once and prepares it by several settings; what a worker does.

    Equal settings share what is made. The first has the time that all took.
    """
    started = time.perf_counter()
    image: SourceImage
    known = stamp(source) if isinstance(source, str) else ""
    if isinstance(source, str):
        image = open_image(source)
    else:
        image = open_mammogram(source if isinstance(source, bytes) else pickle.loads(source.content))
    timed = _Timed(image)  # asks for the levels, which reads the codestream
    opened = time.perf_counter()
    different = list(dict.fromkeys(settings))
    prepared = prepare_each(timed, different)
    done = time.perf_counter()
    times = [(opened - started, timed.seconds, done - opened - timed.seconds)] + [(0.0, 0.0, 0.0)] * len(different)
    made = {
        one: PreparedSource(
            pixels=pixels,
            geometry=geometry,
            tags=image.tags if isinstance(image, Mammogram) else None,
            stamp=known,
            read=read,
            decode=decode,
            prepare=rest,
            doubts=_doubts(pixels, geometry, one),
        )
        for (pixels, geometry), one, (read, decode, rest) in zip(prepared, different, times, strict=False)
    }
    return [made[one] for one in settings]


def _doubts(pixels: Prepared, geometry: Geometry, settings: PreprocessSettings) -> tuple[str, ...]:
    doubts = []
    if settings.crop == "breast" and not geometry.breast_found:
        doubts.append("no breast was found, so that the whole image is looked at")
    if grey_levels(pixels) < FEW_LEVELS:
        doubts.append(
            f"fewer than {FEW_LEVELS} of 256 grey levels, as where a window or a range of values does not fit"
        )
    return tuple(doubts)
