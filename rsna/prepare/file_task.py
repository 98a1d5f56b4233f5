"""One source → prepared pixels in a worker process, with the time each stage took."""

import pickle
import time
from dataclasses import dataclass
from pathlib import Path

import numpy.typing as npt
from numpy import float32

from rsna.config.data import PreprocessSettings
from rsna.dicom import open_mammogram
from rsna.dicom.box import Box
from rsna.dicom.decode import Stored
from rsna.dicom.file import Mammogram
from rsna.prepare.geometry import Geometry
from rsna.prepare.image import Prepared, prepare_image
from rsna.prepare.source import SourceImage, open_image


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
    patient_id: str
    """From the header; "" for pictures."""
    laterality: str
    view: str
    sop_instance_uid: str
    read: float
    """Seconds to read the file and its header."""
    decode: float
    """Seconds to decode the codestream, and to window what was decoded for the purpose."""
    prepare: float
    """Seconds for everything else: crop, scaling."""


class _Timed:
    """An opened image that adds up the time its decoding takes."""

    def __init__(self, image: SourceImage) -> None:
        self._image = image
        self.size, self.levels, self.size_at = image.size, image.levels, image.size_at
        self.seconds = 0.0

    def decode(self, level: int = 0) -> Stored:
        started = time.perf_counter()
        stored = self._image.decode(level)
        self.seconds += time.perf_counter() - started
        return stored

    def display(
        self, stored: Stored | int, *, window: int | str | None = 0, box: Box | None = None
    ) -> npt.NDArray[float32]:
        started = time.perf_counter()
        display = self._image.display(stored, window=window, box=box)
        if isinstance(stored, int):  # which it decodes first
            self.seconds += time.perf_counter() - started
        return display


def prepare_source(source: Source, settings: PreprocessSettings) -> PreparedSource:
    """Reads and prepares a source; what a worker does."""
    started = time.perf_counter()
    image: SourceImage
    if isinstance(source, str):
        image = open_image(source)
    else:
        image = open_mammogram(source if isinstance(source, bytes) else pickle.loads(source.content))
    timed = _Timed(image)  # asks for the levels, which reads the codestream
    opened = time.perf_counter()
    pixels, geometry = prepare_image(timed, settings)
    done = time.perf_counter()
    # A picture has no header; its folder is its patient, as in the competition's layout.
    tags = image.tags if isinstance(image, Mammogram) else None
    return PreparedSource(
        pixels=pixels,
        geometry=geometry,
        patient_id=(tags.patient_id if tags else "") or (Path(source).parent.name if isinstance(source, str) else ""),
        laterality=tags.laterality if tags else "",
        view=tags.view if tags else "",
        sop_instance_uid=tags.sop_instance_uid if tags else "",
        read=opened - started,
        decode=timed.seconds,
        prepare=done - opened - timed.seconds,
    )
