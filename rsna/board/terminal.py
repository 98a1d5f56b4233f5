"""The ranking for people: in a terminal as wide as that is, in a pipe at 80 columns, in Markdown.

Nothing is cut off. Columns that are empty are left out, those in which all runs are alike are said once, and what does
not fit beside each other stands in a further table below.
"""

import re
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from rsna.board.choose import Choice, setting
from rsna.board.leaderboard import Group, Place
from rsna.board.ranking import METRIC_COLUMNS, ends, remarks
from rsna.evaluation.tables import number
from rsna.parallel.progress import duration

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

WIDTH = 80
"""Columns of a pipe, which has no width of its own."""
_NAME = 20
"""Cells of words that are wrapped into lines of as many columns where the table is too wide."""
_GAP = 2


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    title: str
    cells: tuple[tuple[str, str], ...]
    """A row's value, and its interval or "". """
    words: bool = False
    """Stands at the left, and may be wrapped."""

    def lines(self, stacked: bool, wrapped: bool = False) -> list[list[str]]:
        """Lines of every cell: the interval beside the value, or below it; words within _NAME columns where wrapped."""
        if self.words:
            return [wrap(value, _NAME) if wrapped else [value] for value, _ in self.cells]
        if stacked:
            return [[part for part in cell if part] for cell in self.cells]
        width = max(columns_of(second) for _, second in self.cells)
        # Values stand below each other whether or not there is an interval behind them.
        return [[f"{first}  {second.rjust(width)}" if width else first] for first, second in self.cells]


@dataclass(frozen=True)
class Block:
    """Columns that stand beside each other, laid out."""

    titles: tuple[str, ...]
    words: tuple[bool, ...]
    rows: tuple[tuple[list[str], ...], ...]
    """Lines of each cell."""

    @property
    def widths(self) -> list[int]:
        """Columns of the screen that each column takes."""
        cells = zip(self.titles, zip(*self.rows, strict=True), strict=True)
        return [max(map(columns_of, [title, *(line for cell in column for line in cell)])) for title, column in cells]

    @property
    def width(self) -> int:
        """Of the whole table."""
        return sum(self.widths) + _GAP * (len(self.titles) - 1)

    def text(self) -> list[str]:
        """Lines of aligned columns."""
        lines = [self._line([title.replace("\n", " ") for title in self.titles])]
        for row in self.rows:
            lines += [self._line(parts) for parts in zip_longest(*row, fillvalue="")]
        return lines

    def _line(self, cells: Sequence[str]) -> str:
        parts = []
        for cell, width, words in zip(cells, self.widths, self.words, strict=True):
            room = " " * (width - columns_of(cell))
            parts.append(cell + room if words else room + cell)
        return (" " * _GAP).join(parts).rstrip()


def to_text(groups: Sequence[Group], choice: Choice = Choice(), width: int = WIDTH) -> str:  # noqa: B008 (frozen)
    """Tables of at most ``width`` columns, one a set and split of folds, and what their marks mean."""
    shown = [group for group in groups if choice.places(group)]
    return "\n\n".join("\n".join(_text(group, title, choice, width)) for title, group in _titled(shown))


def to_markdown(groups: Sequence[Group], choice: Choice = Choice()) -> str:  # noqa: B008 (frozen)
    """The same as tables of GitHub's Markdown, which are as wide as they have to be."""
    parts = []
    for title, group in _titled([group for group in groups if choice.places(group)]):
        columns, alike = _columns(choice.places(group), choice)
        head = [column.title for column in columns]
        body = zip(*([line for (line,) in column.lines(stacked=False)] for column in columns), strict=True)
        marks = [":--" if column.words else "--:" for column in columns]
        rows = [
            "| " + " | ".join(_escaped(re.sub(" +", " ", cell.strip())) for cell in row) + " |" for row in (head, *body)
        ]
        rows.insert(1, "| " + " | ".join(marks) + " |")
        said = [
            "- " + re.sub(r"^\+", r"\\+", _escaped(line))
            for line in (*([alike] if alike else []), *_said(group, choice))
        ]
        parts.append("\n".join([f"### {_escaped(title)}", "", *rows, "", *said]))
    return "\n\n".join(parts)


