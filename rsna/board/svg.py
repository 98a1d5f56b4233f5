"""A small plot that writes itself as inline SVG, in the page's colours, which follow light and dark; or as a file."""

from collections.abc import Sequence
from html import escape
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from rsna.evaluation.checks import Floats
from rsna.pictures.style import DASHES, FAMILIES, GRID, INK, PAPER, SERIES, SOFT

WIDTH, HEIGHT = 360, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 42

Scale = Literal["linear", "log", "logit"]
"""How values become places on an axis: as they are, by their logarithm, or by that of their odds."""


class Plot:
    """Two axes and what is drawn between them.

    Args:
        title: Read out in place of the picture.
        x: Label, lowest and highest value.
        y: As ``x``; rows that are words are given by ``names`` instead of ticks.
        names: Labels of whole numbers 0, 1, … on the y axis, top to bottom.
        height: Of the picture.
        width: Of the picture.
        left: What is left of the axes for the labels of y; 0 for what short names, or else numbers, need.
        x_ticks: (value, label) on the x axis, instead of round values.
        scales: Of x and y; ends of a log axis lie above 0, of a logit axis within (0, 1).
        wordless: Without labels and margins for them but those of ticks, as within another plot.
    """

    def __init__(
        self,
        title: str,
        x: tuple[str, float, float],
        y: tuple[str, float, float],
        names: Sequence[str] = (),
        height: int = HEIGHT,
        *,
        width: int = WIDTH,
        left: int = 0,
        x_ticks: Sequence[tuple[float, str]] = (),
        scales: tuple[Scale, Scale] = ("linear", "linear"),
        wordless: bool = False,
    ) -> None:
        self.title, self.x, self.y, self.names, self.height, self.width = title, x, y, names, height, width
        # Names of rows need more room than numbers.
        self.left = left or (62 if names else 30 if wordless else _LEFT)
        self.bottom = 18 if wordless else _BOTTOM
        self.n_ticks = 2 if wordless else 5
        self.x_ticks, self.scales = x_ticks, scales
        self._parts: list[str] = []

    def line(self, x: ArrayLike, y: ArrayLike, style: str = "a") -> None:
        """A polyline through (n,) x and y; points that fall on the same half pixel, or between their neighbours, are
        drawn once, and those that are undefined not at all."""
        there = np.stack([self._across(x), self._down(y)], axis=1)
        there = there[np.isfinite(there).all(axis=1)]
        if not len(there):
            return
        points = " ".join(f"{a:g},{d:g}" for a, d in _corners(there))
        self._parts.append(f'<polyline class="line {style}" points="{points}"/>')

    def area(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, style: str = "a") -> None:
        """What lies between two curves over the same (n,) x, as a band around a third."""
        across, above, below = self._across(x), self._down(high), self._down(low)
        known = np.isfinite(above + below)
        if not known.any():
            return
        there = np.stack([across, above], axis=1)[known]
        back = np.stack([across, below], axis=1)[known][::-1]
        points = " ".join(f"{a:g},{d:g}" for a, d in [*_corners(there), *_corners(back)])
        self._parts.append(f'<polygon class="area {style}" points="{points}"/>')

    def bars(self, edges: ArrayLike, heights: ArrayLike, style: str = "a") -> None:
        """Bars that stand on the x axis between (n + 1,) successive edges, (n,) heights as shares of the plot's."""
        across = self._across(edges)
        room, floor = self.height - _TOP - self.bottom, self.height - self.bottom
        for left, right, share in zip(across, across[1:], np.asarray(heights, dtype=np.float64), strict=False):
            if share > 0:
                self._parts.append(
                    f'<rect class="bar-of {style}" x="{left + 0.5:.1f}" y="{floor - share * room:.1f}" '
                    f'width="{max(right - left - 1, 0.5):.1f}" height="{share * room:.1f}"/>'
                )

    def words(self, x: float, y: float, said: str, style: str = "", anchor: str = "middle", shift: float = 4) -> None:
        """A few words at a point, ``shift`` pixels below the middle of it."""
        across, down = self._across([x])[0], self._down([y])[0] + shift
        self._parts.append(
            f'<text class="words {style}" x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}">{escape(said)}</text>'
        )

    def inset(self, other: "Plot", x: float, y: float) -> None:
        """Another plot within this one, its upper left corner at a point of this one's axes."""
        across, down = self._across([x])[0], self._down([y])[0]
        self._parts.append(
            f'<g class="inset" transform="translate({across:.1f} {down:.1f})">'
            f'<rect class="sheet" width="{other.width}" height="{other.height}"/>{other.body()}</g>'
        )

    def dots(self, x: ArrayLike, y: ArrayLike, style: str = "a", radius: float = 4, names: Sequence[str] = ()) -> None:
        """Circles at (n,) x and y; ``names``, n or none, are shown under the pointer."""
        for i, (across, down) in enumerate(zip(self._across(x), self._down(y), strict=True)):
            name = f"<title>{escape(names[i])}</title>" if names else ""
            self._parts.append(
                f'<circle class="dot {style}" cx="{across:.1f}" cy="{down:.1f}" r="{radius}">{name}</circle>'
            )

    def band(self, low: float, high: float) -> None:
        """A stripe between two values of x, over the whole height."""
        first, last = self._across([low, high])
        self._parts.append(
            f'<rect class="band" x="{first:.1f}" y="{_TOP}" width="{max(last - first, 1):.1f}" '
            f'height="{self.height - _TOP - self.bottom}"/>'
        )

    def svg(self) -> str:
        """The picture as an SVG element."""
        return (
            f'<svg class="plot" viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self.title)}">'
            f"{self.body()}</svg>"
        )

    def body(self) -> str:
        """What is in the picture."""
        return self._axes() + "".join(self._parts)

    def _axes(self) -> str:
        bottom, right = self.height - self.bottom, self.width - _RIGHT
        parts = []
        for value, said in self.x_ticks or _said(self.x, self.scales[0], self.n_ticks):
            across = self._across([value])[0]
            parts.append(f'<line class="grid" x1="{across:.1f}" x2="{across:.1f}" y1="{_TOP}" y2="{bottom}"/>')
            parts.append(
                f'<text class="tick" x="{across:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(said)}</text>'
            )
        rows = [(float(i), name) for i, name in enumerate(self.names)]
        for value, name in rows or _said(self.y, self.scales[1], self.n_ticks):
            down = self._down([value])[0]
            parts.append(f'<line class="grid" x1="{self.left}" x2="{right}" y1="{down:.1f}" y2="{down:.1f}"/>')
            parts.append(
                f'<text class="tick" x="{self.left - 7}" y="{down + 4:.1f}" text-anchor="end">{escape(name)}</text>'
            )
        middle = (self.left + right) / 2
        if self.x[0]:
            place = f'x="{middle}" y="{self.height - 6}" text-anchor="middle"'
            parts.append(f'<text class="label" {place}>{escape(self.x[0])}</text>')
        if self.y[0]:
            down = (_TOP + bottom) / 2
            parts.append(
                f'<text class="label" transform="translate(12 {down}) rotate(-90)" text-anchor="middle">'
                f"{escape(self.y[0])}</text>"
            )
        return "".join(parts)

    def _across(self, x: ArrayLike) -> Floats:
        share = _share(x, self.x, self.scales[0])
        return np.asarray(self.left + share * (self.width - self.left - _RIGHT))

    def _down(self, y: ArrayLike) -> Floats:
        share = _share(y, self.y, self.scales[1])
        return np.asarray(self.height - self.bottom - share * (self.height - _TOP - self.bottom))


