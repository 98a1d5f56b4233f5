"""Several runs as one: averages, and weights that are fitted on other folds than they are used on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score

from rsna.config.data import Aggregate, Sampling
from rsna.evaluation.bootstrap import RESAMPLES
from rsna.evaluation.breasts import to_breasts
from rsna.evaluation.calibration import logit, sigmoid
from rsna.evaluation.checks import Bools, Floats, PredictionError
from rsna.evaluation.compare import Comparison, compare, same_breasts
from rsna.evaluation.counts import OperatingPoints
from rsna.evaluation.evaluate import Evaluation, evaluate, no_probabilities
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.tables import Plain, Rows, Tables, interval_text, number

Method = Literal["mean", "logit_mean", "rank_mean", "weights"]
"""How members become one: mean of probabilities; of logits; of ranks within the set; weighted mean of logits."""

STEPS = 20
"""Greedy steps of a weight fit: weights are multiples of 1 / STEPS."""


@dataclass(frozen=True)
class Ensemble(Plain, Tables):
    """Members, and what they are together."""

    method: Method
    joint: Evaluation
    members: Mapping[str, Evaluation]
    """Name → its own metrics, on the same breasts, folds and resamples."""
    correlation: pd.DataFrame = field(repr=False)
    """(members, members) Spearman correlation of the breast probabilities."""
    gains: Mapping[str, Comparison] = field(repr=False)
    """Name → joint less member, paired; empty where no resamples were asked for."""
    weights: pd.DataFrame | None = field(default=None, repr=False)
    """One row a fold, one column a member: fitted on the other folds. A last row `all` is fitted on every breast, for
    new cases; no metric here rests on it. None unless the method is `weights`."""

    def parts(self) -> list[Rows | str]:
        """Members and what they are together, what joining gained, correlations and weights."""
        together = f"together ({self.method})"
        runs = {**self.members, together: self.joint}
        shown = ("pf1_raw", "pf1_nested", "auroc", "auprc")
        rows = [["", *(METRICS[name].title for name in shown)]]
        rows += [[name, *(number(run.pooled.values[metric]) for metric in shown)] for name, run in runs.items()]
        parts: list[Rows | str] = [rows]
        ordinal = [name for name, run in runs.items() if not run.probabilities]
        if ordinal:
            parts.append(no_probabilities(", ".join(ordinal)))
        if self.gains:
            gains = [["pF1 nested, together less", "difference", "interval", "p"]]
            for name, comparison in self.gains.items():
                gain = comparison.differences["pf1_nested"]
                gains.append([name, number(gain.value, sign=True), interval_text(gain.interval), number(gain.p)])
            parts.append(gains)
        parts.append(_rows("rank correlation", self.correlation))
        if self.weights is not None:
            parts.append(_rows("weights, fitted on the other folds (all: for new cases)", self.weights))
        return parts


def combine(members: ArrayLike, method: Method, weights: ArrayLike | None = None) -> Floats:
    """Members' probabilities → one, row by row.

    Args:
        members: (m, n) in [0, 1].
        method: `rank_mean` averages each row's place within the set, (rank - ½) / n with ties sharing theirs: such
            numbers are no probabilities, only an order that a threshold can cut.
        weights: (m,) that sum to 1, for the method `weights` and no other.

    Returns:
        (n,) in [0, 1].
    """
    scores = np.asarray(members, dtype=np.float64)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"members must have shape (members, rows), none of them empty, not {scores.shape}")
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, not {method!r}")
    if (weights is None) == (method == "weights"):
        raise ValueError("weights belong to the method `weights`, which needs them")
    if weights is not None:
        return sigmoid(np.einsum("m,mn->n", np.asarray(weights, dtype=np.float64), logit(scores)))
    if method == "mean":
        return np.asarray(scores.mean(axis=0))
    if method == "logit_mean":
        return sigmoid(logit(scores).mean(axis=0))
    ranks = pd.DataFrame(scores.T).rank(method="average").to_numpy()  # (n, m), from 1
    return np.asarray(((ranks - 0.5) / scores.shape[1]).mean(axis=1))


def fit_weights(labels: ArrayLike, members: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """(m,) weights on logits, summing to 1, that raise average precision: greedy selection with replacement.

    Average precision moves with every breast, where pF1 at its best threshold moves with the few beside one cut. Of
    equal choices the first member is taken.

    Args:
        labels: (n,) of 0 and 1, some positive.
        members: (m, n) probabilities.
        weights: (n,) of the rows.
    """
    positive = np.asarray(labels) == 1
    z = logit(members)
    chosen = np.zeros(z.shape[0])
    total = np.zeros(z.shape[1])
    for step in range(1, STEPS + 1):
        # The order, all that counts here, is that of the running sum.
        gains = [average_precision_score(positive, (total + one) / step, sample_weight=weights) for one in z]
        best = int(np.argmax(gains))
        chosen[best] += 1
        total += z[best]
    return chosen / STEPS


def ensemble(
    members: Mapping[str, pd.DataFrame],
    method: Method = "logit_mean",
    aggregate: Aggregate = "mean",
    *,
    ranks: Collection[str] = (),
    points: OperatingPoints = OperatingPoints(),  # noqa: B008 (frozen)
    prevalence: float | None = None,
    sampling: Sampling = "population",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ensemble:
    """Joins members breast by breast and scores them alone and together.

    Folds are those that the members bring, where these agree; else five patient-grouped parts. The score of a breast
    uses weights fitted on the other folds only, as its member scores come from models that were.

    Args:
        members: name → what `to_breasts` takes; all of the same breasts, labels and patients.
        method: see `Method`.
        aggregate: how a breast's probability comes from its images, in each member.
        ranks: names of the members that are no probabilities but ranks or the like. Neither they nor what is made with
            them has metrics that need probabilities.
        points: as in `evaluate`, like the arguments after it.

    Raises:
        PredictionError: members hold other breasts, labels or patients; too few positives to fit weights.
        ValueError: fewer than two members; a name in `ranks` that none has.
    """
    if len(members) < 2:
        raise ValueError(f"an ensemble needs two members or more, not {len(members)}")
    unknown = [name for name in ranks if name not in members]
    if unknown:
        raise ValueError(f"ranks: {unknown[0]} is none of the members {', '.join(members)}")
    breasts = _with_common_folds({name: to_breasts(images, aggregate) for name, images in members.items()})
    shared = partial(evaluate, aggregate=aggregate, points=points, prevalence=prevalence, sampling=sampling)
    score = partial(shared, resamples=resamples, seed=seed)
    single = {name: score(frame, probabilities=name not in ranks) for name, frame in breasts.items()}
    first, *others = single.values()
    for other in others:
        same_breasts(first, other)
    scores = np.stack([member.breasts["probability"].to_numpy() for member in single.values()])  # (m, n)
    joint_scores, weights = (
        _nested_weights(first.breasts, scores, list(members))
        if method == "weights"
        else (combine(scores, method), None)
    )
    frame = next(iter(breasts.values())).assign(probability=joint_scores)
    joint = score(frame, probabilities=method != "rank_mean" and not ranks)
    correlation = pd.DataFrame(scores.T, columns=list(members)).corr(method="spearman")
    gains = {name: compare(joint, member, resamples, seed) for name, member in single.items()} if resamples else {}
    return Ensemble(method, joint, single, correlation, gains, weights)


def _nested_weights(breasts: pd.DataFrame, scores: Floats, names: list[str]) -> tuple[Floats, pd.DataFrame]:
    """(n,) joint scores, and the weights behind them: one row a fold."""
    positive: Bools = breasts["cancer"].to_numpy() == 1
    part, w = breasts["part"].to_numpy(), breasts["weight"].to_numpy()
    joint = np.empty(part.size)
    fitted: dict[str, Floats] = {}
    for fold in np.unique(part):
        here, rest = part == fold, part != fold
        if not positive[rest].any():
            raise PredictionError(f"weights: the folds other than {fold} have no positive breast to fit on")
        fitted[str(fold)] = fit_weights(positive[rest], scores[:, rest], w[rest])
        joint[here] = combine(scores[:, here], "weights", fitted[str(fold)])
    fitted["all"] = fit_weights(positive, scores, w)
    return joint, pd.DataFrame.from_dict(fitted, orient="index", columns=names)


def _with_common_folds(members: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Each member's breasts with the folds that all members that have any agree on, or with none."""
    known = [frame.set_index("prediction_id")["fold"] for frame in members.values() if "fold" in frame]
    common = known[0] if known and all(folds.equals(known[0]) for folds in known) else None
    if common is None:
        return {name: frame.drop(columns="fold", errors="ignore") for name, frame in members.items()}
    return {name: frame.assign(fold=frame["prediction_id"].map(common)) for name, frame in members.items()}


def _rows(title: str, frame: pd.DataFrame) -> Rows:
    rows = [[title, *(str(column) for column in frame.columns)]]
    return rows + [[str(index), *(number(float(value)) for value in row)] for index, row in frame.iterrows()]
