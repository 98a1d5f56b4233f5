"""What every metric is given, checked once, and how a message names the rows that are wrong."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

SHOWN = 3
"""Offending rows that a message names, after their count."""

FEW = 5
"""Positives from which on an order or a decision without mistakes is doubted."""

ODD = 0.05
"""Share of the positives that may be lost, and of those marked that may be wrong, in what still looks like labels."""


class PredictionError(ValueError):
    """Predictions or labels that cannot be scored as they are; the message says how many rows and which first."""


def offenders(ids: Iterable[object], total: int | None = None) -> str:
    """`3 of 200 (a, b, c)`: how many rows offend, and the first of them."""
    listed = list(ids)
    names = ", ".join(str(name) for name in islice(listed, SHOWN))
    more = ", …" if len(listed) > SHOWN else ""
    share = f"{len(listed):,}" if total is None else f"{len(listed):,} of {total:,}"
    return f"{share} ({names}{more})"


def shown(value: object) -> str:
    """A cell as a message shows it: 3.0, which was 3 before another row had none, is 3 again."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def copies_labels(labels: ArrayLike, scores: ArrayLike) -> bool:
    """Whether (n,) scores hold one value for every positive and another for every negative of (n,) labels.

    0 and 1 do in any number; of other values, which may be chance among few rows, each must come twice.
    """
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(labels) == 1
    of_positives, of_negatives = values[positive], values[~positive]
    if not (of_positives.size and of_negatives.size) or of_positives[0] == of_negatives[0]:
        return False
    constant = bool((of_positives == of_positives[0]).all() and (of_negatives == of_negatives[0]).all())
    whole = {of_positives[0], of_negatives[0]} == {0.0, 1.0}
    return constant and (whole or min(of_positives.size, of_negatives.size) > 1)


def doubts_of_decisions(labels: ArrayLike, scores: ArrayLike) -> list[str]:
    """Lines on (n,) scores that are two values: decisions, or labels in which a few rows were changed; none on others.

    Raises:
        ValueError: See :func:`as_labels`.
    """
    values, positive = np.asarray(scores, dtype=np.float64), as_labels(labels)
    both = np.unique(values)
    if both.size != 2:
        return []
    lines = [
        f"two values alone, {both[0]:g} and {both[1]:g}: AUROC, AUPRC and calibration are those of decisions, not of "
        "probabilities"
    ]
    for value in both[::-1]:  # the higher marks positives, or the lower does
        marked = values == value
        found, true, claimed = int((marked & positive).sum()), int(positive.sum()), int(marked.sum())
        # A row more or less is an older state of a table, however few positives there are.
        if true >= FEW and true - found <= max(1, ODD * true) and claimed - found <= max(1, ODD * claimed):
            lines.append(
                f"looks like labels: {value:g} stands in {found:,} of {true:,} rows with cancer, and {found:,} of the "
                f"{claimed:,} rows that have it are such; make sure that it was predicted, and is not another state of "
                "the labels"
            )
            break
    return lines


def as_labels(labels: ArrayLike) -> Bools:
    """(n,) of 0 and 1, whatever their type → (n,) bool. ValueError for any other value, NaN included."""
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"labels must have one dimension, not shape {values.shape}")
    positive = np.asarray(values == 1, dtype=np.bool_)
    _require("labels must be 0 or 1", values, positive | (values == 0))
    return positive


def as_scores(scores: ArrayLike, rows: int, name: str = "probabilities") -> Floats:
    """(rows,) finite numbers → (rows,) float64. ValueError for another length, NaN or infinity."""
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},) like the labels, not {values.shape}")
    _require(f"{name} must be finite", values, np.isfinite(values))
    return values


def as_weights(weights: ArrayLike | None, rows: int) -> Floats:
    """(rows,) numbers ≥ 0, or None for ones → (rows,) float64."""
    if weights is None:
        return np.ones(rows)
    values = as_scores(weights, rows, "weights")
    _require("weights must be ≥ 0", values, values >= 0)
    return values


def _require(rule: str, values: NDArray[Any], right: Bools) -> None:
    wrong = np.flatnonzero(~right)
    if wrong.size:
        raise ValueError(f"{rule}: {wrong.size} are not, first {values[wrong[0]]} at row {wrong[0]}")
