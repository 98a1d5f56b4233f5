"""How an image looks to a network, in a few numbers: what another set's images can be held against."""

import contextlib
from dataclasses import dataclass

import numpy as np

from rsna.config.data import PreprocessSettings
from rsna.prepare.file_task import prepare_source
from rsna.prepare.geometry import Geometry
from rsna.prepare.image import Prepared
from rsna.prepare.source import open_image

_AIR = 0.02
"""Values below are air or padding: what is around a breast is black after crop=breast, and nearly so without."""


@dataclass(frozen=True)
class Appearance:
    """One prepared image."""

    long_side: float
    """Pixels of the file along its longer side."""
    crop_area: float
    """Share of the file that the crop takes, in (0, 1]."""
    breast_area: float
    """Share of the prepared image that is not air, in [0, 1]."""
    brightness: float
    """Mean of what is not air, in [0, 1]; 0 where all is."""
    contrast: float
    """Standard deviation of the same."""


QUANTITIES = {
    "long_side": "long side of the files, pixels",
    "crop_area": "share of the file that the crop takes",
    "breast_area": "share of the prepared image that is breast",
    "brightness": "brightness of the breast after preparing",
    "contrast": "contrast of the breast after preparing",
}
"""Fields of an Appearance → what they are called."""


def appearance(pixels: Prepared, geometry: Geometry) -> Appearance:
    """Of (H, W) uint8 or uint16 prepared pixels, and how they lie in their file."""
    values = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    breast = values[values > _AIR]
    x0, y0, x1, y1 = geometry.box
    rows, columns = geometry.source
    return Appearance(
        long_side=float(max(rows, columns)),
        crop_area=(x1 - x0) * (y1 - y0) / (rows * columns),
        breast_area=breast.size / values.size,
        brightness=float(breast.mean()) if breast.size else 0.0,
        contrast=float(breast.std()) if breast.size else 0.0,
    )


def look(path: str, settings: PreprocessSettings) -> tuple[Appearance, str]:
    """Prepares a file and says how it looks, and by which machine it is, "" if unsaid; what a worker does."""
    made = prepare_source(path, settings)
    return appearance(made.pixels, made.geometry), made.tags.machine if made.tags else ""


def machine_of(path: str) -> str:
    """Manufacturer and model (0008,0070, 0008,1090) of a file; "" where it does not say, or cannot be read."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        tags = getattr(open_image(path), "tags", None)
        return tags.machine if tags else ""
    return ""
