"""Contact sheets: pictures in rows, close to what they belong to, with words over them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2

from rsna.dicom.box import Box
from rsna.pictures.style import ALARM, APART, INK, LINE, NEAR, PAIR, PAPER, SOFT, TEXT, TITLE, rgb
from rsna.pictures.words import Pixels, as_colour, blank, fitted, width_of, wrapped, write

WIDTH = 1800
"""Of a sheet, in pixels."""

_MARGIN, _LINE, _HEAD, _FRAME, _SAID = 24, 18, 22, 4, 20
"""Pixels around all, of a line of words, of a group's title, of a frame, and of the words at its foot."""


@dataclass(frozen=True, eq=False)
class Tile:
    """An image: one picture of it or several, as it came and as it was prepared."""

    pictures: tuple[Pixels, ...]
    """(h, w) or (h, w, 3) red, green, blue, side by side."""
    caption: tuple[str, ...]
    """Lines above: which image it is, in ink, and what is known of it."""
    notes: str = ""
    """What was guessed, in two lines at most."""
    alarm: str = ""
    """Why it needs a look: in a frame around the pictures; none where it is empty."""

    @property
    def width(self) -> int:
        """Of the pictures and what is between them."""
        return sum(int(picture.shape[1]) for picture in self.pictures) + PAIR * (len(self.pictures) - 1)

    @property
    def height(self) -> int:
        """Of the highest picture, and what is said below."""
        return max(int(picture.shape[0]) for picture in self.pictures) + _SAID * bool(self.alarm)


@dataclass(frozen=True, eq=False)
class Group:
    """Images that belong together, as those of an exam."""

    title: str
    tiles: tuple[Tile, ...]


@dataclass
class _Row:
    parts: list[tuple[Group, list[tuple[Tile, int]]]] = field(default_factory=list)
    """Groups, or what of them stands in this row: tiles with the x of their left edges."""
    end: int = _MARGIN
    """Right edge of what is in it."""

    @property
    def tiles(self) -> list[Tile]:
        return [tile for _, placed in self.parts for tile, _ in placed]


@dataclass(frozen=True)
class Sheet:
    """Pixels, and what lies where."""

    pixels: Pixels
    places: tuple[tuple[Box, ...], ...]
    """x0, y0, x1, y1 of every picture of every tile, in the order in which they were given."""


def draw_sheet(title: str, groups: Sequence[Group], width: int = WIDTH) -> Sheet:
    """Draws groups in rows, from left to right as far as they fit: what belongs together is closer than what does not.

    Args:
        title: One line above all.
        groups: One at least, and an image in each.
        width: Of the sheet in pixels at most, but for a tile that is wider.
    """
    widest = max(tile.width for group in groups for tile in group.tiles) + 2 * _MARGIN
    rows = _in_rows(groups, max(width, widest))
    width = max([row.end for row in rows] + [_MARGIN + min(width_of(title, TITLE), width)]) + _MARGIN
    heads = [_head_of(row) for row in rows]
    height = _MARGIN + TITLE + NEAR + sum(h + max(t.height for t in r.tiles) for h, r in zip(heads, rows, strict=True))
    pixels = blank(height + APART * (len(rows) - 1) + _MARGIN, width)
    write(pixels, fitted(title, width - 2 * _MARGIN, TITLE), _MARGIN, _MARGIN - 6, TITLE)
    places, top = [], _MARGIN + TITLE + NEAR
    for row, head in zip(rows, heads, strict=True):
        places += list(_draw_row(pixels, row, top, head))
        top += head + max(tile.height for tile in row.tiles) + APART
    return Sheet(pixels, tuple(places))


def _in_rows(groups: Sequence[Group], width: int) -> list[_Row]:
    """A group that does not fit beside the one before it starts a row; it goes on in the next where it is broader."""
    rows = [_Row()]
    for group in groups:
        wide = [max(tile.width, _least(tile)) for tile in group.tiles]
        together = sum(wide) + NEAR * (len(wide) - 1)
        fresh = True  # whether its next tile is the first one in its row
        for tile, needed in zip(group.tiles, wide, strict=True):
            gap = (APART if fresh else NEAR) if rows[-1].parts else 0
            asked = together if fresh and together <= width - 2 * _MARGIN else needed
            if rows[-1].parts and rows[-1].end + gap + asked > width - _MARGIN:
                rows.append(_Row())
                gap, fresh = 0, True
            row = rows[-1]
            if fresh:
                row.parts.append((group, []))
                fresh = False
            row.parts[-1][1].append((tile, row.end + gap))
            row.end += gap + needed
    return rows


def _least(tile: Tile) -> int:
    """Pixels that a tile takes for its words: narrow pictures would cut an id of ten digits."""
    return min(max([width_of(line, TEXT) for line in tile.caption[:1]], default=0), 120)


def _notes(tile: Tile) -> list[str]:
    return wrapped(tile.notes, tile.width, TEXT, 2) if tile.notes else []


def _head_of(row: _Row) -> int:
    """Height of what stands above the pictures of a row."""
    titled = any(group.title for group, _ in row.parts)
    return _HEAD * titled + _LINE * max(len(tile.caption) + len(_notes(tile)) for tile in row.tiles) + PAIR + _FRAME


def _draw_row(pixels: Pixels, row: _Row, top: int, head: int) -> Iterator[tuple[Box, ...]]:
    titled = any(group.title for group, _ in row.parts)
    for group, placed in row.parts:
        if group.title:
            left, right = placed[0][1], placed[-1][1] + max(placed[-1][0].width, _least(placed[-1][0]))
            write(pixels, fitted(group.title, right - left, TEXT), left, top, TEXT, SOFT)
            cv2.line(pixels, (left, top + _HEAD - 4), (right - 1, top + _HEAD - 4), rgb(LINE), 1)
        for tile, left in placed:
            room, y = max(tile.width, _least(tile)), top + _HEAD * titled
            lines = [(line, SOFT if n else INK) for n, line in enumerate(tile.caption)]
            for line, colour in [*lines, *((note, ALARM) for note in _notes(tile))]:
                write(pixels, fitted(line, room, TEXT), left, y, TEXT, colour)
                y += _LINE
            yield _draw_pictures(pixels, tile, left, top + head)


def _draw_pictures(pixels: Pixels, tile: Tile, left: int, top: int) -> tuple[Box, ...]:
    if tile.alarm:
        x1, y1 = left + tile.width, top + tile.height
        pixels[top - _FRAME : y1 + _FRAME, left - _FRAME : x1 + _FRAME] = rgb(ALARM)
        write(pixels, fitted(tile.alarm, tile.width - 8, TEXT), left + 4, y1 - _SAID / 2 + 2, TEXT, PAPER, "lm")
    places = []
    for picture in tile.pictures:
        rows, columns = picture.shape[:2]
        pixels[top : top + rows, left : left + columns] = as_colour(picture)
        places.append((left, top, left + columns, top + rows))
        left += columns + PAIR
    return tuple(places)
