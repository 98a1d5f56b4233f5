"""AUROC of the targets beside cancer, by image, or by breast where whole breasts are predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rsna.config.model import Unit
from rsna.dataset.targets import Target
from rsna.evaluation.bootstrap import Interval, score_breasts
from rsna.evaluation.counts import SortedBreasts
from rsna.evaluation.evaluate import patient_numbers
from rsna.evaluation.tables import Plain, interval_text, number, text_table


@dataclass(frozen=True)
class TargetScore(Plain):
    """AUROC of one class against the others, by example."""

    images: int
    """Examples with a label: images, or breasts where these are predicted whole."""
    positives: int
    """Those of the class."""
    auroc: float
    interval: Interval | None
    """Patient-level."""


def score_targets(examples: pd.DataFrame, targets: Sequence[Target], resamples: int) -> dict[str, TargetScore]:
    """Scores ``p_<target>`` (two classes) or ``p_<target>_<class>`` against the labels in the table's columns.

    Args:
        examples: One row an image, or a breast: patient_id, the targets' columns and predictions in [0, 1].
        targets: What to score.
        resamples: Patient-level bootstrap resamples; 0 leaves intervals out.

    Returns:
        target, or target_class → score; classes that are absent, or alone, have none.
    """
    scores = {}
    for target in targets:
        labels = target.read(examples)
        known = ~np.isnan(labels)
        two = target.outputs == 1
        classes = {target.name: 1} if two else {f"{target.name}_{c}": i for i, c in enumerate(target.classes)}
        for name, index in classes.items():
            positive = labels[known] == index
            if positive.all() or not positive.any():
                continue
            probabilities = examples.loc[known, f"p_{name}"].to_numpy(dtype=np.float64)
            one_fold = np.zeros(positive.size, dtype=np.int64)  # nothing here is nested
            rows = SortedBreasts(positive, probabilities, patient_numbers(examples.loc[known, "patient_id"]), one_fold)
            scored = score_breasts(rows, resamples, 0, ["auroc"])
            interval = scored.intervals.get("auroc")
            scores[name] = TargetScore(positive.size, int(positive.sum()), scored.data["auroc"], interval)
    return scores


def targets_table(scores: Mapping[str, TargetScore], unit: Unit) -> str:
    """The scores as text, four decimals; ``unit`` is what was predicted at once."""
    rows = [[f"target (by {unit})", f"{unit}s", "of the class", "AUROC", "95 % interval"]]
    for name, one in scores.items():
        counts = f"{one.images:,}", f"{one.positives:,}"
        rows.append([name, *counts, number(one.auroc), interval_text(one.interval)])
    return text_table(rows)
