"""Colours and sizes of every picture: sheets, heat, training curves, the report's page and SVG files.

Series are told apart by whoever sees no red, no green or no blue, and are dark enough for words (contrast 4.5); in
grey, where colours of one contrast are one, dashes and marks tell them apart. Heat is viridis, of which equal steps
look equal and which grows lighter all the way, so that it may be printed in grey, too.
"""

from typing import NamedTuple


class Colour(NamedTuple):
    """``#rrggbb`` on a light and on a dark ground."""

    light: str
    dark: str


SERIES = {
    "a": Colour("#0d6670", "#56bcc6"),
    "b": Colour("#a94f17", "#e8a064"),
    "c": Colour("#6655a3", "#a794f0"),
    "d": Colour("#3f2413", "#f2efb0"),
}
"""Of curves, dots and bars, in the order in which they are given out."""

DASHES: dict[str, tuple[float, ...]] = {"a": (), "b": (7, 3), "c": (2, 3), "d": (9, 3, 2, 3)}
"""Of a curve of each, in widths of a thin line on and off; none is a whole line."""

PAPER, INK, SOFT, LINE, GRID = "#ffffff", "#1b2126", "#59636c", "#c9cecb", "#ecedea"
"""Ground of every file; words; words and lines that matter less; frames; what lies behind curves."""

CROP, ALARM = "#56b4e9", "#d55e00"
"""Sky blue and vermilion of Okabe and Ito (2008): a crop on grey pixels, and what needs a look."""

FAMILIES = ("Inter", "Segoe UI", "Helvetica Neue", "DejaVu Sans", "sans-serif")
"""Typefaces of pages and SVG files; curves in PNG files are written in the fourth, pixels in Pillow's own."""

TEXT, TITLE = 14, 18
"""Heights of letters on sheets, in pixels."""

PAIR, NEAR, APART = 4, 14, 40
"""Pixels between the pictures of one image, between images of one exam, and between exams."""


def rgb(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` → red, green, blue, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
