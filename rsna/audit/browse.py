"""Contact sheets of a set, as PNG: originals with the crop drawn in, beside what was prepared from them."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from rsna.audit.sheet import HEIGHT, WIDTH, SheetTask, Tile, draw_tile
from rsna.config.data import PreprocessSettings
from rsna.files import write_atomic
from rsna.parallel.pool import map_tasks
from rsna.prepare.boxes import read_boxes

_ACROSS, _DOWN = 3, 4
"""Tiles on a sheet."""


@dataclass(frozen=True)
class BrowseReport:
    """What was drawn."""

    sheets: list[Path]
    """PNG files, in order."""
    n_shown: int
    """Images on them."""
    failures: list[tuple[str, str]]
    """(image_id, reason) of the images that cannot be shown."""


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
        settings: How images are prepared.
        out: Folder for ``<name>-1.png``, ``<name>-2.png``, …
        n: How many images, drawn at random without repetition and shown in the table's order; None for all.
        seed: Of the draw.
        name: Front of the files' names.
        workers: Processes; None for one a core.
        file_timeout: Seconds after which a file counts as failed.

    Raises:
        ConfigError: The file of boxes cannot be read.
        PoolError: No worker can be started.
        OSError: A sheet cannot be written.
    """
    chosen = table if n is None or n >= len(table) else table.sample(n, random_state=seed).sort_index()
    boxes = read_boxes(settings.boxes) if settings.boxes else {}
    image_ids = chosen["image_id"].astype(str).tolist()
    rows = chosen.to_dict("records")
    tasks = [
        SheetTask(str(row["path"]), _caption(row), boxes.get(image_id))
        for image_id, row in zip(image_ids, rows, strict=True)
    ]
    sheets: list[Path] = []
    failures: list[tuple[str, str]] = []
    waiting: list[Tile] = []
    for outcome in map_tasks(partial(draw_tile, settings), tasks, workers=workers, timeout=file_timeout):
        if outcome.value is not None:
            waiting.append(outcome.value)
        elif outcome.failure is not None:
            failures.append((image_ids[outcome.index], f"{outcome.failure.kind}: {outcome.failure.message}"))
        if waiting and (len(waiting) == _ACROSS * _DOWN or outcome.index == len(tasks) - 1):
            sheets.append(_write_sheet(waiting, Path(out) / f"{name}-{len(sheets) + 1}.png"))
            waiting = []
    return BrowseReport(sheets, len(tasks) - len(failures), failures)


def _caption(row: Mapping[Hashable, Any]) -> tuple[str, str]:
    def given(column: str, front: str = "") -> str:
        value = row.get(column)
        missing = value is None or value == "" or (isinstance(value, float) and np.isnan(value))
        if missing:
            return ""
        return f"{front}{int(value) if isinstance(value, float) and value.is_integer() else value}"

    about = [given("laterality"), given("view"), given("machine_id", "machine "), given("patient_id", "patient ")]
    cancer = "cancer" if given("cancer") == "1" else ""
    return str(row["image_id"]), "  ".join(text for text in [*about, cancer] if text)


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