def show(groups: Sequence[Group], choice: Choice, width: int) -> None:
    """Prints the tables in colour, by rich where that is installed, on a terminal of ``width`` columns."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ModuleNotFoundError:
        print(to_text(groups, choice, width))
        return
    console = Console(width=width, highlight=False)
    for title, group in _titled([group for group in groups if choice.places(group)]):
        places = choice.places(group)
        columns, alike = _columns(places, choice)
        console.print(Text(fill(title, width), style="bold"))
        if alike:
            console.print(Text(fill(alike, width), style="dim"))
        for block in layout(columns, width):
            console.print(_rich(block, places), "")
        for line in _said(group, choice):
            console.print(Text(fill(line, width), style="dim"))
        console.print("")


def _rich(block: Block, places: Sequence[Place]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title, words, width in zip(block.titles, block.words, block.widths, strict=True):
        table.add_column(title, justify="left" if words else "right", no_wrap=True, min_width=width)
    for place, cells in zip(places, block.rows, strict=True):
        style = "dim" if place.rank is None else "bold cyan" if place.against == "leader" else ""
        table.add_row(*(_coloured(lines, words) for lines, words in zip(cells, block.words, strict=True)), style=style)
    return table


def _coloured(lines: list[str], words: bool) -> "Text":
    """A cell; an interval is dimmer than its value."""
    from rich.text import Text

    first, *others = lines or [""]
    rest = "".join(f"\n{line}" for line in others)
    return Text(first + rest) if words else Text.assemble(first, (rest, "dim"))


def _titled(groups: Sequence[Group]) -> list[tuple[str, Group]]:
    """Each with a title of its own: hashes tell those apart that people call the same."""
    titles = [group.title for group in groups]
    return [
        (f"{title} ({_hashes(group)})" if titles.count(title) > 1 else title, group)
        for title, group in zip(titles, groups, strict=True)
    ]


def _hashes(group: Group) -> str:
    return "dataset {}, folds {}".format(*group.comparable)


def _text(group: Group, title: str, choice: Choice, width: int) -> list[str]:
    columns, alike = _columns(choice.places(group), choice)
    lines = [fill(title, width)]
    if alike:
        lines.append(fill(alike, width))
    for block in layout(columns, width):
        lines += ["", *block.text()]
    return [*lines, "", *(fill(line, width) for line in _said(group, choice))]


def _said(group: Group, choice: Choice) -> list[str]:
    filtered = choice.remark(group)
    return [*([filtered] if filtered else []), *remarks(group, choice.places(group)), _hashes(group)]


def layout(columns: Sequence[Column], width: int, keys: int = 2) -> list[Block]:
    """One table where it fits, with intervals beside or else below their values, and words wrapped; or else several.

    Args:
        columns: All that there is to show.
        width: That no table exceeds.
        keys: So many columns stand at the front of every table.
    """
    for stacked in (False, True):
        block = _block(columns, stacked, False)
        if block.width <= width:
            return [block]
    first, rest, blocks = list(columns[:keys]), list(columns[keys:]), []
    while rest:
        count = len(rest)
        while count > 1 and _block([*first, *rest[:count]], True, True).width > width:
            count -= 1
        blocks.append(_block([*first, *rest[:count]], True, True))
        rest = rest[count:]
    return blocks


def _block(columns: Sequence[Column], stacked: bool, wrapped: bool) -> Block:
    rows = zip(*(column.lines(stacked, wrapped) for column in columns), strict=True)
    return Block(tuple(c.title for c in columns), tuple(c.words for c in columns), tuple(rows))


def _columns(places: Sequence[Place], choice: Choice) -> tuple[list[Column], str]:
    """Columns that hold anything, and in words what is alike in all runs and needs no column."""
    columns, alike = [], []
    asked = [(name, True, _setting(name), True) for name in choice.settings(places)]
    for title, words, cell, constant in (*_COLUMNS, *asked):
        cells = tuple(cell(place) for place in places)
        if not any(value for value, _ in cells):
            continue
        if constant and len(places) > 1 and len(set(cells)) == 1:
            alike.append(f"{title} {cells[0][0]}")
        else:
            columns.append(Column(title, cells, words))
    return columns, f"in all of these: {', '.join(alike)}" if alike else ""


Cell = Callable[[Place], tuple[str, str]]


def _rank(place: Place) -> tuple[str, str]:
    return f"{place.rank or '–'}{'~' if place.against == 'noise' else ' '}", ""  # digits stay below each other


def _name(place: Place) -> tuple[str, str]:
    return f"{place.run.name}{'*' if place.run.selected else ''}", ""


def _metric(name: str, with_ends: bool = False) -> Cell:
    def cell(place: Place) -> tuple[str, str]:
        if place.run.shown is None:
            return "not ranked" if with_ends else "", ""
        between = ends(place) if with_ends else None
        return number(place.value(name)), "" if between is None else f"{between[0]:.3f}–{between[1]:.3f}"

    return cell


def _gap(place: Place) -> tuple[str, str]:
    """The run less the leader, so that what is worse has a minus."""
    if place.against == "leader":
        return "leads", ""
    if (gap := place.difference) is None:
        return "", ""
    return signed(-gap.value, 4), signed_ends(-gap.interval.high, -gap.interval.low)


def _p(place: Place) -> tuple[str, str]:
    return ("" if place.p is None else p_text(place.p)), ""


def _setting(name: str) -> Cell:
    return lambda place: (setting(place, name), "")


def _seeds(place: Place) -> tuple[str, str]:
    """How many there are, and the standard deviation of nested pF1 between them."""
    spread = place.spread("pf1_nested")
    several = spread is not None and spread.n > 1
    return str(len(place.seeds)), f"±{spread.sd:.3f}" if spread and several else ""


def _of_run(cell: Callable[[Place], str | None]) -> Cell:
    return lambda place: (cell(place) or "", "")


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


_COLUMNS: tuple[tuple[str, bool, Cell, bool], ...] = (
    ("#", False, _rank, False),
    ("run", True, _name, False),
    ("nested pF1", False, _metric("pf1_nested", with_ends=True), False),
    ("seeds", False, _seeds, True),
    ("from leader", False, _gap, False),
    ("p", False, _p, False),
    *((title, False, _metric(name), False) for name, title in METRIC_COLUMNS.items()),
    ("public", False, _of_run(lambda place: _score(place.lb("public"))), False),
    ("private", False, _of_run(lambda place: _score(place.lb("private"))), False),
    ("backbone", True, _of_run(lambda place: place.run.backbone), True),
    ("input", False, _of_run(lambda place: place.run.input), True),
    ("folds", False, _of_run(lambda place: f"{len(place.run.fold_metrics)}/{place.run.record.n_folds}"), True),
    ("duration", False,
     _of_run(lambda place: None if place.seconds is None else duration(place.seconds)), False),
    ("commit", True, _of_run(lambda place: place.run.commit), True),
    ("hardware", True, _of_run(lambda place: place.hardware), True),
)  # fmt: skip
"""Title, whether it holds words, what stands in it, and whether it is said once where all runs have the same."""


def signed(value: float, decimals: int = 3) -> str:
    """`+0.012`, `−0.012`, with a minus as wide as the plus; no sign before what rounds to 0, `–` for NaN."""
    if value != value:
        return "–"
    said = f"{abs(value):.{decimals}f}"
    if not float(said):
        return said
    return f"{'+' if value > 0 else '−'}{said}"


def signed_ends(low: float, high: float, decimals: int = 3) -> str:
    """`−0.012 to +0.034`; `–` where there is no interval."""
    return "–" if low != low else f"{signed(low, decimals)} to {signed(high, decimals)}"


def p_text(p: float) -> str:
    """Three decimals, `<0.001` below."""
    return "–" if p != p else f"{p:.3f}" if p >= 0.0005 else "<0.001"


def columns_of(text: str) -> int:
    """Columns of a screen that text takes: two for wide characters of East Asia, none for accents that combine."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` columns, broken behind -, _, ., / and blanks where there is one, or else anywhere."""
    lines, line = [], ""
    for part in re.findall(r"[^-_./ ]*[-_./ ]|[^-_./ ]+", text):
        if columns_of(line + part) > width and line:
            lines.append(line.rstrip())
            line = ""
        for character in part:
            if columns_of(line + character) > width:
                lines.append(line)
                line = ""
            line += character
    return [*lines, line]


def fill(text: str, width: int) -> str:
    """A remark on lines of ``width`` columns; a path is never broken."""
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _escaped(text: str) -> str:
    return re.sub(r"([|\\*_<>`\[\]~])", r"\\\1", text)
