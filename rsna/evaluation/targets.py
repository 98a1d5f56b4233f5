"""Figures of the targets beside cancer, by image: how well their classes are told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from rsna.dataset.targets import Target
from rsna.evaluation.bootstrap import Interval
from rsna.evaluation.metrics import evaluate
from rsna.evaluation.tables import interval_text, number, text_table


@dataclass(frozen=True)
class TargetScore:
    """AUROC of one class against the others, by image."""

    images: int
    """Images with a label."""
    positives: int
    """Images of the class."""
    auroc: float
    interval: Interval | None
    """Patient-level."""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        plain = asdict(self)
        return plain | {"auroc": None if np.isnan(self.auroc) else self.auroc}


def score_targets(images: pd.DataFrame, targets: Sequence[Target], resamples: int) -> dict[str, TargetScore]:
    """Scores ``p_<target>`` (two classes) or ``p_<target>_<class>`` against the labels in the table's columns.

    Args:
        images: One row an image: image_id, patient_id, the targets' columns and predictions.
        targets: What to score.
        resamples: Patient-level bootstrap resamples.

    Returns:
        target, or target_class → score; classes that are absent, or alone, have none.
    """
    scores = {}
    for target in targets:
        labels = target.read(images)
        known = ~np.isnan(labels)
        classes = (
            [(target.name, 1)]
            if target.outputs == 1
            else [(f"{target.name}_{c}", i) for i, c in enumerate(target.classes)]
        )
        for name, index in classes:
            rows = images.loc[known, ["image_id", "patient_id"]].assign(
                prediction_id=images["image_id"],
                cancer=(labels[known] == index).astype(int),
                probability=images[f"p_{name}"],
            )
            if rows["cancer"].nunique() < 2:
                continue
            pooled = evaluate(rows, resamples=resamples).pooled
            scores[name] = TargetScore(
                len(rows), int(rows["cancer"].sum()), pooled.auroc, pooled.intervals.get("auroc")
            )
    return scores


def targets_table(scores: Mapping[str, TargetScore]) -> str:
    """The scores as text, four decimals."""
    rows = [["target (by image)", "images", "of the class", "AUROC", "95 % interval"]]
    for name, score in scores.items():
        rows.append(
            [
                name,
                f"{score.images:,}",
                f"{score.positives:,}",
                number(score.auroc),
                interval_text(score.interval),
            ]
        )
    return text_table(rows)
