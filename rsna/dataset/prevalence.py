"""How many breasts are labelled, how many of these have cancer, and whether that is what it is taken for."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rsna.config.data import Sampling
from rsna.dataset.exams import name_breasts

SCREENING = (0.001, 0.03)
"""Shares of breasts with cancer that screening finds: some per mille (Rosenberg et al., Radiology 2006: 4.7 of 1,000
examinations), 2.1 % in the competition's set."""

_Z = 3.0
"""Standard errors by which a share must lie outside before it is questioned: small sets say little."""

_CANCERS = 5
"""Below as many, neither a share nor how they lie says much."""


@dataclass(frozen=True)
class LabelCounts:
    """Breasts of a set. One whose images carry no label is no negative."""

    breasts: int
    labelled: int
    positive: int

    @staticmethod
    def of(frame: pd.DataFrame) -> "LabelCounts":
        """Of a table with a row an image: cancer (0, 1, or not known), and prediction_id or what it is made of."""
        return LabelCounts.of_breasts(_by_breast(frame))

    @staticmethod
    def of_breasts(labels: "pd.Series[float]") -> "LabelCounts":
        """Of the label of each breast: 1, 0, or NaN where it is not known."""
        return LabelCounts(len(labels), int(labels.notna().sum()), int(labels.eq(1).sum()))

    def __str__(self) -> str:
        if not self.labelled:
            return f"none of {self.breasts:,} breasts has a cancer label"
        share = f"{self.positive / self.labelled:.1%}"
        if self.labelled == self.breasts:
            return f"{self.positive:,} breasts with cancer ({share})"
        return (
            f"{self.positive:,} of {self.labelled:,} labelled breasts with cancer ({share}; the others have no label)"
        )


def label_doubts(frame: pd.DataFrame, sampling: Sampling) -> list[str]:
    """Lines on cancer labels that are hardly what they are taken for: a screening population's, and each a breast's.

    Args:
        frame: See :meth:`LabelCounts.of`.
        sampling: What the share of positives is taken for.
    """
    lines = []
    labels = _by_breast(frame)
    counts = LabelCounts.of_breasts(labels)
    low, high = wilson(counts.positive, counts.labelled)
    far = (low > SCREENING[1] and counts.positive >= _CANCERS) or high < SCREENING[0]
    if sampling == "population" and far:
        lines.append(
            f"{counts}, where screening finds {SCREENING[0]:.1%} to {SCREENING[1]:.1%}: as sampling=population this "
            "share is taken for the true one. If cases were chosen, say sampling=enriched (in training data.sampling); "
            "if not, look whether labels lack"
        )
    exams = np.array([name.rpartition("_")[0] for name in labels.index], dtype=object)
    sides = labels.groupby(exams).agg(["size", "count", "sum"])
    whole = sides[(sides["size"] == 2) & (sides["count"] == 2) & (sides["sum"] > 0)]
    both = int((whole["sum"] == 2).sum())
    if len(whole) >= _CANCERS and 2 * both > len(whole):
        lines.append(
            f"{both:,} of {len(whole):,} patients with cancer are labelled so in both breasts, where some in a hundred "
            "have it: these look like labels of patients, and what they say of a breast is wrong for about half"
        )
    return lines


def _by_breast(frame: pd.DataFrame) -> "pd.Series[float]":
    """1 where any image of a breast is labelled positive, 0 where one is negative, NaN where none is either."""
    labels = frame["cancer"].where(frame["cancer"].isin([0, 1])).astype(float)
    names = frame["prediction_id"] if "prediction_id" in frame.columns else name_breasts(frame)
    return labels.groupby(names).max()


def wilson(positive: int, total: int, z: float = _Z) -> tuple[float, float]:
    """The interval of a share (Wilson 1927), ``z`` standard errors to both sides; all of [0, 1] for none of none."""
    if not total:
        return 0.0, 1.0
    share, z2 = positive / total, z**2
    middle = share + z2 / (2 * total)
    half = z * np.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return float((middle - half) / (1 + z2 / total)), float((middle + half) / (1 + z2 / total))
