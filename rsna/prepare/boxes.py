"""A file of boxes, by which people crop images themselves → one box an image."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsna.config.settings import ConfigError
from rsna.dicom.box import Box

log = logging.getLogger(__name__)

_CORNERS = ("x0", "y0", "x1", "y1")
"""Columns of a file of boxes."""


def read_boxes(path: str | Path) -> dict[str, Box]:
    """image_id → box in pixels of the file as stored, from a table with image_id, x0, y0, x1, y1.

    Fractions are rounded. Whether a box lies within its image is seen when the image is opened.

    Raises:
        ConfigError: The file cannot be read, lacks a column, repeats an image_id or holds a box without area.
    """
    from rsna.table_file import TableError, read_table  # pandas, which the workers do without

    notes: list[str] = []
    try:
        table = read_table(path, notes, ("image_id", *_CORNERS))
    except TableError as error:
        raise ConfigError(f"boxes {error}") from error
    for note in notes:
        log.warning("boxes %s", note)
    boxes: dict[str, Box] = {}
    for line, image_id, *corners in table[["image_id", *_CORNERS]].itertuples(name=None):
        where = f"boxes {path}, line {line}"
        if image_id in boxes:
            raise ConfigError(f"{where}: image_id {image_id} stands there twice")
        boxes[image_id] = _box(corners, where)
    return boxes


def _box(corners: Sequence[Any], where: str) -> Box:
    try:
        x0, y0, x1, y1 = (round(float(corner)) for corner in corners)
    except (ValueError, OverflowError):
        raise ConfigError(f"{where}: x0, y0, x1, y1 are not all numbers") from None
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise ConfigError(f"{where}: needs 0 ≤ x0 < x1 and 0 ≤ y0 < y1, has {x0}, {y0}, {x1}, {y1}")
    return x0, y0, x1, y1
