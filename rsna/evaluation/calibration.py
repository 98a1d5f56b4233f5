"""Do probabilities mean what they say? Reliability, and cross-fitted temperature, Platt and isotonic calibration.

All are fitted on the other folds of each breast, so that what they gain is never fitted and reported on the same rows.
None changes the order of breasts within a fold; they matter for raw pF1, for the threshold's meaning, and for
averaging members that were trained differently.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from rsna.evaluation.checks import Bools, Floats, PredictionError, as_labels, as_scores, as_weights
from rsna.evaluation.counts import mass_bins
from rsna.evaluation.evaluate import Evaluation, plain_json
from rsna.evaluation.metrics import METRICS, score
from rsna.evaluation.tables import number, text_table

Calibrator = Literal["as given", "temperature", "Platt", "isotonic"]
"""What was done to the probabilities: nothing; logits divided by one number; logits along a line; rising steps."""

SHOWN = ("brier", "calibration_error", "pf1_raw")
"""Metrics of each calibrator, beside log loss: those that need probabilities."""

CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1 where a logarithm is taken."""

HOTTEST = 100.0
"""Highest temperature, and the inverse of the lowest: labels that nothing, or everything, separates know no bound."""

RIDGE = 1e-2
"""Pull of Platt scaling towards slope 1 and intercept 0, against a log loss summed over breasts: next to nothing where
there are data, and a bound where the classes are separated."""


@dataclass(frozen=True)
class Platt:
    """A line on logits (Platt, 1999): unlike a temperature it mends odds that are all too high, as after resampling."""

    slope: float = 1.0
    """Above 0, so that the order of breasts stays."""
    intercept: float = 0.0

    def apply(self, probabilities: ArrayLike) -> Floats:
        """sigmoid(slope · logit(p) + intercept)."""
        return sigmoid(self.slope * logit(probabilities) + self.intercept)


@dataclass(frozen=True)
class Calibration:
    """Probabilities after one calibrator, each fitted on the other folds, and how well they agree with the labels."""

    calibrator: Calibrator
    probability: Floats = field(repr=False)
    """(n,) in the order of the evaluated breasts; NaN nowhere."""
    metrics: Mapping[str, float]
    """`log_loss`, `brier`, `calibration_error`, `pf1_raw`."""
    reliability: pd.DataFrame = field(repr=False)
    """See `reliability`: what a reliability picture draws."""
    temperatures: Mapping[int, float] = field(default_factory=dict)
    """fold → temperature fitted on the other folds; empty unless that is the calibrator."""
    lines: Mapping[int, Platt] = field(default_factory=dict)
    """fold → Platt scaling fitted on the other folds; empty unless that is the calibrator."""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types, without the probabilities."""
        return {
            "calibrator": self.calibrator,
            "metrics": plain_json(self.metrics),
            "temperatures": plain_json(self.temperatures),
            "lines": plain_json({fold: asdict(line) for fold, line in self.lines.items()}),
            "reliability": plain_json(self.reliability.to_dict(orient="list")),
        }


def calibrate(evaluation: Evaluation) -> list[Calibration]:
    """The probabilities as given, and after each cross-fitted calibrator.

    Raises:
        PredictionError: the predictions are no probabilities; or the folds other than some fold lack positives or
            negatives to fit on.
    """
    if not evaluation.probabilities:
        raise PredictionError("calibration: these predictions are no probabilities; leave calibration out")
    breasts = evaluation.breasts
    positive = breasts["cancer"].to_numpy() == 1
    p, w = breasts["probability"].to_numpy(), breasts["weight"].to_numpy()
    part = breasts["part"].to_numpy()
    found = []
    for calibrator in get_args(Calibrator):
        temperatures: dict[int, float] = {}
        lines: dict[int, Platt] = {}
        fitted = p.copy()
        for fold in np.unique(part) if calibrator != "as given" else []:
            here, rest = part == fold, part != fold
            if not (positive[rest].any() and (~positive[rest]).any()):
                raise PredictionError(
                    f"calibration: the folds other than {fold} lack positive or negative breasts to fit on; leave "
                    "calibration out"
                )
            if calibrator == "isotonic":
                steps = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
                fitted[here] = steps.fit(p[rest], positive[rest], sample_weight=w[rest]).predict(p[here])
            elif calibrator == "Platt":
                lines[int(fold)] = fit_platt(positive[rest], p[rest], w[rest])
                fitted[here] = lines[int(fold)].apply(p[here])
            else:
                temperatures[int(fold)] = fit_temperature(positive[rest], p[rest], w[rest])
                fitted[here] = with_temperature(p[here], temperatures[int(fold)])
        metrics = {
            "log_loss": float(log_loss(positive, np.clip(fitted, CLIP, 1 - CLIP), sample_weight=w, labels=[0, 1]))
        }
        for name in SHOWN:
            metrics[name] = score(name, positive, fitted, w, evaluation.points)
        picture = reliability(positive, fitted, w, evaluation.points.bins)
        found.append(Calibration(calibrator, fitted, metrics, picture, temperatures, lines))
    return found


def calibration_table(found: list[Calibration]) -> str:
    """Calibrators as text, four decimals."""
    titles = (METRICS[name].title for name in SHOWN)
    rows = [["", "log loss", *titles, "temperatures, or slopes and intercepts"]]
    for one in found:
        fits = [f"{t:.3g}" for t in one.temperatures.values()]
        fits += [f"{line.slope:.3g} {line.intercept:+.3g}" for line in one.lines.values()]
        rows.append([one.calibrator, *(number(value) for value in one.metrics.values()), ", ".join(fits)])
    return text_table(rows)


def reliability(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None, bins: int = 15
) -> pd.DataFrame:
    """What a reliability picture draws: one row for each of `mass_bins`, rising.

    Returns:
        low, high (lowest and highest probability in the bin), breasts, positives (counts), predicted (weighted mean
        probability), observed (weighted share of positives).
    """
    positive = as_labels(labels)
    p, w = as_scores(probabilities, positive.size), as_weights(weights, positive.size)
    rows = pd.DataFrame({"bin": mass_bins(p, bins), "p": p, "positive": positive, "w": w, "wp": w * p})
    rows["wy"] = w * positive
    groups = rows.groupby("bin", sort=True)
    weight = groups["w"].sum()
    return pd.DataFrame(
        {
            "low": groups["p"].min(),
            "high": groups["p"].max(),
            "breasts": groups.size(),
            "positives": groups["positive"].sum().astype(np.int64),
            "predicted": groups["wp"].sum() / weight,
            "observed": groups["wy"].sum() / weight,
        }
    ).reset_index(drop=True)


def logit(probabilities: ArrayLike) -> Floats:
    """log(p / (1 - p)), with p kept CLIP away from 0 and 1."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), CLIP, 1 - CLIP)
    return np.asarray(np.log(p) - np.log1p(-p))


