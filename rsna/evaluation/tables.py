"""Results as text for a terminal and as HTML for a notebook."""

from collections.abc import Sequence
from html import escape

import numpy as np

from rsna.evaluation.bootstrap import Interval

Rows = Sequence[Sequence[str]]
"""Cells of a table: the first row its header, the first column its names."""


class Tables:
    """A result that is shown as tables with remarks between them."""

    def parts(self) -> list[Rows | str]:
        """Tables and remarks, in order."""
        raise NotImplementedError

    def table(self) -> str:
        """As text, four decimals."""
        return "\n\n".join(part if isinstance(part, str) else text_table(part) for part in self.parts())

    def _repr_html_(self) -> str:
        shown = [
            f"<p>{escape(part).replace(chr(10), '<br>')}</p>" if isinstance(part, str) else html_table(part)
            for part in self.parts()
        ]
        return "\n".join(shown)


def text_table(rows: Rows) -> str:
    """Aligned columns, two blanks apart: the first to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0])] + [c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def html_table(rows: Rows) -> str:
    """The same as HTML."""
    head, *body = [[escape(cell) for cell in row] for row in rows]
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += [f"<tr><th>{first}</th>" + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>" for first, *rest in body]
    return "<table>" + "".join(lines) + "</table>"


def number(value: float, sign: bool = False) -> str:
    """Four decimals, `–` for NaN; with `sign` a plus before what is not negative."""
    if np.isnan(value):
        return "–"
    return f"{value:+.4f}" if sign else f"{value:.4f}"


def interval_text(interval: Interval | None) -> str:
    """`0.1234 to 0.2345`, `–` where there is none."""
    if interval is None or np.isnan(interval.low):
        return "–"
    return f"{interval.low:.4f} to {interval.high:.4f}"
