"""Stored values → display values, only where they are wanted."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rsna.dicom.box import Box
from rsna.dicom.decode import Stored
from rsna.dicom.grayscale import Grayscale
from rsna.dicom.padding import REACH, VISIBLE, hide_padding

MARGIN = 3 * REACH
"""Pixels around a part that decide how it looks."""


def to_display(
    stored: Stored, grayscale: Grayscale, window: int | str | None, box: Box | None, *, reduced: bool, lossy: bool
) -> NDArray[np.float32]:
    """Turn stored values into display values.

    Args:
        stored: (H, W) uint8, uint16, int8 or int16.
        grayscale: of the file they come from.
        window: index or explanation of a window or VOI LUT, None for the full stored range.
        box: the part that is wanted, None for all of it.
        reduced: the values come from an earlier level, where padding has soft edges.
        lossy: the values come from a lossy codestream, where it has them too, and is not flat.

    Returns:
        (y1 - y0, x1 - x0) float32 in [0, 1], MONOCHROME2 sense, padding 0.

    Raises:
        NoSuchWindow
    """
    x0, y0, x1, y1 = box or (0, 0, stored.shape[1], stored.shape[0])
    table = grayscale.table(window, stored.dtype)
    padding = grayscale.padding_table(stored.dtype, _tolerance(grayscale, reduced, lossy))
    brightness = float(table[padding].max(initial=0.0)) if padding is not None else 0.0
    if padding is None or not (reduced or lossy) or brightness <= VISIBLE:
        if padding is not None:
            table[padding] = 0.0
        return _look_up(stored[y0:y1, x0:x1], table)
    # With a margin, so that a part looks as it does in the whole.
    left, top = max(0, x0 - MARGIN), max(0, y0 - MARGIN)
    part = stored[top : y1 + MARGIN, left : x1 + MARGIN]
    hidden = hide_padding(_look_up(part, table), _look_up(part, padding.astype(np.uint8)) != 0, brightness)
    return np.ascontiguousarray(hidden[y0 - top : y1 - top, x0 - left : x1 - left])


def _tolerance(grayscale: Grayscale, reduced: bool, lossy: bool) -> int:
    """How far decoded padding may lie from its value, in stored values."""
    least, greatest = grayscale.stored_range
    if lossy:
        return (greatest - least) // 64
    return min(8, (greatest - least) // 255) if reduced else 0


def _look_up(stored: Stored, table: NDArray[Any]) -> NDArray[Any]:
    """`table[stored]`, several times faster."""
    return cv2.LUT(stored.view(f"u{stored.dtype.itemsize}"), table)  # type: ignore[no-any-return]
