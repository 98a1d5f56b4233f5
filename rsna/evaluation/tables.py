"""Results as text for a terminal, as HTML for a notebook, and as plain JSON types for programs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from html import escape
from typing import ClassVar

import numpy as np
import pandas as pd

from rsna.evaluation.bootstrap import Interval

Rows = Sequence[Sequence[str]]
"""Cells of a table: the first row its header, the first column its names."""


class Plain:
    """A dataclass of results that becomes JSON."""

    left_out: ClassVar[tuple[str, ...]] = ()
    """Fields that JSON does without."""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; NaN becomes null."""
        return {name: plain_json(value) for name, value in self.__dict__.items() if name not in self.left_out}


class Tables(ABC):
    """A result that is shown as tables with remarks between them, in a terminal and in a notebook."""

    @abstractmethod
    def parts(self) -> list[Rows | str]:
        """Tables and remarks, in order."""

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


def number(value: float | None, sign: bool = False) -> str:
    """Four decimals, `–` for NaN and None; with `sign` a plus before what is not negative."""
    if value is None or np.isnan(value):
        return "–"
    return f"{value:+.4f}" if sign else f"{value:.4f}"


def percent(share: float, decimals: int = 1) -> str:
    """`12.3%`; `–` for NaN."""
    return "–" if np.isnan(share) else f"{share:.{decimals}%}"


def interval_text(interval: Interval | None) -> str:
    """`0.1234 to 0.2345`, `–` where there is none."""
    if interval is None or np.isnan(interval.low):
        return "–"
    return f"{interval.low:.4f} to {interval.high:.4f}"


def plain_json(value: object) -> object:
    """Nested mappings, sequences, dataclasses, frames (by row), NumPy numbers → plain JSON; null for NaN, infinity."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(entry) for key, entry in value.items()}
    if isinstance(value, pd.DataFrame):
        return plain_json(value.to_dict(orient="index"))
    if is_dataclass(value):
        return value.to_dict() if hasattr(value, "to_dict") else plain_json(value.__dict__)
    if isinstance(value, (list, tuple)):
        return [plain_json(entry) for entry in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