def sigmoid(logits: ArrayLike) -> Floats:
    """1 / (1 + e^-z), without overflow."""
    z = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + small), small / (1 + small))


def with_temperature(probabilities: ArrayLike, temperature: float) -> Floats:
    """sigmoid(logit(p) / T): T above 1 draws probabilities towards 0.5."""
    return sigmoid(logit(probabilities) / temperature)


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The temperature with the least log loss, between 1 / HOTTEST and HOTTEST; 1 where every probability is ½.

    The loss is convex in 1 / T; its slope is bisected on a logarithmic scale.
    """
    positive = as_labels(labels)
    z = logit(as_scores(probabilities, positive.size))
    w = as_weights(weights, positive.size)
    if not np.any(w * z):
        return 1.0
    low, high = np.log(1 / HOTTEST), np.log(HOTTEST)  # of 1 / T
    for _ in range(50):  # to 1e-14 of the factor
        middle = (low + high) / 2
        if _slope(np.exp(middle), positive, z, w) > 0:
            high = middle
        else:
            low = middle
    return float(np.exp(-(low + high) / 2))


def _slope(factor: float, positive: Bools, z: Floats, w: Floats) -> float:
    """Derivative of the summed log loss by the factor on logits."""
    return float(np.sum(w * (sigmoid(factor * z) - positive) * z))


def fit_platt(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> Platt:
    """The line on logits with the least log loss plus RIDGE / 2 · ((slope - 1)² + intercept²), slope ≥ 1 / HOTTEST.

    The loss is convex: where its minimum lies below the least slope, the best allowed line has that very slope.
    """
    positive = as_labels(labels)
    z = logit(as_scores(probabilities, positive.size))
    w = as_weights(weights, positive.size)
    slope, intercept = _newton(np.array([1.0, 0.0]), 0, positive, z, w)
    if slope < 1 / HOTTEST:
        slope, intercept = _newton(np.array([1 / HOTTEST, 0.0]), 1, positive, z, w)
    return Platt(float(slope), float(intercept))


def _newton(start: Floats, first: int, positive: Bools, z: Floats, w: Floats) -> Floats:
    """(2,) slope and intercept of the least penalised log loss, by damped Newton steps; those before `first` stay."""
    x = np.stack([z, np.ones_like(z)], axis=1)[:, first:]  # (n, free)
    line = start.copy()
    loss = _penalised(line, positive, z, w)
    for _ in range(100):  # a handful is enough unless the classes are separated
        p = sigmoid(line[0] * z + line[1])
        gradient = x.T @ (w * (p - positive)) + RIDGE * (line - (1, 0))[first:]
        curvature = (x.T * (w * p * (1 - p))) @ x + RIDGE * np.eye(2 - first)
        step = np.zeros(2)
        step[first:] = np.linalg.solve(curvature, gradient)
        while (after := _penalised(line - step, positive, z, w)) > loss and np.abs(step).max() > 1e-10:
            step /= 2
        if np.abs(step).max() <= 1e-10:
            break
        line, loss = line - step, after
    return line


def _penalised(line: Floats, positive: Bools, z: Floats, w: Floats) -> float:
    logits = line[0] * z + line[1]
    return float(np.sum(w * (np.logaddexp(0, logits) - positive * logits)) + RIDGE / 2 * np.sum((line - (1, 0)) ** 2))
