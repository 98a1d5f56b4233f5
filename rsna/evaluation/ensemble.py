"""Several runs as one: averages, and weights that are fitted on other folds than they are used on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rsna.config.data import ORDERS, Aggregate, JoinMethod, Sampling, ScoredUnit
from rsna.evaluation.bootstrap import RESAMPLES
from rsna.evaluation.breasts import doubts_of, same_folds, to_breasts, to_exams
from rsna.evaluation.calibration import logit, sigmoid
from rsna.evaluation.checks import Bools, Floats, PredictionError
from rsna.evaluation.compare import Comparison, compare, same_breasts
from rsna.evaluation.counts import OperatingPoints
from rsna.evaluation.evaluate import Evaluation, evaluate, no_probabilities
from rsna.evaluation.metrics import ROUNDING
from rsna.evaluation.tables import Plain, Rows, Tables, interval_text, number
from rsna.parallel.progress import Progress

LOW_RATE = "sensitivity_at_low_recall_rate"

STEPS = 20
"""Greedy steps of a weight fit: weights are multiples of 1 / STEPS."""


@dataclass(frozen=True)
class Ensemble(Plain, Tables):
    """Members, and what they are together."""

    method: JoinMethod
    joint: Evaluation
    members: Mapping[str, Evaluation]
    """Name → its own metrics, on the same breasts, folds and resamples."""
    correlation: pd.DataFrame = field(repr=False)
    """(members, members) Spearman correlation of the breast probabilities."""
    gains: Mapping[str, Comparison] = field(repr=False)
    """Name → joint less member, paired; empty where no resamples were asked for."""
    weights: pd.DataFrame | None = field(default=None, repr=False)
    """One row a fold, one column a member: fitted on the other folds. A last row `all` is fitted on every breast, for
    new cases; no metric here rests on it. Of given weights there is the row `all` alone, and metrics rest on it. None
    unless the method is `weights`."""
    any_recalls: Comparison | None = field(default=None, repr=False)
    """`any` less `mean`: sensitivity where both recall the same low share. None where no resamples were asked for."""
    any_recalled: tuple[int, int] | None = None
    """Breasts, or exams, that `any` and `mean` recall there: a cut of `any` takes several at once, may fall short."""

    @property
    def copies(self) -> list[str]:
        """Lines on members that are hardly two."""
        first: dict[bytes, str] = {}
        found = {
            name: first.setdefault(member.breasts["probability"].to_numpy().tobytes(), name)
            for name, member in self.members.items()
        }
        return [
            f"{name}: predicts what {other} predicts, to the last digit: one model that counts twice?"
            for name, other in found.items()
            if name != other
        ]

    def parts(self) -> list[Rows | str]:
        """Members and what they are together, what joining gained, correlations and weights."""
        together = f"together ({self.method})"
        runs = {**self.members, together: self.joint}
        shown = ("pf1_raw", "pf1_nested", "auroc", "auprc")
        rows = [["", *(self.joint.title(name) for name in shown)]]
        rows += [[name, *(number(run.pooled.values[metric]) for metric in shown)] for name, run in runs.items()]
        parts: list[Rows | str] = [rows]
        said = [
            f"{name}: {line}"
            for name, one in self.members.items()
            for line in (f"scored {one.scored}", *one.suspicions)
        ]
        parts.append("\n".join([*said, *self.copies]))
        pooled = self.joint.pooled
        if self.joint.suspicions:
            parts.append("\n".join(f"together: {line}" for line in self.joint.suspicions))
        ordinal = [name for name, run in runs.items() if not run.probabilities]
        if ordinal:
            parts.append(no_probabilities(", ".join(ordinal), pooled.unit))
        if self.gains:
            gains = [[f"{self.joint.title('pf1_nested')}, together less", "difference", "interval", "p"]]
            for name, comparison in self.gains.items():
                gain = comparison.differences["pf1_nested"]
                gains.append([name, number(gain.value, sign=True), interval_text(gain.interval), number(gain.p)])
            parts.append(gains)
        if self.any_recalls:
            gain = self.any_recalls.differences[LOW_RATE]
            head = f"{self.joint.title(LOW_RATE)}: recalled by any member, less by their mean"
            cells = [number(gain.value, sign=True), interval_text(gain.interval), number(gain.p)]
            parts.append([[head, "difference", "interval", "p"], ["", *cells]])
            parts.append(_shortfall(self.any_recalled, self.joint))
        parts.append(_rows("rank correlation", self.correlation))
        if self.weights is not None:
            fitted = "weights, fitted on the other folds (all: for new cases)"
            parts.append(_rows(fitted if len(self.weights) > 1 else "weights, as given", self.weights))
        return parts


def combine(members: ArrayLike, method: JoinMethod, weights: ArrayLike | None = None) -> Floats:
    """Members' probabilities → one, row by row.

    Args:
        members: (m, n) in [0, 1].
        method: `rank_mean` averages each row's place within the set, (rank - ½) / n with ties sharing theirs, and
            `any` takes the highest: such numbers are no probabilities, only an order that a threshold can cut.
        weights: (m,) that sum to 1, for the method `weights` and no other.

    Returns:
        (n,) in [0, 1].
    """
    scores = np.asarray(members, dtype=np.float64)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"members must have shape (members, rows), none of them empty, not {scores.shape}")
    if method not in get_args(JoinMethod):
        raise ValueError(f"method must be one of {', '.join(get_args(JoinMethod))}, not {method!r}")
    if (weights is None) == (method == "weights"):
        raise ValueError("weights belong to the method `weights`, which needs them")
    if weights is not None:
        return sigmoid(np.einsum("m,mn->n", np.asarray(weights, dtype=np.float64), logit(scores)))
    if method == "mean":
        return np.asarray(scores.mean(axis=0))
    if method == "logit_mean":
        return sigmoid(logit(scores).mean(axis=0))
    ranks = pd.DataFrame(scores.T).rank(method="average").to_numpy()  # (n, m), from 1
    places = (ranks - 0.5) / scores.shape[1]
    return np.asarray(places.max(axis=1) if method == "any" else places.mean(axis=1))


def fit_weights(labels: ArrayLike, members: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """(m,) weights on logits, summing to 1, that raise average precision: greedy selection with replacement.

    Average precision moves with every breast, where pF1 at its best threshold moves with the few beside one cut. Of
    equal choices the first member is taken.

    Args:
        labels: (n,) of 0 and 1, some positive.
        members: (m, n) probabilities.
        weights: (n,) of the rows.
    """
    from sklearn.metrics import average_precision_score

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
    method: JoinMethod = "logit_mean",
    aggregate: Aggregate = "mean",
    *,
    weights: Sequence[float] = (),
    unit: ScoredUnit = "breast",
    ranks: Collection[str] = (),
    points: OperatingPoints = OperatingPoints(),  # noqa: B008 (frozen)
    prevalence: float | None = None,
    sampling: Sampling = "population",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ensemble:
    """Joins members breast by breast and scores them alone and together.

    Folds are those that members bring, and must agree; where none does, five patient-grouped parts. The score of a
    breast uses weights fitted on the other folds only, as its member scores come from models that were.

    Args:
        members: name → what `to_breasts` takes; all of the same breasts, labels and patients.
        method: see `JoinMethod`.
        aggregate: how a breast's probability comes from its images, in each member.
        weights: of the members, in their order, for the method `weights`: divided by their sum, and nothing is fitted.
        unit: see `ScoredUnit`; exams are joined, each the maximum over its breasts in a member.
        ranks: names of the members that are no probabilities but ranks or the like. Neither they nor what is made with
            them has metrics that need probabilities.
        points: as in `evaluate`, like the arguments after it.

    Raises:
        PredictionError: members hold other breasts, labels, patients or folds; too few positives to fit weights.
        ValueError: fewer than two members; a name in `ranks` that none has; weights that do not fit.
    """
    if len(members) < 2:
        raise ValueError(f"an ensemble needs two members or more, not {len(members)}")
    fits = method == "weights" and len(weights) == len(members) and all(0 <= one < np.inf for one in weights)
    if len(weights) and not (fits and any(weights)):
        raise ValueError(f"weights: {list(weights)} are not those of {len(members)} members joined by weights")
    unknown = [name for name in ranks if name not in members]
    if unknown:
        raise ValueError(f"ranks: {unknown[0]} is none of the members {', '.join(members)}")
    breasts = {name: to_breasts(images, aggregate) for name, images in members.items()}
    if unit == "exam":
        breasts = {name: to_exams(frame, members[name]) for name, frame in breasts.items()}
    breasts = _with_common_folds(breasts)
    shared = partial(evaluate, aggregate=aggregate, unit=unit, points=points, prevalence=prevalence, sampling=sampling)
    score = partial(shared, resamples=resamples, seed=seed)
    with Progress("score members", len(breasts), "members") as progress:
        single = {name: score(frame, probabilities=name not in ranks) for name, frame in progress.over(breasts.items())}
    for name, images in members.items():  # breasts of images cut at a threshold hold their means, too
        single[name] = replace(single[name], doubts=doubts_of(images, unit))
    first, *others = single.values()
    for other in others:
        same_breasts(first, other)
    scores = np.stack([member.breasts["probability"].to_numpy() for member in single.values()])  # (m, n)
    used: pd.DataFrame | None = None
    if len(weights):
        given = list(weights) if np.isfinite(sum(weights)) else np.divide(weights, max(weights))
        used = pd.DataFrame([np.divide(given, sum(given))], index=["all"], columns=list(members))
        joint_scores = combine(scores, method, used.loc["all"])
    elif method == "weights":
        joint_scores, used = _nested_weights(first.breasts, scores, list(members))
    else:
        joint_scores = combine(scores, method)
    frame = next(iter(breasts.values())).assign(probability=joint_scores)
    frame.attrs["scored"] = f"{len(members)} members joined by {method}"
    joint = score(frame, probabilities=method not in ORDERS and not ranks)
    correlation = pd.DataFrame(scores.T, columns=list(members)).corr(method="spearman")
    either = recalled = None
    if resamples:
        alone = partial(shared, probabilities=False, resamples=0)
        at_once, averaged = (alone(frame.assign(probability=combine(scores, how))) for how in ("any", "mean"))
        either = compare(at_once, averaged, resamples, seed, [LOW_RATE])
        recalled = recalled_at_low_rate(at_once), recalled_at_low_rate(averaged)
    with Progress("compare members", len(single), "members") as progress:
        compared = single.items() if resamples else ()
        gains = {name: compare(joint, member, resamples, seed) for name, member in progress.over(compared)}
    return Ensemble(method, joint, single, correlation, gains, used, either, recalled)


def recalled_at_low_rate(evaluation: Evaluation) -> int:
    """How many the lowest cut recalls that recalls no more than the low share of them."""
    breasts = evaluation.breasts
    by_score = breasts.groupby("probability")["weight"].agg(["sum", "size"]).sort_index(ascending=False).cumsum()
    allowed = by_score["sum"] <= (evaluation.points.low_recall_rate + ROUNDING) * breasts["weight"].sum()
    return int(by_score["size"][allowed].max()) if allowed.any() else 0


def _shortfall(recalled: tuple[int, int] | None, joint: Evaluation) -> str:
    """The line that says how many either recalls."""
    by_any, by_mean = recalled or (0, 0)
    line = (
        f"recalled there of {len(joint.breasts):,} {joint.unit}s: {by_any:,} by any member, {by_mean:,} by their mean"
    )
    return line + ("; not as many, so the difference is not one at equal recall" if by_any != by_mean else "")


def _nested_weights(breasts: pd.DataFrame, scores: Floats, names: list[str]) -> tuple[Floats, pd.DataFrame]:
    """(n,) joint scores, and the weights behind them: one row a fold."""
    positive: Bools = breasts["cancer"].to_numpy() == 1
    part, w = breasts["part"].to_numpy(), breasts["weight"].to_numpy()
    joint = np.empty(part.size)
    fitted: dict[str, Floats] = {}
    folds = np.unique(part)
    with Progress("fit weights", len(folds) + 1, "fits") as progress:
        for fold in progress.over(folds):
            here, rest = part == fold, part != fold
            if not positive[rest].any():
                raise PredictionError(f"weights: the folds other than {fold} have no positive breast to fit on")
            fitted[str(fold)] = fit_weights(positive[rest], scores[:, rest], w[rest])
            joint[here] = combine(scores[:, here], "weights", fitted[str(fold)])
        fitted["all"] = fit_weights(positive, scores, w)
    return joint, pd.DataFrame.from_dict(fitted, orient="index", columns=names)


def _with_common_folds(members: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Each member's breasts with the folds of the first that has any; PredictionError where others' disagree."""
    known = {name: frame.set_index("patient_id")["fold"] for name, frame in members.items() if "fold" in frame}
    if not known:
        return members
    same_folds(known)
    first = next(iter(known))
    common = members[first].set_index("prediction_id")["fold"]
    if not all(frame["prediction_id"].isin(common.index).all() for frame in members.values()):
        return members  # of other breasts, which is said once all are scored
    return {name: frame.assign(fold=frame["prediction_id"].map(common)) for name, frame in members.items()}


def _rows(title: str, frame: pd.DataFrame) -> Rows:
    rows = [[title, *(str(column) for column in frame.columns)]]
    return rows + [[str(index), *(number(float(value)) for value in row)] for index, row in frame.iterrows()]