def _share(values: ArrayLike, axis: tuple[str, float, float], scale: Scale) -> Floats:
    """0 at the lower end of an axis, 1 at the upper; beyond the ends of axes that are not linear there is nothing."""
    found, low, high = (np.asarray(value, dtype=np.float64) for value in (values, axis[1], axis[2]))
    if scale != "linear":
        found = np.clip(found, low, high)
        found, low, high = (np.log(v / (1 - v)) if scale == "logit" else np.log(v) for v in (found, low, high))
    return np.asarray((found - low) / (high - low))


def _corners(points: Floats) -> Floats:
    """(n, 2) pixels → to halves of one, without those that change nothing: equal to the one before, or on the way from
    one neighbour to the next along a row or a column."""
    points = np.round(2 * points) / 2
    points = points[np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))]
    steps = np.diff(points, axis=0)  # (n - 1, 2)
    straight = ((steps[:-1] == 0) & (steps[1:] == 0)).any(axis=1) & (steps[:-1] * steps[1:] >= 0).all(axis=1)
    return points[np.concatenate([[True], ~straight, [True]])] if len(points) > 2 else points


def _said(axis: tuple[str, float, float], scale: Scale, some: int) -> list[tuple[float, str]]:
    """Values of ticks, and how they are written."""
    low, high = axis[1:]
    if scale == "linear":
        return [(tick, f"{tick:g}") for tick in ticks(low, high, some)]
    decades = [float(f"1e{power}") for power in range(-6, 7)]
    if scale == "logit":
        decades = [*(d for d in decades if d < 0.5), 0.5, *(1 - d for d in reversed(decades) if d < 0.5)]
    found = [value for value in decades if low <= value <= high]
    if len(found) < 3:  # less than two decades
        between = sorted({m * d for d in decades for m in (1, 2, 5)} | set(decades))
        found = [value for value in between if low <= value <= high]
    return [(value, f"{value:.6g}") for value in found]


