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


class PredictionError(ValueError):
    """Predictions or labels that cannot be scored as they are; the message says how many rows and which first."""


def offenders(ids: Iterable[object], total: int | None = None) -> str:
    """`3 of 200 (a, b, c)`: how many rows offend, and the first of them."""
    listed = list(ids)
    names = ", ".join(str(name) for name in islice(listed, SHOWN))
    more = ", …" if len(listed) > SHOWN else ""
    share = f"{len(listed):,}" if total is None else f"{len(listed):,} of {total:,}"
    return f"{share} ({names}{more})"


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
