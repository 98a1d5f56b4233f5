"""The history of a fold as a picture."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsna.files import write_atomic

_PANELS = (
    ("loss", {"train_loss": "training", "val_loss": "validation"}),
    ("learning rate", {"lr": "learning rate"}),
    ("raw pF1", {"val_pf1": "validation"}),
    ("AUROC", {"val_auroc": "validation"}),
    ("AUPRC", {"val_auprc": "validation"}),
)


def draw_history(rows: Sequence[Mapping[str, Any]], file: Path, title: str) -> None:
    """Draws losses, learning rate, raw pF1, AUROC and AUPRC over epochs into a PNG.

    Args:
        rows: Rows of history.csv, one an epoch.
        file: The PNG.
        title: What stands above.
    """
    # The object interface: pyplot would look for a display and keep every figure.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(18, 3.4), layout="constrained")
    figure.suptitle(title)
    epochs = [row["epoch"] + 1 for row in rows]
    for axes, (name, curves) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        drawn = {column: [row.get(column) for row in rows] for column in curves}
        for column, values in drawn.items():
            if any(value is not None for value in values):
                numbers = [float("nan") if value is None else value for value in values]
                axes.plot(epochs, numbers, marker=".", label=curves[column])
        if len(curves) > 1:
            axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90)
    write_atomic(file, content.getvalue())
