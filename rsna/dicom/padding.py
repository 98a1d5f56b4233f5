"""Padding whose edges are blurred into its neighbours: at an earlier level, or by a lossy codec."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

VISIBLE = 0.1
"""Padding that would be displayed brighter than this leaves a rim where it is blurred; range [0, 1]."""
_BLUR = 2
"""How far an edge of padding is mixed with its neighbours, in pixels: half the low-pass filter of the 9/7 wavelet."""
_TRACE = 4
"""How far something of it is left at any level, in pixels: the whole filter."""
_RINGING = 8
"""How far it reaches where a codec drops detail, in pixels: a block of JPEG, and what can be seen in JPEG 2000."""
_SQUARE = 9
"""Pixels: a square near one grey that is larger than a block of JPEG is no tissue, however much detail was dropped."""
_FARTHEST = 16
"""Padding is not looked for beyond this part of the image's own range."""
_LEAST = 1000
"""Less than this part of an image is no padding."""


def _reach(error: int | None) -> int:
    return {0: _TRACE, None: _RINGING}.get(error, 0)


def margin(error: int | None) -> int:
    """How many pixels around a part decide how its padding looks.

    Args:
        error: of the codec, as `Codestream.error`.
    """
    return (2 if error == 0 else _SQUARE - 1) + 2 * _reach(error) + 1


def hide_padding(
    display: NDArray[np.float32], distance: NDArray[np.uint16], brightness: float, error: int | None
) -> NDArray[np.float32]:
    """Blacken padding, and take its light out of the pixels beside it.

    Padding is what has its value in an area; lone pixels are tissue of that value. A pixel beside it is taken for a
    mixture of padding and of the brightest pixel past the padding's reach; what remains is the share of the latter.

    Args:
        display: (H, W) float32 in [0, 1], padding still as bright as its value; it is overwritten.
        distance: (H, W) of each pixel from the padding values, in stored values.
        brightness: of padding, in [0, 1].
        error: how far the codec may be off, None where it does not say.
    """
    square = np.ones((3, 3) if error == 0 else (_SQUARE, _SQUARE), np.uint8)
    farthest = cv2.dilate(distance, square)
    spread = _measure_spread(farthest, int(np.ptp(distance))) if error is None else error
    area = cv2.dilate((farthest <= spread).astype(np.uint8), square)
    side = 2 * _reach(error) + 1
    beside = cv2.dilate(area, np.ones((side, side), np.uint8)) != 0
    around = np.ones((side + 2, side + 2), np.uint8)
    beyond = cv2.dilate(np.where(beside, np.float32(-1.0), display), around)[beside]
    mixed = display[beside]
    light = np.float32(brightness)
    share = np.clip((light - mixed) / np.maximum(light - beyond, np.float32(1e-6)), 0.0, 1.0)
    # Where padding is not the brightest, what looks like it may be tissue. So is what looks like tissue farther away,
    # where only traces of padding are left; and a narrow strip, past which nothing lies, is kept as it is.
    side = 2 * _BLUR + 1
    near = cv2.dilate(area, np.ones((side, side), np.uint8))[beside] != 0
    mixture = (beyond >= 0.0) & (beyond < light) & (near | (share < 0.25))
    display[beside] = np.where(mixture, np.minimum(mixed, share * beyond), mixed)
    display[area != 0] = 0.0
    return display


def _measure_spread(farthest: NDArray[np.uint16], range_: int) -> int:
    """How far a lossy codec left padding from its value: a matter of the image, not of its header.

    Squares of padding are a cluster near distance 0, which ends where there are few, or fewest before tissue begins.
    Where numbers only rise there is no padding.

    Args:
        farthest: (H, W) the greatest distance in the square around each pixel.
        range_: between the least and the greatest distance.

    Returns:
        the distance, -1 without padding.
    """
    ends = np.unique((2.0 ** (np.arange(32) / 2)).astype(int))
    ends = np.array([0, *ends[ends <= range_ // _FARTHEST]])
    below = np.cumsum(np.bincount(farthest.ravel(), minlength=ends[-1] + 1))[ends]
    counts = np.diff(below, prepend=0) / np.diff(ends, prepend=-1)
    peak = int(np.argmax(below * _LEAST >= farthest.size))
    while peak + 1 < len(ends) and counts[peak + 1] >= counts[peak]:
        peak += 1
    after = counts[peak:] / max(counts[peak], 1.0)
    few, rising = after < 0.001, np.append(after[1:] >= after[:-1], True)
    end = int(np.argmax(few | (rising & (after < 0.05)))) or int(np.argmin(after))
    found = below[peak] * _LEAST >= farthest.size and after[end] < 0.25
    return int(ends[peak + end]) if found else -1
