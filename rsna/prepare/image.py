"""One file → the picture that a network sees: the one function for training and inference alike."""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsna.config.data import PreprocessSettings, ValueRange
from rsna.dicom.box import Box
from rsna.dicom.decode import Stored
from rsna.prepare.crop import BreastRegion, find_breast
from rsna.prepare.geometry import Geometry, fit
from rsna.prepare.source import SourceImage, open_image
from rsna.prepare.value_range import narrowed

log = logging.getLogger(__name__)

Prepared = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""(H, W) prepared pixels over the full range of their type, black at 0."""

_OVERVIEW = (160, 512)
"""Long side of the picture on which the breast is looked for, in pixels: at least, at most."""

_OVERVIEW_ENOUGH = 448
"""Long side that is large enough not to average by fractions of a pixel to reach the most."""


def prepare_image(
    source: str | Path | SourceImage, settings: PreprocessSettings, box: Box | None = None
) -> tuple[Prepared, Geometry]:
    """Decodes, crops, windows, scales, mirrors and pads one image.

    Args:
        source: A DICOM, PNG, JPEG or PGM file, or one that is open.
        box: x0, y0, x1, y1 of the crop in pixels of the file; required by crop=boxes, refused otherwise.

    Returns:
        Pixels (H, W) uint8 or uint16 of ``settings.size``, MONOCHROME2 sense, and how they lie in the file.

    Raises:
        DicomError, PictureError: The file cannot become pixels.
        ValueError: A box is missing, not wanted, or outside of the image.
        OSError: The file cannot be opened.
    """
    return prepare_each(source, [settings], box)[0]


def prepare_each(
    source: str | Path | SourceImage, settings: Sequence[PreprocessSettings], box: Box | None = None
) -> list[tuple[Prepared, Geometry]]:
    """:func:`prepare_image` by several settings, with the same bytes: no level of the file is decoded more than once.

    Where settings need different levels of a JPEG 2000 file, each is decoded: of the larger one the smaller would be
    other pixels.
    """
    image = open_image(source) if isinstance(source, (str, Path)) else source
    shown = [narrowed(image, one) for one in settings]
    overview_level = _overview_level(image)
    decoded = {overview_level: image.decode(overview_level)}
    overview, breasts = _shrink(decoded[overview_level]), dict[ValueRange, BreastRegion]()
    for own in shown:
        if own.full_range not in breasts:
            breasts[own.full_range] = find_breast(unwindowed(own, overview))
    parts = [_Part.of(own, breasts[own.full_range], one, box) for own, one in zip(shown, settings, strict=True)]
    for level, count in Counter(part.level for part in parts).items():
        if count > 1 and level not in decoded:
            decoded[level] = image.decode(level)
    return [
        part.prepare(own, decoded.get(part.level), one) for part, own, one in zip(parts, shown, settings, strict=True)
    ]


@dataclass(frozen=True)
class _Part:
    """What is decoded of an image, and where it is put."""

    breast: BreastRegion
    geometry: Geometry
    level: int

    @classmethod
    def of(cls, image: SourceImage, breast: BreastRegion, settings: PreprocessSettings, box: Box | None) -> "_Part":
        flipped = settings.orientation != "keep" and breast.chest_wall == settings.orientation
        to_right = (breast.chest_wall == "right") != flipped
        crop = _crop_box(image.size, breast, settings, box)
        reduction = _largest_reduction(image, crop, settings.size)
        # On the grid of the reduced image the crop means the same pixels at every level.
        geometry = fit(_on_grid(crop, image.size, 1 << reduction), image.size, settings.size, flipped, to_right)
        geometry = replace(geometry, breast_found=breast.found)
        return cls(breast, geometry, 0 if settings.full_resolution else reduction)

    def prepare(
        self, image: SourceImage, stored: Stored | None, settings: PreprocessSettings
    ) -> tuple[Prepared, Geometry]:
        """Of the whole level ``stored`` where it was decoded; else of the file, and there of the crop alone."""
        breast, geometry, level = self.breast, self.geometry, self.level
        x0, y0, x1, y1 = geometry.box
        part = (x0 >> level, y0 >> level, -(-x1 >> level), -(-y1 >> level))
        pixels = image.display(level if stored is None else stored, window=settings.window, box=part)
        pixels = _resize(_to_block_centres(pixels, level), geometry.fitted)
        if settings.crop == "breast" and breast.found:
            pixels *= _outline_at(breast, geometry)
        return _finish(pixels, geometry, settings.bits), geometry


def read_overview(image: SourceImage, least: int = _OVERVIEW[0]) -> Stored:
    """(h, w) stored values of the whole image, ``least`` to 512 pixels along the long side where it has as many."""
    return _shrink(image.decode(_overview_level(image, least)))


def _overview_level(image: SourceImage, least: int = _OVERVIEW[0]) -> int:
    level = image.levels
    while level > 0 and max(image.size_at(level)) < least:
        level -= 1
    return level


def _shrink(stored: Stored) -> Stored:
    longest = max(stored.shape)
    step = -(-longest // _OVERVIEW[1])
    if step == 1:
        return stored
    if stored.dtype == np.int8:  # which OpenCV does not resize
        stored = stored.astype(np.int16)
    # A whole number of pixels becomes one, which is ten times as fast as any other ratio; but where that leaves much
    # less than there may be, writing on film runs together: first to what is still more, then to what there may be.
    if longest < step * _OVERVIEW_ENOUGH:
        return _averaged_to(_averaged(stored, step - 1), _OVERVIEW[1])
    return _averaged(stored, step)


def _averaged(stored: Stored, step: int) -> Stored:
    rows, columns = (max(1, side // step) for side in stored.shape)
    part = stored[: rows * step, : columns * step]
    shrunk: Stored = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    return shrunk


def _averaged_to(stored: Stored, longest: int) -> Stored:
    rows, columns = (max(1, round(side * longest / max(stored.shape))) for side in stored.shape)
    shrunk: Stored = cv2.resize(stored, (columns, rows), interpolation=cv2.INTER_AREA)
    return shrunk


def unwindowed(image: SourceImage, stored: Stored) -> npt.NDArray[np.float32]:
    """(h, w) float32, tissue bright: the window is left out, since one made for reading may cut the skin away."""
    display = image.display(stored, window=None)
    tissue = display[display > 0]
    # Padding is 0, however far below the darkest pixel of a narrow stored range; closed up, contrast remains.
    return np.maximum(display, tissue.min()) if tissue.size else display


def _crop_box(size: tuple[int, int], breast: BreastRegion, settings: PreprocessSettings, box: Box | None) -> Box:
    rows, columns = size
    if settings.crop == "boxes":
        if box is None:
            raise ValueError("crop=boxes needs a box for every image; add this one to the file of boxes")
        x0, y0, x1, y1 = box
        if not (0 <= x0 < x1 <= columns and 0 <= y0 < y1 <= rows):
            raise ValueError(f"box {list(box)} (x0, y0, x1, y1) does not lie within {columns}×{rows} (width × height)")
        return box
    if box is not None:
        raise ValueError(f"a box was given, but crop={settings.crop} does not use it; use crop=boxes")
    if settings.crop == "none" or not breast.found:
        return 0, 0, columns, rows
    scale_y, scale_x = rows / breast.outline.shape[0], columns / breast.outline.shape[1]
    x0, y0, x1, y1 = breast.box
    margin = settings.margin * max((x1 - x0) * scale_x, (y1 - y0) * scale_y)
    return (
        max(0, round(x0 * scale_x - margin)),
        max(0, round(y0 * scale_y - margin)),
        min(columns, round(x1 * scale_x + margin)),
        min(rows, round(y1 * scale_y + margin)),
    )


def _largest_reduction(image: SourceImage, crop: Box, size: tuple[int, int]) -> int:
    """The smallest level whose crop is at least as large as its place in the target: enlarging would blur."""
    width, height = crop[2] - crop[0], crop[3] - crop[1]
    scale = min(size[0] / height, size[1] / width)
    level = 0
    while level < image.levels and scale * (2 << level) <= 1:
        level += 1
    return level


def _on_grid(box: Box, size: tuple[int, int], step: int) -> Box:
    """``box`` enlarged to multiples of ``step``; at the image's last pixels, which fill no step, reduced to them."""
    x0, y0, x1, y1 = box
    x0, y0 = x0 - x0 % step, y0 - y0 % step
    right, bottom = size[1] - size[1] % step, size[0] - size[0] % step
    return (
        x0,
        y0,
        max(min(x1 + -x1 % step, right), min(x0 + step, size[1])),
        max(min(y1 + -y1 % step, bottom), min(y0 + step, size[0])),
    )


