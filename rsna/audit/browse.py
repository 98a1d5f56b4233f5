"""Contact sheets of a set, as PNG: originals with the crop drawn in, beside what was prepared from them."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.data import PreprocessSettings
from rsna.dicom.box import Box
from rsna.dicom.file import Mammogram
from rsna.parallel.pool import map_tasks
from rsna.parallel.progress import Progress
from rsna.pictures.sheet import Group, Tile, draw_sheet
from rsna.pictures.style import CROP, rgb
from rsna.pictures.words import Pixels, as_colour, write_png
from rsna.prepare.boxes import read_boxes
from rsna.prepare.image import prepare_image, read_overview
from rsna.prepare.source import open_image
from rsna.prepare.value_range import narrowed

HEIGHT = 300
"""Rows of a picture on a sheet."""

PER_SHEET = 12
"""Images on a sheet."""

_BROADEST = 1.4
"""Widest picture on a sheet, as share of its height."""

_LEGEND = "left the file, in blue the crop; right what is prepared of it"

_TileTask = tuple[str, Box | None]
"""Path, and the crop for crop=boxes."""


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What a worker makes of an image."""

    original: Pixels
    """(HEIGHT, w, 3) with its crop."""
    prepared: npt.NDArray[np.uint8]
    """(HEIGHT, w)."""
    breast_found: bool
    side: str
    """What the header says, "" where it does not."""
    view: str
    notes: tuple[str, ...]
    """What had to be interpreted."""


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
    tasks: list[_TileTask] = [(str(row["path"]), boxes.get(str(row["image_id"]))) for row in rows]
    sheets: list[Path] = []
    failures: list[tuple[str, str]] = []
    waiting: list[tuple[Mapping[Hashable, Any], _Drawn]] = []
    with Progress(f"draw {name}", len(tasks)) as progress:
        for outcome in map_tasks(partial(_draw, settings), tasks, workers=workers, timeout=file_timeout):
            if outcome.value is not None:
                waiting.append((rows[outcome.index], outcome.value))
            else:
                failures.append((str(rows[outcome.index]["image_id"]), str(outcome.failure)))
            progress.step(failed=outcome.value is None)
            if waiting and (len(waiting) == PER_SHEET or outcome.index == len(tasks) - 1):
                title = f"{name} {len(sheets) + 1} · {len(chosen):,} of {len(table):,} images · {_LEGEND}"
                sheet = draw_sheet(title, _in_exams(waiting))
                sheets.append(write_png(sheet.pixels, Path(out) / f"{name}-{len(sheets) + 1}.png"))
                waiting = []
    return BrowseReport(sheets, len(tasks) - len(failures), failures)


def _in_exams(drawn: Sequence[tuple[Mapping[Hashable, Any], _Drawn]]) -> list[Group]:
    """Images of one exam, or of a patient where exams are not told apart, as one group; in their order."""
    groups = groupby(drawn, key=lambda one: (_given(one[0], "patient_id"), _given(one[0], "exam_id")))
    return [
        Group(f"patient {patient}" if patient else "", tuple(_tile(row, found) for row, found in images))
        for (patient, _), images in groups
    ]


def _given(row: Mapping[Hashable, Any], column: str) -> str:
    """What a table says, "" where it says nothing."""
    value = row.get(column, "")
    if value == "" or pd.isna(value):
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _tile(row: Mapping[Hashable, Any], found: _Drawn) -> Tile:
    told = {"laterality": found.side, "view": found.view}
    about = [_given(row, name) or (f"{header} (header)" if header else "") for name, header in told.items()]
    about = [said or f"{name} unknown" for said, name in zip(about, ("side", "view"), strict=True)]
    machine = _given(row, "machine_id") or _given(row, "machine")
    cancer = {"1": "cancer", "0": ""}.get(_given(row, "cancer"), "unlabelled") if "cancer" in row else ""
    facts = [" ".join(about), f"machine {machine}" if machine else "", cancer]
    return Tile(
        (found.original, found.prepared),
        (str(row["image_id"]), " · ".join(fact for fact in facts if fact)),
        "; ".join(found.notes),
        "" if found.breast_found else "no breast found: the whole image",
    )


def _draw(settings: PreprocessSettings, task: _TileTask) -> _Drawn:
    """Prepares an image and draws it; what a worker does."""
    path, box = task
    image = narrowed(open_image(path), settings)
    original = np.rint(image.display(read_overview(image, 256), window=settings.window) * 255).astype(np.uint8)
    pixels, geometry = prepare_image(image, settings, box)
    left = as_colour(_fitted(original))
    scale_y, scale_x = left.shape[0] / geometry.source[0], left.shape[1] / geometry.source[1]
    x0, y0, x1, y1 = geometry.box
    corners = (round(x0 * scale_x), round(y0 * scale_y)), (round(x1 * scale_x) - 1, round(y1 * scale_y) - 1)
    if geometry.breast_found:  # without, it is the whole image
        cv2.rectangle(left, *corners, rgb(CROP), 1)
    tags = image.tags if isinstance(image, Mammogram) else None
    return _Drawn(
        left,
        _fitted(np.asarray(pixels >> (settings.bits - 8), dtype=np.uint8)),
        geometry.breast_found,
        tags.laterality if tags else "",
        tags.view if tags else "",
        image.notes if isinstance(image, Mammogram) else (),
    )


def _fitted(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(h, w) the picture as high as the others, or lower where it would be too wide."""
    scale = min(HEIGHT / grey.shape[0], HEIGHT * _BROADEST / grey.shape[1])
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    resized = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)
