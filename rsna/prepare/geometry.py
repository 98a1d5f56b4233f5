"""How a prepared image lies in its file, so that whatever is found on it can be drawn on the original."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from rsna.dicom.box import Box


@dataclass(frozen=True)
class Geometry:
    """Crop, then scale, then mirror, then pad: the way from the file as stored to the prepared image.

    Points are (x, y) with the origin on the outer corner of the first pixel: pixel (column 0, row 0) covers 0 ≤ x < 1,
    0 ≤ y < 1, and its centre is (0.5, 0.5).
    """

    source: tuple[int, int]
    """(rows, columns) of the file as stored."""
    box: Box
    """x0, y0, x1, y1 of the crop in pixels of the file as stored."""
    flipped: bool
    """Whether the crop was mirrored left to right."""
    fitted: tuple[int, int]
    """(rows, columns) of the crop after scaling."""
    offset: tuple[int, int]
    """(row, column) of the scaled crop's first pixel in the prepared image; what lies around it is padding."""
    size: tuple[int, int]
    """(rows, columns) of the prepared image."""
    breast_found: bool = True
    """Whether anything looked like a breast; without, the side is a guess, and crop=breast keeps the whole image."""

    @property
    def scale(self) -> tuple[float, float]:
        """Prepared pixels per original pixel along y and x; equal but for the rounding to whole pixels."""
        x0, y0, x1, y1 = self.box
        return self.fitted[0] / (y1 - y0), self.fitted[1] / (x1 - x0)

    @property
    def content(self) -> tuple[slice, slice]:
        """Rows and columns of the prepared image that show the file; the rest is padding."""
        (row, column), (rows, columns) = self.offset, self.fitted
        return slice(row, row + rows), slice(column, column + columns)

    def to_prepared(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(…, 2) points x, y on the file → (…, 2) on the prepared image; outside the crop they fall outside of it."""
        x, y = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
        scale_y, scale_x = self.scale
        x, y = (x - self.box[0]) * scale_x, (y - self.box[1]) * scale_y
        x = self.fitted[1] - x if self.flipped else x
        return np.stack([x + self.offset[1], y + self.offset[0]], axis=-1)

    def to_original(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(…, 2) points x, y on the prepared image → (…, 2) on the file as stored; inverse of :meth:`to_prepared`."""
        x, y = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
        scale_y, scale_x = self.scale
        x, y = x - self.offset[1], y - self.offset[0]
        x = self.fitted[1] - x if self.flipped else x
        return np.stack([x / scale_x + self.box[0], y / scale_y + self.box[1]], axis=-1)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(_JSON.dump_python(self, mode="json"))

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Geometry":
        """Inverse of :meth:`to_json`; other keys are passed over. A ValueError where a field is missing or wrong."""
        return _JSON.validate_python(values)


_JSON = TypeAdapter(Geometry)


def fit(box: Box, source: tuple[int, int], size: tuple[int, int], flipped: bool, to_right: bool) -> Geometry:
    """Scales ``box`` to the largest that fits ``size`` with its aspect kept, the chest wall flush with one side.

    Args:
        box: Crop in pixels of the file.
        source: (rows, columns) of the file.
        size: (rows, columns) of the prepared image.
        flipped: Whether the crop is mirrored.
        to_right: Whether the content stands at the right side of the prepared image, padding left of it.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(size[0] / height, size[1] / width)
    fitted = (min(size[0], max(1, round(height * scale))), min(size[1], max(1, round(width * scale))))
    offset = ((size[0] - fitted[0]) // 2, size[1] - fitted[1] if to_right else 0)
    return Geometry(source, box, flipped, fitted, offset, size)
