"""Heat over grey pixels: its colours, its scale, and a figure with everything that has to be said of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rsna.pictures.style import INK, SOFT
from rsna.pictures.words import Pixels, as_colour, blank, fitted, wrapped, write

Grey = npt.NDArray[np.uint8]
"""(h, w) uint8."""

Heat = npt.NDArray[np.float32]
"""(h, w) float32 ≥ 0, logit per feature map cell up to a factor; 0 where nothing raises the logit."""

FAINT = 0.25
"""Share of the scale below which heat fades out: above it all colours cover as much, so that equal steps look equal."""

_OPACITY = 0.62
"""Of heat that does not fade."""

_LEAST_ROWS, _MOST_COLUMNS = 560, 3000
"""Smaller panels are enlarged by whole numbers, as far as the figure is not broader than this."""

_BAR, _GAP, _MARGIN = 22, 14, 24
"""Width of the scale, between panels, and around all, in pixels."""

_MOST_LINES = 8
"""Of a remark: an ellipsis would fall on the number that it is made for."""


def viridis() -> npt.NDArray[np.uint8]:
    """(256, 3) red, green, blue: from dark blue to yellow (van der Walt and Smith, 2015)."""
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(table[:, 0, ::-1])


def heat_colours(heat: Heat, top: float) -> npt.NDArray[np.uint8]:
    """(h, w) heat → (h, w, 4) uint8 red, green, blue, opacity: nothing where it is 0, yellow at ``top``."""
    share = np.clip(heat / top, 0, 1) if top > 0 else np.zeros_like(heat)
    colours = viridis()[np.rint(share * 255).astype(np.uint8)]
    opacity = 255 * _OPACITY * np.minimum(share / FAINT, 1)
    return np.dstack([colours, np.rint(opacity).astype(np.uint8)])


def overlay(grey: Grey, heat: Heat, top: float) -> Pixels:
    """(h, w) grey pixels and heat of the same size → (h, w, 3) uint8 red, green, blue."""
    colours = heat_colours(heat, top).astype(np.float32)
    opacity = colours[..., 3:] / 255.0
    return np.asarray(np.rint(grey[..., None] * (1 - opacity) + colours[..., :3] * opacity), dtype=np.uint8)


def outlined(pixels: Pixels, share: Heat) -> Pixels:
    """``pixels`` with a line where heat, as share of the highest, is one half: in grey, it looks like dense tissue.

    The skin, where heat is cut off, gets none.
    """
    reach = max(1, round(max(share.shape) / 700))
    within = cv2.erode((share > 0).astype(np.uint8), np.ones((5, 5), np.uint8), iterations=reach)
    hot, warm = (share >= 0.5).astype(np.uint8), within & (share < 0.5).astype(np.uint8)
    drawn = pixels.copy()
    for colour, radius in ((0, reach + 1), (255, reach)):
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        drawn[(cv2.dilate(hot, disc) & cv2.dilate(warm, disc)) > 0] = colour
    return drawn


def stops(number: int = 9) -> list[tuple[int, int, int, float]]:
    """Colours of the scale from nothing to the highest: red, green, blue, 0 to 255, and opacity, 0 to 1."""
    colours = heat_colours(np.linspace(0, 1, number, dtype=np.float32)[None], 1.0)[0]
    return [(r, g, b, round(a / 255, 3)) for r, g, b, a in colours.tolist()]


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture of a figure."""

    pixels: Pixels
    """(h, w) grey or (h, w, 3)."""
    said: str
    """Under it, in lines as wide as it is."""
    share: Heat | None = None
    """(h, w) heat as share of the highest, to draw a line at one half."""


def heat_figure(lines: Sequence[str], panels: Sequence[Panel]) -> Pixels:
    """Panels of one height side by side, the scale at their right, words above and below.

    Args:
        lines: Above; the first one larger.
        panels: One at least; all of one size.
    """
    rows, columns = panels[0].pixels.shape[:2]
    room = _MOST_COLUMNS // max(columns * len(panels), 1)
    times = max(1, min(-(-_LEAST_ROWS // rows), room))
    rows, columns = rows * times, columns * times
    size = int(np.clip(rows / 42, 14, 40))
    scale = _GAP + _BAR + 3 * size
    width = max(2 * _MARGIN + (columns + _GAP) * len(panels) - _GAP + scale, 34 * size)
    title, room = round(1.3 * size), width - 2 * _MARGIN
    above = [line for text in lines[1:] for line in wrapped(text, room, size, _MOST_LINES)]
    below = [wrapped(panel.said, columns, size, _MOST_LINES) for panel in panels]
    head = _MARGIN + round(1.9 * size) + round(1.5 * size) * len(above)
    figure = blank(head + rows + round(1.35 * size * max(map(len, below)) + 0.5 * size) + _MARGIN, width)
    write(figure, fitted(lines[0], room, title), _MARGIN, _MARGIN - 6, title, INK)
    for number, line in enumerate(above):
        write(figure, line, _MARGIN, _MARGIN - 6 + size * (1.9 + 1.5 * number), size, SOFT)
    left = _MARGIN
    for panel, words in zip(panels, below, strict=True):
        shown = cv2.resize(as_colour(panel.pixels), (columns, rows), interpolation=cv2.INTER_CUBIC)
        if panel.share is not None:
            shown = outlined(shown, cv2.resize(panel.share, (columns, rows), interpolation=cv2.INTER_LINEAR))
        figure[head : head + rows, left : left + columns] = shown
        for number, line in enumerate(words):
            write(figure, line, left, head + rows + size * (0.4 + 1.35 * number), size, SOFT)
        left += columns + _GAP
    _draw_scale(figure, left, head, rows, size)
    return figure


def _draw_scale(figure: Pixels, left: int, top: int, rows: int, size: int) -> None:
    """From nothing at the foot to the highest heat, over the grey of tissue, with ticks at quarters."""
    shares = np.linspace(1, 0, rows, dtype=np.float32)[:, None].repeat(_BAR, axis=1)
    figure[top : top + rows, left : left + _BAR] = overlay(np.full(shares.shape, 90, np.uint8), shares, 1.0)
    for quarter in range(5):
        y = top + round((rows - 1) * (1 - quarter / 4))
        figure[y, left + _BAR : left + _BAR + 5] = 90
        if quarter == 2:  # where the line around heat is
            figure[y - 2 : y + 3, left : left + _BAR] = 0
            figure[y - 1 : y + 2, left : left + _BAR] = 255
        anchor = "l" + ("s" if quarter == 0 else "a" if quarter == 4 else "m")
        write(figure, f"{quarter / 4:g}", left + _BAR + 9, y, size, SOFT, anchor)
