"""Contact sheets of a set, as PNG: originals with the crop drawn in, beside what was prepared from them."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.data import PreprocessSettings
from rsna.dicom.box import Box
from rsna.files import write_atomic
from rsna.parallel.pool import map_tasks
from rsna.prepare.image import prepare_image, read_boxes, read_overview
from rsna.prepare.source import open_image

Tile = npt.NDArray[np.uint8]
"""(HEIGHT, WIDTH, 3) blue, green, red: an original with its crop drawn in, beside what was prepared from it."""

HEIGHT, WIDTH = 384, 560
"""Of a tile, in pixels."""

_ACROSS, _DOWN = 3, 4
"""Tiles on a sheet."""

_TEXT, _GAP = 16, 4
_GREY, _GREEN, _YELLOW = (48, 48, 48), (80, 220, 80), (80, 220, 240)


_TileTask = tuple[str, tuple[str, str], Box | None]
"""Path, two lines of caption, and the crop for crop=boxes."""


@dataclass(frozen=True)
class BrowseReport:
    """What was drawn."""

    sheets: list[Path]
    """PNG files, in order."""
    n_shown: int
    """Images on them."""
    failures: list[tuple[str, str]]
    """(image_id, reason) of the images that cannot be shown."""

    def text(self) -> str:
        """The report for a person."""
        lines = [f"cannot be shown: {image_id}: {reason}" for image_id, reason in self.failures]
        return "\n".join([*lines, f"{self.n_shown} images on {', '.join(map(str, self.sheets)) or 'no sheet'}"])


def browse(
    table: pd.DataFrame,
    settings: PreprocessSettings,
    out: str | Path,
    *,
    n: int | None = 24,
    seed: int = 0,
    name: str = "sheet",
    workers: int | None = None,
    file_timeout: float = 60.0,
) -> BrowseReport:
    """Draws images of a table onto contact sheets.

    Args:
        table: Columns image_id and path; patient_id, machine_id, laterality, view and cancer are shown where given.
        out: Folder for ``<name>-1.png``, ``<name>-2.png``, …
        n: How many images, drawn at random without repetition and shown in the table's order; None for all.
        name: Front of the files' names.
        workers: Processes; None for one a core.
        file_timeout: Seconds after which a file counts as failed.
    """
    chosen = table if n is None or n >= len(table) else table.sample(n, random_state=seed).sort_index()
    boxes = read_boxes(settings.boxes) if settings.boxes else {}
    rows = chosen.to_dict("records")
    tasks: list[_TileTask] = [(str(row["path"]), _caption(row), boxes.get(str(row["image_id"]))) for row in rows]
    sheets: list[Path] = []
    failures: list[tuple[str, str]] = []
    waiting: list[Tile] = []
    for outcome in map_tasks(partial(_draw_tile, settings), tasks, workers=workers, timeout=file_timeout):
        if outcome.value is not None:
            waiting.append(outcome.value)
        else:
            failures.append((str(rows[outcome.index]["image_id"]), str(outcome.failure)))
        if waiting and (len(waiting) == _ACROSS * _DOWN or outcome.index == len(tasks) - 1):
            sheets.append(_write_sheet(waiting, Path(out) / f"{name}-{len(sheets) + 1}.png"))
            waiting = []
    return BrowseReport(sheets, len(tasks) - len(failures), failures)


def _caption(row: Mapping[Hashable, Any]) -> tuple[str, str]:
    def given(column: str, front: str = "") -> str:
        value = row.get(column, "")
        if value == "" or pd.isna(value):
            return ""
        return f"{front}{int(value) if isinstance(value, float) and value.is_integer() else value}"

    about = [given("laterality"), given("view"), given("machine_id", "machine "), given("patient_id", "patient ")]
    cancer = "cancer" if given("cancer") == "1" else ""
    return str(row["image_id"]), "  ".join(text for text in [*about, cancer] if text)


def _draw_tile(settings: PreprocessSettings, task: _TileTask) -> Tile:
    """Prepares an image and draws it; what a worker does."""
    path, caption, box = task
    image = open_image(path)
    original = np.rint(image.display(read_overview(image, 256), window=settings.window) * 255).astype(np.uint8)
    pixels, geometry = prepare_image(image, settings, box)
    prepared = np.asarray(pixels >> (settings.bits - 8), dtype=np.uint8)

    space = HEIGHT - 2 * _TEXT - 2 * _GAP
    left = _fitted(original, space, (WIDTH - 3 * _GAP) * 3 // 5)
    right = _fitted(prepared, space, (WIDTH - 3 * _GAP) * 2 // 5)
    scale_y, scale_x = left.shape[0] / geometry.source[0], left.shape[1] / geometry.source[1]
    x0, y0, x1, y1 = geometry.box
    corners = (round(x0 * scale_x), round(y0 * scale_y)), (round(x1 * scale_x) - 1, round(y1 * scale_y) - 1)
    cv2.rectangle(left, *corners, _GREEN, 1)

    tile = np.full((HEIGHT, WIDTH, 3), _GREY, np.uint8)
    top = 2 * _TEXT + _GAP
    tile[top : top + left.shape[0], _GAP : _GAP + left.shape[1]] = left
    tile[top : top + right.shape[0], WIDTH - _GAP - right.shape[1] : WIDTH - _GAP] = right
    for line, text in enumerate(caption):
        place = (_GAP, (line + 1) * _TEXT - 3)
        ascii_text = text.encode("ascii", "replace").decode()
        cv2.putText(tile, ascii_text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _YELLOW, 1, cv2.LINE_AA)
    return tile


def _fitted(grey: npt.NDArray[np.uint8], height: int, width: int) -> Tile:
    """(h, w, 3) the picture as large as it fits."""
    scale = min(height / grey.shape[0], width / grey.shape[1])
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    resized = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(resized, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def _write_sheet(tiles: list[Tile], path: Path) -> Path:
    down = -(-len(tiles) // _ACROSS)
    sheet = np.zeros((down * HEIGHT, _ACROSS * WIDTH, 3), np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // _ACROSS * HEIGHT, place % _ACROSS * WIDTH
        sheet[top : top + HEIGHT, left : left + WIDTH] = tile
    encoded, content = cv2.imencode(".png", sheet)
    if not encoded:
        raise RuntimeError(f"{path}: OpenCV cannot encode a PNG of {sheet.shape}")
    write_atomic(path, content.tobytes())
    return path
