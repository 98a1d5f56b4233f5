"""Figures as text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rsna.evaluation.bootstrap import Interval
    from rsna.evaluation.metrics import Evaluation

TITLES = {
    "pf1_raw": "pF1 raw",
    "pf1_nested": "pF1 nested",
    "pf1_optimistic": "pF1 optimistic",
    "optimism_gap": "optimism gap",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity_at_specificity": "sensitivity at specificity",
    "sensitivity_at_recall_rate": "sensitivity at recall rate",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}
"""Figure → its name in tables."""

COLUMNS = ("pf1_raw", "pf1_nested", "pf1_optimistic", "optimism_gap", "auroc", "auprc")
"""Figures shown for each fold."""


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, two blanks apart: the first to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0])] + [c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def html_table(rows: Sequence[Sequence[str]]) -> str:
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


def evaluation_table(evaluation: Evaluation) -> str:
    """A run as text: figures per fold and pooled, all pooled ones with intervals, thresholds and remarks."""
    rows = [["", "breasts", "positive", *(TITLES[name] for name in COLUMNS), "all 1"]]
    for figures in (*evaluation.folds, evaluation.pooled):
        values = [number(getattr(figures, name)) for name in COLUMNS]
        counts = [f"{figures.breasts:,}", f"{figures.positives:,}"]
        rows.append([figures.name, *counts, *values, number(figures.baseline)])
    return "\n\n".join([text_table(rows), _pooled(evaluation), "\n".join(_remarks(evaluation))])


def _pooled(evaluation: Evaluation) -> str:
    pooled, points = evaluation.pooled, evaluation.points
    at = {
        "sensitivity_at_specificity": f" {points.specificity:g}",
        "sensitivity_at_recall_rate": f" {points.recall_rate:g}",
    }
    rows = [[pooled.name, "", f"{evaluation.level:.0%} interval"]]
    for name, title in TITLES.items():
        ends = interval_text(pooled.intervals.get(name))
        rows.append([title + at.get(name, ""), number(getattr(pooled, name)), ends])
    return text_table(rows if pooled.intervals else [row[:2] for row in rows])


def _remarks(evaluation: Evaluation) -> list[str]:
    best, nested = evaluation.threshold, sorted(evaluation.nested.items())
    how = "cross-fitted over parts by patient" if evaluation.crossfitted else "each chosen on the other folds"
    lines = [
        f"best threshold {best.value:.4f} recalls {best.recalled:.2%}; "
        f"plateau {best.plateau[0]:.4f} to {best.plateau[1]:.4f} (width {best.width:.4f})",
        f"nested thresholds, {how}: " + ", ".join(number(value) for _, value in nested),
    ]
    if evaluation.prevalence is not None:
        lines.append(f"negatives reweighted to a prevalence of {evaluation.prevalence:g}")
    elif evaluation.sampling == "enriched":
        lines.append("enriched set, whose share of positives was made: read AUROC, or give prevalence=…")
    if evaluation.resamples:
        again = f", {evaluation.redrawn} redrawn for want of a positive" if evaluation.redrawn else ""
        lines.append(f"intervals from {evaluation.resamples:,} resamples of patients{again}")
    undefined = [TITLES[name] for name, value in evaluation.pooled.intervals.items() if value.undefined]
    if undefined:
        lines.append(f"some resamples leave undefined, and are left out of: {', '.join(undefined)}")
    return lines
