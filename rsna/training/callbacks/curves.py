"""The rows of history.csv as a picture: axes that make little of noise, marks at the best epoch and at what counts."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsna.files import write_atomic
from rsna.pictures.style import DASHES, FAMILIES, GRID, INK, PAPER, SERIES, SOFT
from rsna.training.callbacks.checkpoints import MONITOR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
"""One an epoch, with the columns of history.csv."""

_PANELS = (
    ("loss", {"train_loss": "training", "val_loss": "validation"}),
    ("raw pF1 by breast", {"val_pf1": "validation"}),
    ("AUROC by breast", {"val_auroc": "validation"}),
    ("learning rate", {"lr": "learning rate"}),
    ("AUPRC by breast", {"val_auprc": "validation"}),
)

_CEILINGS = (0.1, 0.2, 0.5, 1.0)
"""Where an axis of pF1 or AUPRC may end: that of a fold that reaches 0.03 does not end at 0.031."""

_BEYOND = 4.0
"""Times the median loss above which an epoch is shown at the upper edge, so that the others keep their shape."""

_MARKS = {"a": "o", "b": "s"}


def monitored(rows: Rows) -> list[float]:
    """What decides which epoch is better, of every epoch, larger is better; NaN where there was none."""
    names = [name.replace("/", "_") for name in MONITOR]
    name = next((name for name in names if any(row.get(name) is not None for row in rows)), names[-1])
    values = [_number(row.get(name)) for row in rows]
    return [-value for value in values] if name.endswith("loss") else values


def draw_history(rows: Rows, file: Path, title: str, counted: Sequence[int]) -> None:
    """Draws history.csv into a PNG; see :func:`history_figure`."""
    content = io.BytesIO()
    history_figure(rows, title, counted).savefig(content, format="png", dpi=100)
    write_atomic(file, content.getvalue())


def history_figure(rows: Rows, title: str, counted: Sequence[int]) -> "Figure":
    """Loss, learning rate and metrics over epochs.

    Args:
        rows: One at least.
        title: Of which fold of which run.
        counted: Epochs, from 0, whose weights the fold ends with, or would if it ended now.
    """
    # The object interface: pyplot would look for a display and keep every figure.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4), layout="constrained", facecolor=PAPER)
    figure.suptitle(title, color=INK, fontsize=13, family=FAMILIES[3], x=0.01, ha="left")
    values = monitored(rows)
    known = [epoch for epoch, value in enumerate(values) if not math.isnan(value)]
    best = max(known, key=lambda epoch: (values[epoch], -epoch)) if known else None
    places = figure.subplots(2, 3).ravel()
    for axes, (name, curves) in zip(places, _PANELS, strict=False):
        _draw_panel(axes, rows, name, curves, best, counted)
    _say(places[-1], rows, best, counted)
    return figure


def limits(name: str, values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value on the axis of a panel: from 0 on, and AUROC from below chance to 1."""
    found = np.array([value for value in values if math.isfinite(value)])
    if name.startswith("AUROC"):
        return (min(0.4, math.floor(10 * float(found.min())) / 10) if found.size else 0.4), 1.0
    if name.endswith("by breast"):
        return 0.0, next((end for end in _CEILINGS if not found.size or found.max() <= end), 1.0)
    if not found.size:
        return 0.0, 1.0
    top = float(found[found <= _BEYOND * np.median(found)].max())
    return 0.0, 1.08 * top or 1.0


def _draw_panel(
    axes: "Axes", rows: Rows, name: str, curves: Mapping[str, str], best: int | None, counted: Sequence[int]
) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = np.arange(1, len(rows) + 1)
    drawn = {column: [_number(row.get(column)) for row in rows] for column in curves}
    low, high = limits(name, [value for of in drawn.values() for value in of])
    axes.set_title(name, loc="left", color=INK, fontsize=11)
    axes.set_xlabel("epoch", color=SOFT)
    axes.set_xlim(0.5, len(rows) + 0.5)
    axes.set_ylim(low, high + 0.02 * (high - low))  # a curve at 1 is seen whole
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.tick_params(colors=SOFT)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    for side, line in axes.spines.items():
        line.set_visible(side in ("left", "bottom"))
        line.set_color(SOFT)
    for epoch in counted:
        axes.axvline(epoch + 1, color=INK, linewidth=1, gid="counted")
        axes.plot([epoch + 1], [1], "v", color=INK, transform=axes.get_xaxis_transform(), clip_on=False, markersize=7)
    if name.startswith("AUROC"):
        axes.axhline(0.5, color=SOFT, linewidth=1, dashes=(4, 4))
    for column, numbers in drawn.items():
        style = "b" if column.startswith("val") else "a"
        colour, shown = SERIES[style].light, np.minimum(numbers, high)
        axes.plot(
            epochs, shown, color=colour, dashes=DASHES[style], marker=_MARKS[style], markersize=4, label=curves[column]
        )
        for place, value in enumerate(numbers, 1):
            if value > high:
                axes.annotate(f"{value:.3g}", (place, high), color=colour, fontsize=8, ha="center", va="bottom")
        if best is not None and column.startswith("val"):
            axes.plot(
                [best + 1], shown[best : best + 1], "*", markersize=15, color=colour, markeredgecolor=INK, gid="best"
            )
    if len(curves) > 1:
        axes.legend(frameon=False, labelcolor=INK)


def _say(axes: "Axes", rows: Rows, best: int | None, counted: Sequence[int]) -> None:
    """What the marks mean, in the place of a sixth panel."""
    axes.axis("off")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    epochs = ", ".join(str(epoch + 1) for epoch in counted)
    said = []
    if counted:
        one = len(counted) == 1
        said.append(("v", f"epoch {epochs} counts" if one else f"epochs {epochs} count, their weights averaged"))
        if one and counted[0] != best:
            said.append(("", _metrics(rows[counted[0]])))
    if best is not None:
        by = "raw pF1" if rows[best].get("val_pf1") is not None else "loss"
        said.append(("*", f"epoch {best + 1} is the best by {by} on this fold"))
        said.append(("", _metrics(rows[best])))
    said.append(
        ("", f"{len(rows)} {'epoch' if len(rows) == 1 else 'epochs'}, {sum(r['seconds'] for r in rows) / 60:.1f} min")
    )
    for number, (mark, line) in enumerate(said):
        y = 0.92 - 0.13 * number
        colour = SERIES["b"].light if mark == "*" else INK
        if mark:
            axes.plot([0.03], [y], mark, color=colour, markeredgecolor=INK, markersize=14 if mark == "*" else 8)
        axes.text(0.09, y, line, color=INK if mark else SOFT, fontsize=10, va="center")


def _metrics(row: Mapping[str, Any]) -> str:
    named = {"pF1": "val_pf1", "AUROC": "val_auroc", "AUPRC": "val_auprc", "loss": "val_loss"}
    return ", ".join(f"{name} {row[column]:.3f}" for name, column in named.items() if row.get(column) is not None)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
