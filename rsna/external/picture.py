"""What the tables of this room say, as pictures: SVG files that any browser opens."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rsna.board.svg import Plot, document
from rsna.prepare.appearance import QUANTITIES

_LEFT = 250
"""Pixels for the names of rows."""

_LONGEST = 38
"""Characters of a name that fit there."""

_RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
"""Where an axis of ratios may have a tick."""


def draw_sets(rows: pd.DataFrame, run: str) -> str:
    """The rows of `rsna.external.sets.SetsTable.frame`: AUROC, what the own threshold does, and observed ÷ expected."""
    names = [_row_name(row) for row in rows.to_dict("records")]
    home = rows.loc[rows["home"] & rows["part"].eq(""), "auroc"].dropna().tolist()
    low = float(np.nanmin([0.5, *rows["auroc_low"].astype(float)]))
    auroc = rows_plot("AUROC", (low - 0.02, 1.0), names, width=520, left=_LEFT)
    for value in [0.5, *home]:
        auroc.line([value, value], [-0.6, len(names) - 0.4], "guide")
    whiskers(auroc, rows, "auroc", "a")
    own = rows_plot("sensitivity, recalled", (0.0, 1.0), [""] * len(names), width=250, left=16)
    whiskers(own, rows, "sensitivity", "a", -0.14)
    whiskers(own, rows, "recalled", "b", 0.14)
    ratio = _ratio_plot(rows, len(names))
    lines = ["Bars: 95 % intervals over patients. Dashed: chance, and AUROC at home; observed ÷ expected of 1.",
             f"In brackets: {rows['unit'].iloc[0]}s, and those with cancer.",
             "Teal: sensitivity at the run's own threshold; brown: share recalled by it."]  # fmt: skip
    return document(f"{run} on other sets", [auroc, own, ratio], lines)


def draw_unlike(
    training: Mapping[str, Sequence[float]], here: Mapping[str, Sequence[float]], root: str, run: str
) -> str:
    """Cumulative distributions of every quantity, in training and here, by their quantiles in equal steps."""
    plots = []
    for name, title in QUANTITIES.items():
        if name not in training or name not in here:
            continue
        values = [*training[name], *here[name]]
        low, high = min(values), max(values)
        room = 0.04 * (high - low) or 0.5 * max(abs(high), 0.01)
        plot = Plot(title, (title, low - room, high + room), ("share of images", 0, 1), width=330)
        for of, style in ((training[name], "a"), (here[name], "b")):
            plot.line(of, np.linspace(0, 1, len(of)), style)
        plots.append(plot)
    return document(
        f"{root} against {run}", plots, ["Teal, whole lines: images that were trained on; brown, dashed: these images."]
    )


def rows_plot(label: str, x: tuple[float, float], names: Sequence[str], *, width: int, left: int) -> Plot:
    """A plot of which each row is a thing by name."""
    height = 66 + 24 * len(names)
    return Plot(label, (label, *x), ("", len(names) - 0.4, -0.6), names, height, width=width, left=left)


def whiskers(plot: Plot, rows: pd.DataFrame, name: str, style: str, shift: float = 0.0) -> None:
    """The values of a column as dots, with their intervals as bars; nothing where it is empty."""
    for place, row in enumerate(rows.to_dict("records")):
        value, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
        if pd.notna(low) and pd.notna(high):
            plot.line([low, high], [place + shift] * 2, f"{style} wide")
        if pd.notna(value):
            plot.dots([value], [place + shift], style, 3.5, [f"{value:.3f}"])


def _ratio_plot(rows: pd.DataFrame, count: int) -> Plot:
    columns = [f"observed_expected{end}" for end in ("", "_low", "_high")]
    # Nothing observed, or nothing promised, has no logarithm: it is not drawn.
    ratios = rows[columns].to_numpy(np.float64)
    logs = pd.DataFrame(np.log10(np.where((ratios > 0) & np.isfinite(ratios), ratios, np.nan)), columns=columns)
    span = float(np.nanmax(np.abs([*logs.to_numpy().ravel(), 0.32]))) * 1.05
    shown = [(float(np.log10(tick)), f"{tick:g}") for tick in _RATIOS if abs(np.log10(tick)) <= span]
    plot = Plot(
        "observed ÷ expected", ("observed ÷ expected", -span, span), ("", count - 0.4, -0.6), [""] * count,
        66 + 24 * count, width=230, left=16, x_ticks=shown,
    )  # fmt: skip
    plot.line([0, 0], [-0.6, count - 0.4], "guide")
    whiskers(plot, logs, "observed_expected", "a")
    return plot


def _row_name(row: dict[object, object]) -> str:
    name = f"· {row['part']}" if row["part"] else str(row["set"])
    counts = f" ({row['n']}, {row['positives']}+)"
    most = _LONGEST - len(counts)
    return (name if len(name) <= most else f"{name[: most - 1]}…") + counts
