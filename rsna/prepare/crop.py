"""Find the breast on a small picture of a mammogram: its box, its outline and the side of the chest wall.

Works on anything in MONOCHROME2 sense (tissue bright, air dark), best on stored values before any window: a window
made for reading may cut the skin line away. All lengths are shares of the picture's long side, so that the result does
not depend on the size at which the picture was taken; 160 to 512 pixels are enough.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from rsna.dicom.box import Box

Side = Literal["left", "right"]

_SKIN_SHARE = 0.3
"""Where between air and the threshold above it skin begins."""

_TEXTURE_SCALE = 0.012
"""Standard deviation of the blur whose difference to the picture is taken for its texture."""

_AIR_TEXTURE = 1.5
"""Texture, in grey levels of 255, that seven in ten pixels of air do not pass."""

_AIR_SHARE = 0.35
"""The same as share of the texture of tissue, for pictures with noise."""

_OPENING = 0.012
"""Radius of the opening that removes labels, paddle edges and wires; strokes thinner than twice this vanish."""

_HALO = 0.03
"""How far the kept outline reaches past what was found: a nipple in profile lies beyond the skin threshold."""

_TAIL_WIDTH = 0.2
"""Rows whose tissue is narrower than this share of the widest row end the breast: what follows is arm or belly."""

_SMALLEST_AREA = 0.015
"""Share of the picture below which a find is taken for a label or a clip, not for a breast."""

_DEEPEST_FRAME = 0.15
"""How far a bright frame may reach in from an edge, as share of that dimension."""

_FRAME_TOLERANCE = 15
"""How far the pixels of a frame may differ from one another, in grey levels of 255."""

_FRAME_SHARE = 0.5
"""How much of an edge a frame takes at least; a breast may stand before the rest."""

_FRAME_TEXTURE = 2.0
"""Mean difference of neighbouring pixels in a frame, in grey levels; the chest wall has more."""

_FRAME_LEVEL = 38
"""Darkest frame, in grey levels of 255; anything darker is air."""


@dataclass(frozen=True, eq=False)
class BreastRegion:
    """What was found, in pixels of the small picture."""

    box: Box
    """Corners around the breast without margin; the whole picture where none was found."""
    chest_wall: Side
    """Side of the picture on which the chest wall stands."""
    outline: npt.NDArray[np.uint8]
    """(h, w) 1 on the breast and a halo around it, 0 on air, labels and other parts of the body."""
    found: bool
    """False where nothing looked like a breast and the whole picture was taken."""


def find_breast(image: npt.NDArray[np.generic]) -> BreastRegion:
    """Finds the breast.

    Args:
        image: (h, w) any real dtype and range, MONOCHROME2 sense; constant, empty of tissue or cropped is fine.

    Raises:
        ValueError: Not two-dimensional, or without pixels.
    """
    if image.ndim != 2 or image.size == 0:
        raise ValueError(f"find_breast takes one (h, w) picture with pixels, not an array of shape {image.shape}")
    grey = _to_uint8(image)
    x0, y0, x1, y1 = _without_frame(grey)
    smooth = np.asarray(cv2.GaussianBlur(grey[y0:y1, x0:x1], (0, 0), 1.0), dtype=np.uint8)
    threshold = _skin_threshold(smooth)
    if threshold is None:
        return _whole(grey)
    bright = (smooth > threshold).astype(np.uint8)
    tissue = _largest_piece(bright)
    if tissue is None:
        return _whole(grey)
    rows = _rows_of_breast(tissue)
    reach = _HALO * max(grey.shape)
    tissue = _within(tissue, rows)
    # A nipple in profile is often torn off by the threshold or the opening; it is near, and below the skin threshold.
    breast = _within(bright & _grown(tissue, reach), rows)
    bx, by, bw, bh = cv2.boundingRect(breast)
    outline = np.zeros_like(grey)
    outline[y0:y1, x0:x1] = _grown(breast, reach)
    box = (x0 + bx, y0 + by, x0 + bx + bw, y0 + by + bh)
    return BreastRegion(box, _chest_wall(tissue, rows), outline, True)


def _to_uint8(image: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    values = image.astype(np.float32)
    low, high = float(values.min()), float(np.percentile(values[::2, ::2], 99.9))
    if high <= low:
        high = max(float(values.max()), low + 1.0)
    scaled = cv2.convertScaleAbs(np.clip(values - low, 0, high - low), alpha=255.0 / (high - low))
    return np.asarray(scaled, dtype=np.uint8)


def _whole(grey: npt.NDArray[np.uint8]) -> BreastRegion:
    height, width = grey.shape
    left, right = int(grey[:, : width // 2].sum()), int(grey[:, (width + 1) // 2 :].sum())
    side: Side = "right" if right > left else "left"
    return BreastRegion((0, 0, width, height), side, np.ones_like(grey), False)


def _without_frame(grey: npt.NDArray[np.uint8]) -> Box:
    """The part inside a bright uniform frame, as collimator blades and inverted padding leave it."""
    height, width = grey.shape
    top = _frame_depth(grey)
    bottom = _frame_depth(grey[::-1])
    left = _frame_depth(grey[top : height - bottom].T)
    right = _frame_depth(grey[top : height - bottom, ::-1].T)
    return left, top, width - right, height - bottom


def _frame_depth(lines: npt.NDArray[np.uint8]) -> int:
    """How many of the first lines hold a bar: bright, flat, along most of the edge, and ending abruptly."""
    deepest = round(len(lines) * _DEEPEST_FRAME)
    depth, level, share = 0, 0, 0.0
    while depth <= deepest:
        following = _flat_bright_part(lines[depth])
        if following is None:
            break
        level, share = following
        depth += 1
    if depth == 0 or depth + 2 >= len(lines):
        return 0
    goes_on = np.mean(np.abs(lines[depth + 2].astype(np.int16) - level) <= _FRAME_TOLERANCE)
    return depth + 2 if goes_on < share / 2 else 0  # two lines more, where the bar's edge is blurred


def _flat_bright_part(line: npt.NDArray[np.uint8]) -> tuple[int, float] | None:
    """(grey level, share of the line) of the most frequent bright level, where it fills the line and has no texture."""
    counts = np.bincount(line, minlength=256)
    near = np.convolve(counts, np.ones(2 * _FRAME_TOLERANCE + 1, dtype=np.int64), mode="same")
    level = _FRAME_LEVEL + int(np.argmax(near[_FRAME_LEVEL:]))
    share = float(near[level]) / line.size
    if share < _FRAME_SHARE:
        return None
    values = line.astype(np.int16)
    inside = np.abs(values - level) <= _FRAME_TOLERANCE
    steps = np.abs(np.diff(values))[inside[1:] & inside[:-1]]
    return (level, share) if steps.size and steps.mean() <= _FRAME_TEXTURE else None


def _skin_threshold(smooth: npt.NDArray[np.uint8]) -> float | None:
    """Grey level between air and skin, or None where the picture holds no air.

    Otsu's threshold divides a whole mammogram into air and tissue, but a close crop into fatty and dense tissue. Air is
    smooth where tissue has texture: while the dark side is not smooth, it is divided again.
    """
    detail = cv2.absdiff(smooth, cv2.GaussianBlur(smooth, (0, 0), max(smooth.shape) * _TEXTURE_SCALE))
    otsu = 255.0
    for _ in range(3):
        dark = smooth <= otsu
        otsu = cv2.threshold(smooth[dark].reshape(-1, 1), 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
        dark = smooth <= otsu
        if dark.all():
            return None
        if np.percentile(detail[dark], 70) <= max(_AIR_TEXTURE, _AIR_SHARE * float(np.median(detail[~dark]))):
            air = smooth[dark]
            background = float(np.median(air))
            noise = 1.4826 * float(np.median(np.abs(air - background)))
            return background + min(max(_SKIN_SHARE * (otsu - background), 4 * noise, 1.0), otsu - background)
    return None


def _largest_piece(bright: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """(h, w) 1 on the largest piece of tissue, or None where nothing is large enough for a breast."""
    radius = max(1, round(max(bright.shape) * _OPENING))
    # Replicated, so that the opening does not round the breast off where it leaves the picture.
    padded = cv2.copyMakeBorder(bright, radius, radius, radius, radius, cv2.BORDER_REPLICATE)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, disc)[radius:-radius, radius:-radius]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if areas.size == 0 or areas.max() < _SMALLEST_AREA * bright.size:
        return None
    return np.asarray(labels == 1 + int(np.argmax(areas)), dtype=np.uint8)


def _rows_of_breast(tissue: npt.NDArray[np.uint8]) -> slice:
    """Rows around the widest one, up to where the tissue narrows to a strip of arm or belly along the chest wall."""
    widths = np.count_nonzero(tissue, axis=1)
    # The widest row of the breast, not of a belly at the lower edge: smooth over a tenth of the height.
    smooth = cv2.blur(widths.astype(np.float32).reshape(-1, 1), (1, max(1, len(widths) // 10)))[:, 0]
    widest = int(np.argmax(smooth))
    narrow = np.flatnonzero(widths < _TAIL_WIDTH * widths[widest])
    above, below = narrow[narrow < widest], narrow[narrow > widest]
    return slice(int(above[-1]) + 1 if above.size else 0, int(below[0]) if below.size else len(widths))


def _within(mask: npt.NDArray[np.uint8], rows: slice) -> npt.NDArray[np.uint8]:
    kept = np.zeros_like(mask)
    kept[rows] = mask[rows]
    return kept


def _grown(mask: npt.NDArray[np.uint8], reach: float) -> npt.NDArray[np.uint8]:
    """``mask`` without holes and wider by ``reach`` pixels."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(mask), contours, -1, 1, thickness=cv2.FILLED)
    distance = cv2.distanceTransform(1 - filled, cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(distance <= max(1.0, reach), dtype=np.uint8)


def _chest_wall(tissue: npt.NDArray[np.uint8], rows: slice) -> Side:
    """The side along which the breast is longest: it leaves the picture there, or ends in a straight cut."""
    columns = np.flatnonzero(tissue.any(axis=0))
    first, last = int(columns[0]), int(columns[-1])
    touches_left, touches_right = first <= 1, last >= tissue.shape[1] - 2
    if touches_left != touches_right:
        return "left" if touches_left else "right"
    edge = max(1, (last + 1 - first) // 20)
    on_left = int(tissue[rows, first : first + edge].sum())
    on_right = int(tissue[rows, last + 1 - edge : last + 1].sum())
    return "left" if on_left >= on_right else "right"
