"""Find the breast on a small picture of a mammogram: its box, its outline and the side of the chest wall.

Works on anything in MONOCHROME2 sense (tissue bright, air dark), best on stored values before any window: a window
made for reading may cut the skin line away. All lengths are shares of the picture's long side, so that the result does
not depend on the size at which the picture was taken; 160 to 512 pixels are enough.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from rsna.dicom.box import Box
from rsna.prepare.film_labels import find_labels, find_letters, find_writing
from rsna.prepare.masks import Grey, Mask, filled, grown, opened, quantile

Side = Literal["left", "right"]

_THINNEST = 16
"""Pixels along the short side below which a picture shows no breast."""

_SKIN_SHARE = 0.3
"""Where between air and the threshold above it skin begins."""

_TEXTURE_SCALE = 0.012
"""Standard deviation of the blur whose difference to the picture is taken for its texture."""

_AIR_TEXTURE = 1.5
"""Texture, in grey levels of 255, that seven in ten pixels of air do not pass."""

_AIR_SHARE = 0.35
"""The same as share of the texture of tissue, for pictures with noise."""

_COARSE = (0.006, 0.02)
"""Standard deviations of the two blurs whose difference is coarse texture; fine is what a blur by a pixel takes."""

_GRAIN_SHARE = 0.75
"""Coarse against fine texture of grainy air, as share of the same in tissue. Of simulated films with grain nine in ten
lie below 0.5; of fat in close crops, which must not pass for air, 95 in a hundred real ones lie above 0.76."""

_GRAIN_BLUR = 0.5
"""Standard deviation of the blur that takes grain away, in pixels a grey level of it; 4 pixels at most."""

_UNEVEN = 2.0
"""Spread of air, in grey levels, from which it is taken for uneven."""

_OPENING = 0.012
"""Radius of the opening that removes labels, paddle edges and wires; strokes thinner than twice this vanish."""

_HALO = 0.03
"""How far the kept outline reaches past what was found: a nipple in profile lies beyond the skin threshold."""

_TAIL_WIDTH = 0.2
"""Rows whose tissue is narrower than this share of the widest row end the breast: what follows is arm or belly."""

_SMALLEST_AREA = 0.015
"""Share of the picture below which a find is taken for a label or a clip, not for a breast."""

_DEEPEST_FRAME = 0.15
"""How far a bar that stands behind the breast may reach in from an edge, as share of that dimension."""

_DEEPEST_PADDING = 0.45
"""How far padding may, which is flat from end to end."""

_THINNEST_PADDING = 0.04
"""How far padding that is darker than air reaches at least; less of it does not disturb the threshold."""

_FRAME_TOLERANCE = 15
"""How far the pixels of a bar may differ from one another, in grey levels of 255."""

_FRAME_SHARE = 0.5
"""How much of an edge a bar takes at least; a breast may stand before the rest."""

_PADDING_SHARE = 0.97
"""How much of an edge padding takes."""

_DARK_STEP, _BRIGHT_STEP = 8, 16
"""Least difference, over two lines, between what a bar frames and a darker or a brighter bar."""

_FRAMES = 3
"""Frames that may stand one within another: padding, the edge of a film, a collimator."""


@dataclass(frozen=True, eq=False)
class BreastRegion:
    """What was found, in pixels of the small picture."""

    box: Box
    """Corners around the breast without margin; the whole picture where none was found."""
    chest_wall: Side
    """Side of the picture on which the chest wall stands."""
    outline: Mask
    """(h, w) 1 on the breast and a halo around it, 0 on air, labels and other parts of the body."""
    tissue: Mask
    """(h, w) 1 on the breast as far as its skin, without the halo."""
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
    part = grey[y0:y1, x0:x1]
    split = _air_and_skin(part) if min(part.shape) >= _THINNEST else None
    if split is None:
        return _whole(grey)
    smooth, threshold = split
    # Labels are read off the picture itself: the blur against grain takes their edges away.
    sharp = np.asarray(cv2.GaussianBlur(part, (0, 0), 1.0), dtype=np.uint8)
    labels = find_labels(sharp, threshold)
    bright = (smooth > threshold).astype(np.uint8) & ~labels
    tissue = _largest_piece(bright)
    if tissue is None:
        return _whole(grey)
    writing = find_writing(sharp, threshold, tissue)
    if writing is not None:
        bright, labels = bright & ~writing, labels | writing
        tissue = _largest_piece(tissue & ~writing)
        if tissue is None:
            return _whole(grey)
    rows = _rows_of_breast(tissue)
    reach = _HALO * max(grey.shape)
    near = grown(tissue, reach)
    letters = find_letters(bright & ~tissue, near, sharp, threshold)
    # A nipple in profile is often torn off by the threshold or the opening; it is near, and below the skin threshold.
    breast = _within(tissue | (bright & ~letters & near), rows)
    bx, by, bw, bh = cv2.boundingRect(breast)
    other = cv2.dilate(labels | letters, np.ones((5, 5), np.uint8))
    outline, skin = np.zeros_like(grey), np.zeros_like(grey)
    outline[y0:y1, x0:x1] = grown(breast, reach) & (other == 0)
    skin[y0:y1, x0:x1] = filled(breast) & (other == 0)
    box = (x0 + bx, y0 + by, x0 + bx + bw, y0 + by + bh)
    return BreastRegion(box, _chest_wall(breast, rows), outline, skin, True)


def _to_uint8(image: npt.NDArray[np.generic]) -> Grey:
    values = image.astype(np.float32)
    low, high = float(values.min()), float(np.percentile(values[::2, ::2], 99.9))
    if high <= low:
        high = max(float(values.max()), low + 1.0)
    scaled = cv2.convertScaleAbs(np.clip(values - low, 0, high - low), alpha=255.0 / (high - low))
    return np.asarray(scaled, dtype=np.uint8)


def _whole(grey: Grey) -> BreastRegion:
    height, width = grey.shape
    left, right = int(grey[:, : width // 2].sum()), int(grey[:, (width + 1) // 2 :].sum())
    side: Side = "right" if right > left else "left"
    whole = np.ones_like(grey)
    return BreastRegion((0, 0, width, height), side, whole, whole, False)


def _without_frame(grey: Grey) -> Box:
    """The part inside of bars, as collimators, the edges of a film and padding leave them, one within another."""
    x0, y0, x1, y1 = 0, 0, grey.shape[1], grey.shape[0]
    for _ in range(_FRAMES):
        part = grey[y0:y1, x0:x1]
        top, bottom = _bar_depth(part), _bar_depth(part[::-1])
        part = part[top : part.shape[0] - bottom]
        left, right = _bar_depth(part.T), _bar_depth(part[:, ::-1].T)
        if not (top or bottom or left or right):
            break
        x0, y0, x1, y1 = x0 + left, y0 + top, x1 - right, y1 - bottom
    return x0, y0, x1, y1


def _bar_depth(lines: Grey) -> int:
    """How many of the first lines are a bar: flat along the edge, and ending in a step along most of it."""
    count, length = lines.shape
    deepest = min(round(count * _DEEPEST_PADDING), count - 3)
    if deepest < 1 or length < 8:
        return 0
    lines = np.asarray(cv2.blur(lines, (15, 1)), dtype=np.uint8)  # along the edge, against grain
    outer, inner = lines[:deepest], lines[2 : deepest + 2]
    darker = np.count_nonzero(cv2.subtract(inner, outer) > _DARK_STEP, axis=1)
    brighter = np.count_nonzero(cv2.subtract(outer, inner) > _BRIGHT_STEP, axis=1)
    for depth in 1 + np.flatnonzero(np.maximum(darker, brighter) >= _FRAME_SHARE * length)[::-1]:
        bar = lines[:depth]
        level = int(quantile(bar, 0.5))
        share = _FRAME_SHARE if depth <= count * _DEEPEST_FRAME else _PADDING_SHARE
        if darker[depth - 1] >= brighter[depth - 1]:
            # As dark as what lies behind it, it is air.
            behind = lines[depth + 1 : depth + 1 + count // 2] <= level + _DARK_STEP // 2
            if depth < count * _THINNEST_PADDING or behind.mean() >= 0.1:
                continue
            share = _PADDING_SHARE
        alike = cv2.inRange(bar, level - _FRAME_TOLERANCE, level + _FRAME_TOLERANCE)
        if np.count_nonzero(alike, axis=1).min() / length >= share:
            return int(depth) + 1  # a line more, where its edge is blurred
    return 0


def _air_and_skin(grey: Grey) -> tuple[Grey, float] | None:
    """(smooth picture, grey level between air and skin in it), or None where the picture holds no air.

    Otsu's threshold divides a whole mammogram into air and tissue, but a close crop into fatty and dense tissue. Air is
    smooth where tissue has texture: while the dark side is not smooth, it is divided again. On film air is grainy:
    grain is white noise, of which a blur leaves little, where tissue has the more texture the coarser one looks.
    """
    size = max(grey.shape)
    smooth: Grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0), dtype=np.uint8)
    texture = cv2.absdiff(smooth, cv2.GaussianBlur(smooth, (0, 0), size * _TEXTURE_SCALE))

    def is_smooth(dark: npt.NDArray[np.bool_]) -> bool:
        tolerated = max(_AIR_TEXTURE, _AIR_SHARE * quantile(texture, 0.5, ~dark))
        return bool(quantile(texture, 0.7, dark) <= tolerated)

    level = _air_level(smooth, is_smooth)
    if level is None:
        exact = grey.astype(np.float32)
        fine = np.abs(exact - cv2.GaussianBlur(exact, (0, 0), 1.0))
        less, more = (cv2.GaussianBlur(exact, (0, 0), size * scale) for scale in _COARSE)
        coarse = np.abs(less - more)
        grain = float(np.mean(fine[grey <= np.median(grey)]))
        smooth = np.asarray(cv2.GaussianBlur(grey, (0, 0), min(max(_GRAIN_BLUR * grain, 1.0), 4.0)), dtype=np.uint8)

        def is_grainy(dark: npt.NDArray[np.bool_]) -> bool:
            white = float(np.median(coarse[dark])) * float(np.median(fine[~dark]))
            return white <= _GRAIN_SHARE * float(np.median(coarse[~dark])) * float(np.median(fine[dark]))

        level = _air_level(smooth, is_grainy)
    if level is None:
        return None
    background, spread = _spread(smooth, level)
    for _ in range(3):  # each time less of the fat that is darker than uneven air
        if spread <= _UNEVEN:
            break
        smooth = _evened(smooth, smooth <= min(level, background + 2 * spread))
        level = min(level, cv2.threshold(smooth, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0])
        background, spread = _spread(smooth, level)
    return smooth, background + min(max(_SKIN_SHARE * (level - background), 4 * spread, 1.0), level - background)


def _air_level(smooth: Grey, is_air: Callable[[npt.NDArray[np.bool_]], bool]) -> float | None:
    """Otsu's threshold below which there is air alone."""
    otsu = 255.0
    for _ in range(3):
        dark = smooth <= otsu
        otsu = cv2.threshold(smooth[dark].reshape(-1, 1), 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
        dark = smooth <= otsu
        if dark.all():
            return None
        if is_air(dark):
            return otsu
    return None


def _spread(smooth: Grey, level: float) -> tuple[float, float]:
    """Median of what is not above ``level``, and its standard deviation by what is darker: the rest may be fat."""
    air = smooth <= max(level, float(smooth.min()))
    middle = quantile(smooth, 0.5, air)
    return middle, 1.4826 * (middle - quantile(smooth, 0.25, air))


def _evened(smooth: Grey, air: npt.NDArray[np.bool_]) -> Grey:
    """The picture less the slope of its air; in the middle it stays as it is."""
    y, x = np.nonzero(air[::4, ::4])
    if len(y) < 3:
        return smooth
    terms = np.column_stack([np.ones(len(y)), x, y])
    plane, *_ = np.linalg.lstsq(terms, smooth[::4, ::4][y, x].astype(np.float64), rcond=None)
    rows, columns = smooth.shape
    across, down = np.arange(columns) - columns / 2, np.arange(rows)[:, None] - rows / 2
    evened = np.clip(np.rint(smooth - (across * plane[1] + down * plane[2]) / 4), 0, 255)
    return np.asarray(evened, dtype=np.uint8)


def _largest_piece(bright: Mask) -> Mask | None:
    """(h, w) 1 on the largest piece of tissue, or None where nothing is large enough for a breast."""
    body = opened(bright, _OPENING * max(bright.shape))
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(body, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if areas.size == 0 or areas.max() < _SMALLEST_AREA * bright.size:
        return None
    large = 1 + np.flatnonzero(areas >= max(_SMALLEST_AREA * bright.size, 0.3 * areas.max()))
    if len(large) > 1:
        # A bar or a wedge may be larger than a small breast, but it is thinner.
        depth = cv2.distanceTransform(body, cv2.DIST_L2, cv2.DIST_MASK_3)
        sizes = [float(depth[pieces == piece].max()) * areas[piece - 1] for piece in large]
        large = large[[int(np.argmax(sizes))]]
    return np.asarray(pieces == large[0], dtype=np.uint8)


def _rows_of_breast(tissue: Mask) -> slice:
    """Rows around the widest one, up to where the tissue narrows to a strip of arm or belly along the chest wall."""
    widths = np.count_nonzero(tissue, axis=1)
    # The widest row of the breast, not of a belly at the lower edge: smooth over a tenth of the height.
    smooth = cv2.blur(widths.astype(np.float32).reshape(-1, 1), (1, max(1, len(widths) // 10)))[:, 0]
    widest = int(np.argmax(smooth))
    narrow = np.flatnonzero(widths < _TAIL_WIDTH * widths[widest])
    above, below = narrow[narrow < widest], narrow[narrow > widest]
    return slice(int(above[-1]) + 1 if above.size else 0, int(below[0]) if below.size else len(widths))


def _within(mask: Mask, rows: slice) -> Mask:
    kept = np.zeros_like(mask)
    kept[rows] = mask[rows]
    return kept


def _chest_wall(tissue: Mask, rows: slice) -> Side:
    """The side along which the breast is longest: it leaves the picture there, or ends in a straight cut."""
    columns = np.flatnonzero(tissue[rows].any(axis=0))
    first, last = int(columns[0]), int(columns[-1])
    edge = max(1, (last + 1 - first) // 20)
    on_left = int(tissue[rows, first : first + edge].sum())
    on_right = int(tissue[rows, last + 1 - edge : last + 1].sum())
    return "left" if on_left >= on_right else "right"
