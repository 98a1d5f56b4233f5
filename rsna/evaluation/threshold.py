"""The exact best threshold, and the parts that nested ones are cross-fitted over.

A breast is *recalled* at threshold t where its probability ≥ t. So every cut has a threshold within [0, 1]: t = 0
recalls all, and the cut just below a score s is any t in (next lower score, s].
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rsna.evaluation.checks import Bools, Floats, Ints, as_labels, as_scores, as_weights
from rsna.evaluation.counts import between, f_beta

PLATEAU_TOLERANCE = 0.01
"""How far below the best pF1 the plateau reaches: about half a standard error at the competition's 492 positives."""

CROSSFIT_PARTS = 5
"""Patient-grouped parts where the predictions bring no folds."""

DEALS = 20
"""Deals of the patients into these parts, over which nested pF1 is averaged: from one deal to the next it moves with a
standard deviation of 0.011 to 0.016 at 50 to 61 positives, as much as separates two runs."""


@dataclass(frozen=True)
class Threshold:
    """The best cut of a set of breasts."""

    value: float
    """t in [0, 1], midway between the last score recalled and the next lower one."""
    pf1: float
    """pF1 at t, on the very rows it was chosen on: optimistic."""
    plateau: tuple[float, float]
    """The widest interval (low, high] around t in which pF1 stays within PLATEAU_TOLERANCE of the best."""
    recalled: float
    """Share of the (weighted) rows at or above t."""

    @property
    def width(self) -> float:
        """Width of the plateau, in probability."""
        return self.plateau[1] - self.plateau[0]


@dataclass(frozen=True)
class Curve:
    """Every cut there is, from the one that recalls fewest to the one that recalls all."""

    scores: Floats
    """(cuts,) distinct scores, falling: cut i recalls the rows ≥ scores[i]."""
    pf1: Floats
    """(cuts,) pF1 at each."""
    recalled: Floats
    """(cuts,) share of the (weighted) rows recalled."""

    def lower(self, cut: int) -> float:
        """Lower, open end of the thresholds that make this cut: the next score below, 0 under the last."""
        return float(self.scores[cut + 1]) if cut + 1 < self.scores.size else min(0.0, float(self.scores[cut]))


def recalled(probabilities: ArrayLike, threshold: ArrayLike) -> Bools:
    """(n,) whether each row is: probability ≥ threshold, compared in float64 whatever the predictions' type."""
    return np.asarray(np.asarray(probabilities, dtype=np.float64) >= np.asarray(threshold, dtype=np.float64))


def threshold_curve(
    labels: ArrayLike, probabilities: ArrayLike, beta: float = 1.0, weights: ArrayLike | None = None
) -> Curve:
    """pF1 at every cut. Arguments as in `best_threshold`, which takes the highest point of this curve.

    Raises:
        ValueError: no positive label of a weight above 0, or arrays that are not as there.
    """
    positive = as_labels(labels)
    scores = as_scores(probabilities, positive.size)
    w = as_weights(weights, positive.size)
    order = np.argsort(-scores[w > 0], kind="stable")  # a row of weight 0 is no cut
    scores, positive, w = scores[w > 0][order], positive[w > 0][order], w[w > 0][order]
    if not positive.any():
        raise ValueError(f"a threshold needs at least one positive label; none of {positive.size} rows has one")
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))  # end of each run of equal scores
    tp, all_recalled = np.cumsum(w * positive)[last], np.cumsum(w)[last]
    score = f_beta(tp, all_recalled - tp, tp[-1], beta)
    return Curve(scores[last], score, all_recalled / all_recalled[-1])


def best_threshold(
    labels: ArrayLike,
    probabilities: ArrayLike,
    beta: float = 1.0,
    weights: ArrayLike | None = None,
    tolerance: float = PLATEAU_TOLERANCE,
) -> Threshold:
    """The cut with the highest pF1 among all there are; of equal ones the one that recalls fewest rows.

    Args:
        labels: (n,) of 0 and 1, at least one positive.
        probabilities: (n,) in [0, 1].
        beta: as in `pf1`.
        weights: (n,) ≥ 0; rows of weight 0 are as if absent.
        tolerance: pF1 that the plateau may lie below the best.
    """
    curve = threshold_curve(labels, probabilities, beta, weights)
    best = int(np.argmax(curve.pf1))  # the first of equals: fewest recalled
    below = np.flatnonzero(curve.pf1 < curve.pf1[best] - tolerance)
    left, right = below[below < best], below[below > best]
    first = int(left[-1]) + 1 if left.size else 0
    last = int(right[0]) - 1 if right.size else curve.scores.size - 1
    return Threshold(
        value=float(between(curve.lower(best), curve.scores[best])),
        pf1=float(curve.pf1[best]),
        plateau=(curve.lower(last), float(curve.scores[first])),
        recalled=float(curve.recalled[best]),
    )


def crossfit_folds(patients: ArrayLike, labels: ArrayLike, parts: int = CROSSFIT_PARTS, deals: int = DEALS) -> Ints:
    """(deals, n) part numbers 0 … parts - 1, for predictions that bring no folds.

    All rows of a patient share a part; patients with a positive row are dealt out evenly, then the others. Each deal
    follows eight bytes of a hash of the patient's id, so it depends neither on the order of the rows nor on what ids
    encode. Fewer patients than parts: as many parts as patients.
    """
    names, row_of = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    sick = np.zeros(names.size, dtype=np.bool_)
    np.logical_or.at(sick, row_of, as_labels(labels))
    digests = b"".join(hashlib.shake_128(name.encode()).digest(8 * deals) for name in names.tolist())
    places = np.frombuffer(digests, dtype="<u8").reshape(names.size, deals)
    part = np.empty((deals, names.size), dtype=np.int64)
    for deal in range(deals):
        part[deal, np.lexsort((places[:, deal], ~sick))] = np.arange(names.size) % min(parts, names.size)
    return part[:, row_of]
