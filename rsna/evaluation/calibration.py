"""Do probabilities mean what they say? Reliability, and cross-fitted temperature, Platt and isotonic calibration.

All are fitted on the other folds of each breast, so that what they gain is never fitted and reported on the same rows.
None changes the order of breasts within a fold; they matter for raw pF1, for the threshold's meaning, and for
averaging members that were trained differently.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rsna.evaluation.checks import Floats, PredictionError, as_labels, as_scores, as_weights
from rsna.evaluation.counts import mass_bins
from rsna.evaluation.evaluate import Evaluation
from rsna.evaluation.metrics import METRICS, score
from rsna.evaluation.tables import Plain, number, plain_json, text_table
from rsna.evaluation.threshold import crossfit_folds

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
class Calibration(Plain):
    """Probabilities after one calibrator, each fitted on the other folds, and how well they agree with the labels."""

    left_out = ("probability",)
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
        return {**super().to_dict(), "reliability": plain_json(self.reliability.to_dict(orient="list"))}


def calibrate(evaluation: Evaluation) -> list[Calibration]:
    """The probabilities as given, and after each cross-fitted calibrator.

    Raises:
        PredictionError: the predictions are no probabilities; or the folds other than some fold lack positives or
            negatives to fit on.
    """
    from sklearn.isotonic import IsotonicRegression
    from sklearn.metrics import log_loss

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
    from scipy.special import expit

    return np.asarray(expit(np.asarray(logits, dtype=np.float64)))


def with_temperature(probabilities: ArrayLike, temperature: float) -> Floats:
    """sigmoid(logit(p) / T): T above 1 draws probabilities towards 0.5."""
    return sigmoid(logit(probabilities) / temperature)


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The temperature with the least log loss, between 1 / HOTTEST and HOTTEST; 1 where every probability is ½.

    Args:
        labels: (n,) of 0 and 1.
        probabilities: (n,) in [0, 1].
        weights: (n,) ≥ 0; None where all rows weigh alike.
    """
    from scipy.optimize import brentq

    positive = as_labels(labels)
    z = logit(as_scores(probabilities, positive.size))
    w = as_weights(weights, positive.size)
    if not np.any(w * z):
        return 1.0

    def slope(log_temperature: float) -> float:
        """Of the summed log loss by 1 / T, in which it is convex: falls as T rises, through 0 at the least loss."""
        return float(np.sum(w * (sigmoid(z / np.exp(log_temperature)) - positive) * z))

    coldest, hottest = -np.log(HOTTEST), np.log(HOTTEST)
    if slope(hottest) >= 0:
        return HOTTEST
    return 1 / HOTTEST if slope(coldest) <= 0 else float(np.exp(brentq(slope, coldest, hottest, xtol=1e-14)))


def nested_platt(labels: ArrayLike, probabilities: ArrayLike, patients: ArrayLike) -> Floats:
    """(n,) each row by Platt scaling that was fitted on other patients: the mean over the deals of `crossfit_folds`.

    Raises:
        PredictionError: a deal leaves no positives, or no negatives, to fit on.
    """
    positive, p = as_labels(labels), np.asarray(probabilities, dtype=np.float64)
    deals = crossfit_folds(patients, positive)
    fitted = np.zeros(deals.shape)
    for deal, into in zip(deals, fitted, strict=True):
        for part in np.unique(deal):
            here, rest = deal == part, deal != part
            if not (positive[rest].any() and (~positive[rest]).any()):
                raise PredictionError("calibration: too few positives, or negatives, to fit on some patients alone")
            into[here] = fit_platt(positive[rest], p[rest]).apply(p[here])
    return np.asarray(fitted.mean(axis=0))


def fit_platt(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> Platt:
    """The line on logits with the least log loss plus RIDGE / 2 · ((slope - 1)² + intercept²), slope ≥ 1 / HOTTEST."""
    from scipy.optimize import minimize

    positive = as_labels(labels)
    z = logit(as_scores(probabilities, positive.size))
    w = as_weights(weights, positive.size)
    x = np.stack([z, np.ones_like(z)])  # (2, n)

    def penalised(line: Floats) -> tuple[float, Floats]:
        """Loss and its gradient by slope and intercept; convex in both."""
        logits, pull = line @ x, line - (1, 0)
        loss = np.sum(w * (np.logaddexp(0, logits) - positive * logits)) + RIDGE / 2 * pull @ pull
        return float(loss), x @ (w * (sigmoid(logits) - positive)) + RIDGE * pull

    # Stops at the gradient alone: what a step still gains is lost in the rounding of a sum over all breasts.
    exact = {"ftol": 0, "gtol": 1e-9, "maxiter": 1000}
    bounds = [(1 / HOTTEST, None), (None, None)]
    slope, intercept = minimize(penalised, (1.0, 0.0), jac=True, method="L-BFGS-B", bounds=bounds, options=exact).x
    return Platt(float(slope), float(intercept))
