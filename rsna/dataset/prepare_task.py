"""One file prepared in a worker process, for whoever wants the pixels at once and no cache."""

import time
from dataclasses import dataclass

from rsna.dataset.geometry import Geometry
from rsna.dataset.prepare import Prepared, PreprocessSettings, prepare_image


@dataclass(frozen=True)
class PreparedFile:
    """What `prepare_image` gave, and how long it took."""

    pixels: Prepared
    """(H, W) uint8 or uint16."""
    geometry: Geometry
    seconds: float


def prepare_file(path: str, settings: PreprocessSettings) -> PreparedFile:
    """A task of `rsna.dataset.pool.map_tasks`; its module keeps pandas and torch out of the workers."""
    started = time.perf_counter()
    pixels, geometry = prepare_image(path, settings)
    return PreparedFile(pixels, geometry, time.perf_counter() - started)
