"""Padding whose edges are blurred into its neighbours: at an earlier level, or by a lossy codec."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

VISIBLE = 0.1
"""Padding that would be displayed brighter than this leaves a rim where it is blurred; range [0, 1]."""
REACH = 2
"""How far a padding edge reaches at any level, in pixels: half the low-pass filter of the 9/7 wavelet."""


def hide_padding(display: NDArray[np.float32], padding: NDArray[np.bool_], brightness: float) -> NDArray[np.float32]:
    """Blacken padding, and take its light out of the pixels beside it.

    A pixel beside padding is taken for a mixture of padding and of the brightest pixel past the padding's reach; what
    remains is the share of the latter.

    Args:
        display: (H, W) float32 in [0, 1], padding still as bright as its value; it is overwritten.
        padding: (H, W), the pixels near a padding value. Lone ones are tissue of that value.
        brightness: of padding, in [0, 1].
    """
    area = cv2.morphologyEx(padding.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    side = 2 * REACH + 1
    beside = cv2.dilate(area, np.ones((side, side), np.uint8)) != 0
    beyond = np.where(beside, np.float32(0.0), display)
    beyond = cv2.dilate(beyond, np.ones((side + 2, side + 2), np.uint8))[beside]
    mixed = display[beside]
    contrast = beyond - np.float32(brightness)
    contrast[contrast == 0.0] = 1.0
    share = np.clip((mixed - np.float32(brightness)) / contrast, 0.0, 1.0)
    display[beside] = np.minimum(mixed, share * beyond)
    display[area != 0] = 0.0
    return display
