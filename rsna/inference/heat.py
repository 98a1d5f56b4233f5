"""The grey pixels of a file that heat is drawn on, where on them the breast is, and heat brought there."""

import cv2
import numpy as np
import numpy.typing as npt

from rsna.config.data import PreprocessSettings
from rsna.pictures.heat import Grey, Heat
from rsna.prepare.crop import find_breast
from rsna.prepare.geometry import Geometry
from rsna.prepare.image import Prepared, read_overview, unwindowed
from rsna.prepare.masks import filled
from rsna.prepare.source import SourceImage
from rsna.prepare.value_range import narrowed

_FINE = 384
"""Long side of the overview on which the skin is looked for, where the file has as many pixels."""

Inside = npt.NDArray[np.bool_]
"""(h, w) bool, on the breast."""


def grey_original(image: SourceImage, settings: PreprocessSettings, height: int) -> Grey:
    """(h, w) uint8 of a whole file as displayed, not mirrored, at most ``height`` rows (0: all of them).

    JPEG 2000 is decoded at the smallest level that has as many rows.
    """
    level = 0
    while height and level < image.levels and image.size_at(level + 1)[0] >= height:
        level += 1
    pixels = narrowed(image, settings).display(level, window=settings.window)
    if height and pixels.shape[0] > height:
        width = max(1, round(pixels.shape[1] * height / pixels.shape[0]))
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def breast_on_file(
    image: SourceImage, settings: PreprocessSettings, size: tuple[int, ...], part: tuple[slice, ...] = ()
) -> Inside:
    """Where on a file the breast is, as far as its skin; everywhere on one on which none is found.

    Args:
        size: (rows, columns) at which the whole file is looked at.
        part: Rows and columns of it that are wanted; all where it is empty.
    """
    found = find_breast(unwindowed(narrowed(image, settings), read_overview(image, _FINE)))
    tissue = cv2.resize(found.tissue.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    step = size[0] / found.tissue.shape[0]  # of its stairs, which are rounded off
    smooth = cv2.GaussianBlur(tissue, (0, 0), step) if step > 1 else tissue
    return np.asarray((smooth > 0.5) & (tissue > 0))[part]


def breast_on_prepared(prepared: Prepared, settings: PreprocessSettings) -> Inside:
    """(H, W) where on a prepared image the breast is: what the crop has left, or else what looks like one."""
    if settings.crop == "breast":
        return np.asarray(filled((prepared > 0).astype(np.uint8)) > 0)
    return np.asarray(find_breast(prepared).tissue > 0)


def heat_on_original(heat: Heat, geometry: Geometry, size: tuple[int, ...]) -> Heat:
    """Heat on a prepared image → on the whole file at another size, through the geometry; 0 outside of the crop.

    Args:
        heat: (H, W) of ``geometry.size``.
        geometry: How the prepared image lies in its file.
        size: (rows, columns) of the result, which covers the file as stored.
    """
    rows, columns = size
    x = (np.arange(columns) + 0.5) * geometry.source[1] / columns
    y = (np.arange(rows) + 0.5) * geometry.source[0] / rows
    points = geometry.to_prepared(np.stack(np.meshgrid(x, y), axis=-1)).astype(np.float32)  # (rows, columns, 2)
    across, down = points[..., 0] - 0.5, points[..., 1] - 0.5  # OpenCV's origin is the middle of the first pixel
    moved = cv2.remap(heat, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    x0, y0, x1, y1 = geometry.box
    inside = ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))[None, :]
    return np.asarray(np.where(inside, moved, 0.0), dtype=np.float32)
