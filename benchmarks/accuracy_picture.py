"""What `benchmarks/accuracy.py` found on a set, as a picture: every arm with its interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rsna.board.svg import document
from rsna.external.picture import rows_plot, whiskers

PANELS = {"breast_auroc": "AUROC", "pf1_raw": "pF1 raw", "pf1_nested": "pF1 nested"}
"""Key in the JSON → title; ranks, the competition's metric, and it at thresholds of other folds."""

NAMES, LONGEST = 400, 64
"""Pixels for the names of arms, and the characters that fit there."""


def draw(name: str, found: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """SVG of a set of docs/results/accuracy.json.

    Args:
        name: The set's.
        found: What the JSON says of it.
        titles: Arm → what it is.
    """
    rows = pd.DataFrame(
        {
            key + end: row[key][place]
            for key in PANELS
            for place, end in enumerate(("", "_low", "_high"))
        }
        for row in found["rows"]
    ).astype(float)  # fmt: skip
    names = [f"{row['arm']}: {titles.get(row['arm'], '')}" for row in found["rows"]]
    names = [one if len(one) <= LONGEST else f"{one[: LONGEST - 1]}…" for one in names]
    plots = []
    for key, title in PANELS.items():
        ends = rows[[f"{key}_low", f"{key}_high"]].to_numpy()
        first = not plots
        plot = rows_plot(title, (np.nanmin(ends) - 0.02, np.nanmax(ends) + 0.02), names if first else [""] * len(names),
                         width=(NAMES if first else 16) + 270, left=NAMES if first else 16)  # fmt: skip
        whiskers(plot, rows, key, "a")
        plots.append(plot)
    counts = f"{found['breasts']:,} breasts of {found['patients']:,} patients, {found['positives']:,} with cancer"
    return document(name, plots, [f"{counts}. Means over seeds; bars: 95 % intervals over patients."])