def _style() -> str:
    """Of a picture that is a file of its own, in the light colours of the page."""
    families = ", ".join(f'"{name}"' if " " in name else name for name in FAMILIES)
    rules = [
        f"text {{ font: 11.5px {families}; fill: {SOFT}; }} .label {{ font-size: 12px; }}",
        f".title {{ font-size: 14px; font-weight: 600; fill: {INK}; }} .words {{ font-size: 10.5px; fill: {INK}; }}",
        f".grid {{ stroke: {GRID}; }} .line {{ fill: none; stroke-width: 2; }} .sheet {{ fill: {PAPER}; }}",
        f".line.guide {{ stroke: {SOFT}; stroke-width: 1; stroke-dasharray: 4 4; }} .inset text {{ font-size: 10px; }}",
        f".band, .dot {{ fill: {SERIES['a'].light}; }} .band, .area {{ opacity: 0.14; }}",
    ]
    for name, colour in SERIES.items():
        dashes = " ".join(f"{width:g}" for width in DASHES[name]) or "none"
        rules.append(
            f".line.{name} {{ stroke: {colour.light}; stroke-dasharray: {dashes}; }} "
            f".dot.{name}, .area.{name} {{ fill: {colour.light}; }}"
        )
    wide = ".line.wide { stroke-width: 7; opacity: 0.3; stroke-linecap: round; stroke-dasharray: none; }"
    return "\n".join([*rules, wide])


def document(title: str, plots: Sequence[Plot], lines: Sequence[str] = ()) -> str:
    """Plots side by side under a title, and lines of text under them, as an SVG file that needs no page."""
    top, width = 34, sum(plot.width for plot in plots)
    height = top + max(plot.height for plot in plots) + 18 * len(lines) + 8
    parts = [f'<text class="title" x="14" y="22">{escape(title)}</text>']
    across = 0
    for plot in plots:
        parts.append(f'<g transform="translate({across} {top})">{plot.body()}</g>')
        across += plot.width
    for number, line in enumerate(reversed(lines)):
        parts.append(f'<text x="14" y="{height - 10 - 18 * number}">{escape(line)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}"><style>{_style()}</style>'
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>{"".join(parts)}</svg>\n'
    )


def ticks(low: float, high: float, some: int = 5) -> list[float]:
    """About ``some`` round values, or one more, within [low, high], low < high."""
    rough = (high - low) / some
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [round(float(k * step), 10) for k in range(first, last + 1)]
