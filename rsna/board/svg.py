"""A small plot that writes itself as inline SVG; colours are the page's, so that it follows light and dark."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from rsna.evaluation.checks import Floats

WIDTH, HEIGHT = 360, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 42


class Plot:
    """Two linear axes and what is drawn between them.

    Args:
        title: Read out in place of the picture.
        x: Label, lowest and highest value.
        y: As ``x``; rows that are words are given by ``names`` instead of ticks.
        names: Labels of whole numbers 0, 1, … on the y axis, top to bottom.
        height: Of the picture; its width is WIDTH.
    """

    def __init__(
        self,
        title: str,
        x: tuple[str, float, float],
        y: tuple[str, float, float],
        names: Sequence[str] = (),
        height: int = HEIGHT,
    ) -> None:
        self.title, self.x, self.y, self.names, self.height = title, x, y, names, height
        # Names of rows need more room than numbers.
        self.left = 62 if names else _LEFT
        self._parts: list[str] = []

    def line(self, x: ArrayLike, y: ArrayLike, style: str = "a") -> None:
        """A polyline; points that fall on the same half pixel are drawn once."""
        across, down = np.round(2 * self._across(x)) / 2, np.round(2 * self._down(y)) / 2
        moved = np.append(True, (np.diff(across) != 0) | (np.diff(down) != 0))
        points = " ".join(f"{a:g},{d:g}" for a, d in zip(across[moved], down[moved], strict=True))
        self._parts.append(f'<polyline class="line {style}" points="{points}"/>')

    def dots(self, x: ArrayLike, y: ArrayLike, style: str = "a", radius: float = 4, names: Sequence[str] = ()) -> None:
        """Circles; ``names`` are shown under the pointer."""
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
            f'height="{self.height - _TOP - _BOTTOM}"/>'
        )

    def svg(self) -> str:
        """The picture as an SVG element."""
        return (
            f'<svg class="plot" viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(self.title)}">'
            f"{self._axes()}{''.join(self._parts)}</svg>"
        )

    def _axes(self) -> str:
        bottom, right = self.height - _BOTTOM, WIDTH - _RIGHT
        parts = []
        for value in ticks(self.x[1], self.x[2]):
            across = self._across([value])[0]
            parts.append(f'<line class="grid" x1="{across:.1f}" x2="{across:.1f}" y1="{_TOP}" y2="{bottom}"/>')
            parts.append(f'<text class="tick" x="{across:.1f}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>')
        rows = [(float(i), name) for i, name in enumerate(self.names)]
        for value, name in rows or [(tick, f"{tick:g}") for tick in ticks(self.y[1], self.y[2])]:
            down = self._down([value])[0]
            parts.append(f'<line class="grid" x1="{self.left}" x2="{right}" y1="{down:.1f}" y2="{down:.1f}"/>')
            parts.append(
                f'<text class="tick" x="{self.left - 7}" y="{down + 4:.1f}" text-anchor="end">{escape(name)}</text>'
            )
        middle = (self.left + right) / 2
        parts.append(
            f'<text class="label" x="{middle}" y="{self.height - 6}" text-anchor="middle">{escape(self.x[0])}</text>'
        )
        if self.y[0]:
            down = (_TOP + bottom) / 2
            parts.append(
                f'<text class="label" transform="translate(12 {down}) rotate(-90)" text-anchor="middle">'
                f"{escape(self.y[0])}</text>"
            )
        return "".join(parts)

    def _across(self, x: ArrayLike) -> Floats:
        share = (np.asarray(x, dtype=np.float64) - self.x[1]) / (self.x[2] - self.x[1])
        return np.asarray(self.left + share * (WIDTH - self.left - _RIGHT))

    def _down(self, y: ArrayLike) -> Floats:
        share = (np.asarray(y, dtype=np.float64) - self.y[1]) / (self.y[2] - self.y[1])
        return np.asarray(self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM))


def ticks(low: float, high: float) -> list[float]:
    """Three to six round values within [low, high], low < high."""
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [round(float(k * step), 10) for k in range(first, last + 1)]
