"""One tile of a contact sheet: an original with its crop drawn in, beside what was prepared from it."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rsna.config.data import PreprocessSettings
from rsna.dicom.box import Box
from rsna.prepare.image import prepare_image, read_overview
from rsna.prepare.source import open_image

Tile = npt.NDArray[np.uint8]
"""(H, W, 3) blue, green, red."""

HEIGHT, WIDTH = 384, 560
"""Of a tile, in pixels."""

_TEXT = 16
_GAP = 4
_GREY, _GREEN, _YELLOW = (48, 48, 48), (80, 220, 80), (80, 220, 240)


@dataclass(frozen=True)
class SheetTask:
    """What a tile is drawn from."""

    path: str
    caption: tuple[str, str]
    """Two lines."""
    box: Box | None = None
    """The crop, for crop=boxes."""


def draw_tile(settings: PreprocessSettings, task: SheetTask) -> Tile:
    """Prepares an image and draws it; what a worker does.

    Raises:
        DicomError, PictureError, ValueError, OSError: The image cannot be prepared.
    """
    image = open_image(task.path)
    original = _to_bytes(image.display(read_overview(image, 256), window=settings.window))
    pixels, geometry = prepare_image(image, settings, task.box)
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
    for line, text in enumerate(task.caption):
        place = (_GAP, (line + 1) * _TEXT - 3)
        ascii_text = text.encode("ascii", "replace").decode()
        cv2.putText(tile, ascii_text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _YELLOW, 1, cv2.LINE_AA)
    return tile


def _to_bytes(display: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(display * 255).astype(np.uint8)


def _fitted(grey: npt.NDArray[np.uint8], height: int, width: int) -> Tile:
    """(h, w, 3) the picture as large as it fits."""
    scale = min(height / grey.shape[0], width / grey.shape[1])
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    resized = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(resized, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