def _to_block_centres(pixels: npt.NDArray[np.float32], level: int) -> npt.NDArray[np.float32]:
    """Moves samples of a wavelet level from the first pixel of the block that each stands for to the block's middle.

    The low-pass filters of JPEG 2000 (ISO/IEC 15444-1 F.3) are symmetric about the even samples. Left alone, a level
    lies half a block up and left of the same image averaged; moved, both agree to 5 dB more.
    """
    if level == 0:
        return pixels
    way = 0.5 - 2.0 ** -(level + 1)
    taps = np.array([_cubic(tap - way) for tap in (-1, 0, 1, 2)], dtype=np.float32)
    moved = cv2.sepFilter2D(pixels, -1, taps, taps, anchor=(1, 1), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)


def _cubic(distance: float) -> float:
    """Weight of a sample at ``distance`` in cubic convolution (Keys 1981, a = -1/2)."""
    t = abs(distance)
    return 1.5 * t**3 - 2.5 * t**2 + 1 if t <= 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2


def _resize(pixels: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    shrinks = pixels.shape[0] >= size[0] and pixels.shape[1] >= size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=method), dtype=np.float32)


def _outline_at(breast: BreastRegion, geometry: Geometry) -> npt.NDArray[np.float32]:
    """(rows, columns) float32 1 on the breast, of the scaled crop; soft over a pixel or two at its edge."""
    (rows, columns), (x0, y0, x1, y1) = breast.outline.shape, geometry.box
    scale_y, scale_x = rows / geometry.source[0], columns / geometry.source[1]
    left, top = min(int(x0 * scale_x), columns - 1), min(int(y0 * scale_y), rows - 1)
    outline = breast.outline[top : math.ceil(y1 * scale_y), left : math.ceil(x1 * scale_x)].astype(np.float32)
    return np.asarray(cv2.resize(outline, geometry.fitted[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _finish(pixels: npt.NDArray[np.float32], geometry: Geometry, bits: int) -> Prepared:
    dtype: Any = np.uint8 if bits == 8 else np.uint16
    if geometry.flipped:
        pixels = pixels[:, ::-1]
    prepared: Prepared = np.zeros(geometry.size, dtype=dtype)
    prepared[geometry.content] = np.rint(np.clip(pixels, 0, 1) * np.float32((1 << bits) - 1))
    return prepared
