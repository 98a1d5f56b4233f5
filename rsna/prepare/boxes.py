"""A file of boxes that somebody drew, for `crop=boxes`."""

import csv
from pathlib import Path

from rsna.config.settings import ConfigError
from rsna.dicom.box import Box

_COLUMNS = ("x0", "y0", "x1", "y1")


def read_boxes(path: str | Path) -> dict[str, Box]:
    """image_id → box in pixels of the file as stored, from a CSV file with image_id, x0, y0, x1, y1.

    Fractions are rounded. Whether a box lies within its image is seen when the image is opened.

    Raises:
        ConfigError: The file cannot be read, lacks a column, repeats an image_id or holds a box without area.
    """
    boxes: dict[str, Box] = {}
    try:
        # Spreadsheets put a byte order mark before the first column's name.
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"image_id", *_COLUMNS} - set(reader.fieldnames or ())
            if missing:
                raise ConfigError(f"boxes {path}: lacks the columns {', '.join(sorted(missing))}")
            for row in reader:
                where = f"boxes {path}, line {reader.line_num}"
                image_id = str(row["image_id"])
                if image_id in boxes:
                    raise ConfigError(f"{where}: image_id {image_id} stands there twice")
                boxes[image_id] = _box(row, where)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"boxes {path}: {error}") from error
    return boxes


def _box(row: dict[str, str], where: str) -> Box:
    try:
        x0, y0, x1, y1 = (round(float(row[column])) for column in _COLUMNS)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{where}: x0, y0, x1, y1 are not all numbers") from None
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise ConfigError(f"{where}: needs 0 ≤ x0 < x1 and 0 ≤ y0 < y1, has {x0}, {y0}, {x1}, {y1}")
    return x0, y0, x1, y1
