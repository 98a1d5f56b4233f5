"""Trained models that predict together: what is submitted. One model by itself is an ensemble of one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.data import Aggregate, JoinMethod
from rsna.config.keys import check_joining, joined_by, require_distinct, require_submittable
from rsna.config.settings import Auto
from rsna.evaluation.breasts import to_breasts
from rsna.evaluation.calibration import Platt, fit_platt
from rsna.evaluation.ensemble import combine
from rsna.runs.bundle import Bundle
from rsna.runs.joining import agreed_aggregate, join_runs, open_members
from rsna.runs.run import SELECTED, Run
from rsna.runs.schema import BreastMetrics
from rsna.runs.set_schema import LabelOrigin, proxies
from rsna.runs.trained_model import TrainedModel, model_of_run, models_of_bundle, open_any

Source = str | Path | Run | Bundle | Sequence[str | Path]
"""A run folder, a bundle as folder or archive, or either of them opened; or several run folders."""


@dataclass(frozen=True)
class TrainedEnsemble:
    """How files become breast probabilities, and what is done with these."""

    members: tuple[TrainedModel, ...]
    method: JoinMethod
    """How the members' probabilities become one; of one member ``mean``, which leaves them as they are."""
    member_weights: tuple[float, ...]
    """Of their logits, where the method is ``weights``: above 0, their sum is 1."""
    aggregate: Aggregate
    """Breast probability from its images', in each member."""
    threshold: float
    """Chosen on the joint out-of-fold breasts of the folds that are used; a bundle's, on those that it holds."""
    recalled: float
    """Share of those breasts at or above the threshold."""
    prevalence: float
    """Share of positive breasts in training: what a breast without any readable image gets."""
    calibration: Platt
    """Calibrates breast probabilities; fitted on the joint out-of-fold breasts."""
    metrics: BreastMetrics
    """Out of fold, joint."""
    simulated: bool
    """Whether a member was trained on the embedded sample."""
    left_out: tuple[str, ...] = ()
    """Members that weigh nothing, so that nothing is predicted with them."""
    calibrated_on: str = ""
    """What a site's line, which stands in place of its own, was fitted on; empty where it is its own."""

    @property
    def folds(self) -> tuple[int, ...]:
        """Folds whose weights are used, in every member."""
        return self.members[0].folds

    @property
    def trained_on(self) -> frozenset[str]:
        """Patients that a member was trained on, where that is known."""
        return frozenset[str]().union(*(member.trained_on for member in self.members))

    @property
    def _labels(self) -> tuple[LabelOrigin, ...]:
        return tuple(label for member in self.members for label in member.labels)

    def join(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Members' probabilities → one: what some members lack is joined of the others.

        Args:
            scores: (members, n) of images or breasts, NaN where a member has none.

        Returns:
            (n,) NaN where no member has any.
        """
        known = ~np.isnan(scores)
        joint = np.full(scores.shape[1], np.nan)
        weights = np.array(self.member_weights)
        for have in np.unique(known, axis=1).T:  # (members,)
            if have.any():
                rows = (known == have[:, None]).all(axis=0)
                own = weights[have] / weights[have].sum() if self.method == "weights" else None
                joint[rows] = combine(scores[np.ix_(have, rows)], self.method, own)
        return joint

    def notes(self, judged: Iterable[object]) -> list[str]:
        """What is to be said wherever it judges images: of files, of which only the sample's own go without."""
        from rsna.demo import is_simulated

        what = "model" if len(self.members) == 1 else "ensemble"
        nothing = self.metrics.pooled.learned_nothing
        notes = [f"this {what} {nothing}"] if nothing else []
        notes += [f"what this {what} learnt: {line}" for line in proxies(self._labels)]
        notes += [f"{member.name}: {SELECTED}" for member in self.members if member.selected]
        notes += [f"{name} weighs nothing in this ensemble, and nothing is predicted with it" for name in self.left_out]
        first: dict[str, TrainedModel] = {}
        known = ((member, first.setdefault(member.model_hash, member)) for member in self.members)
        notes += [
            f"{one.shown} is {other.shown} once more, and counts twice" for one, other in known if one is not other
        ]
        files = list(judged) if self.simulated else []
        if self.simulated and not (files and all(map(is_simulated, files))):
            notes.append(f"this {what} was trained on simulated mammograms: what it says of real ones means nothing")
        return notes


def load_ensemble(
    source: Source,
    folds: tuple[int, ...] = (),
    method: JoinMethod | Auto = "auto",
    weights: Sequence[float] = (),
    resamples: int = 0,
) -> TrainedEnsemble:
    """Reads what a run, a bundle, or several runs together say of how they predict.

    Args:
        source: See :data:`Source`.
        folds: Folds to use, as the first run numbers them; empty takes every one that is finished.
        method: How several runs are joined, see :func:`rsna.config.keys.joined_by`; one run or a bundle has its own.
        weights: Of several runs, given instead of fitted.
        resamples: Behind the intervals of several runs' joint metrics.

    Raises:
        RunError: See :func:`rsna.runs.trained_model.load_trained`; several runs have other folds finished.
        PredictionError: Several runs hold other breasts, labels or folds, or no positive breast.
        ConfigError: They were sampled, or make breasts of images, differently; a method that only orders breasts;
            weights that are not theirs; a method or weights of one run or a bundle, which has its own; one run twice.
    """
    require_submittable(method)
    sources = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    names = [str(one) for one in sources]
    check_joining(names, method, weights)
    if len(names) > 1:
        require_distinct("run", names, "run")
        return _of_runs(names, folds, joined_by(method, weights), weights, resamples)
    [one] = sources
    opened = one if isinstance(one, (Run, Bundle)) else open_any(one, folds)
    return _of_run(opened, folds) if isinstance(opened, Run) else _of_bundle(opened, folds)


def _of_run(run: Run, folds: tuple[int, ...]) -> TrainedEnsemble:
    member = model_of_run(run, folds)
    aggregate = agreed_aggregate({run.name: run})
    return TrainedEnsemble(
        members=(member,),
        method="mean",
        member_weights=(),
        aggregate=aggregate,
        simulated=run.record.data.simulated,
        **_decided(to_breasts(run.oof(member.folds), aggregate), run.breast_metrics(member.folds)),
    )


def _of_runs(
    names: Sequence[str], folds: tuple[int, ...], method: JoinMethod, weights: Sequence[float], resamples: int
) -> TrainedEnsemble:
    opened = open_members(names, folds)
    members = [model_of_run(run, folds, numbers) for run, numbers in opened.values()]
    found = join_runs(opened, method, weights, resamples)
    fitted = np.ones(len(members)) if found.weights is None else found.weights.loc[["all"]].to_numpy(np.float64)[0]
    kept = [place for place, weight in enumerate(fitted) if weight > 0]
    return TrainedEnsemble(
        members=tuple(members[place] for place in kept),
        method=method,
        member_weights=tuple(float(fitted[place]) for place in kept) if method == "weights" else (),
        aggregate=agreed_aggregate({name: run for name, (run, _) in opened.items()}),
        simulated=any(run.record.data.simulated for run, _ in opened.values()),
        left_out=tuple(name for place, name in enumerate(names) if place not in kept),
        **_decided(found.joint.breasts, BreastMetrics.of(found.joint)),
    )


def _decided(breasts: pd.DataFrame, metrics: BreastMetrics) -> dict[str, Any]:
    """What follows from out-of-fold breasts."""
    # One class says nothing of the other.
    both = breasts["cancer"].nunique() == 2
    return {
        "threshold": metrics.threshold.value,
        "recalled": metrics.threshold.recalled,
        "prevalence": metrics.pooled.prevalence,
        "calibration": fit_platt(breasts["cancer"], breasts["probability"]) if both else Platt(),
        "metrics": metrics,
    }


def _of_bundle(bundle: Bundle, folds: tuple[int, ...]) -> TrainedEnsemble:
    record = bundle.record
    return TrainedEnsemble(
        members=models_of_bundle(bundle, folds),
        method=record.method,
        member_weights=record.member_weights,
        aggregate=record.aggregate,
        threshold=record.threshold,
        recalled=record.recalled,
        prevalence=record.prevalence,
        calibration=Platt(record.calibration.slope, record.calibration.intercept),
        metrics=record.metrics,
        simulated=record.simulated,
        calibrated_on=record.calibrated_on,
    )
