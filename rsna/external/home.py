"""The set that a model was trained on, out of fold: what every other set is held against."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.external import ValidateOptions
from rsna.config.keys import joined_by
from rsna.dataset.exams import with_exams
from rsna.evaluation.bootstrap import Interval
from rsna.evaluation.breasts import to_breasts
from rsna.evaluation.calibration import calibrate
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.evaluate import Evaluation, evaluate
from rsna.evaluation.threshold import recalled
from rsna.inference.validate import PredictedSet
from rsna.runs.bundle import Bundle
from rsna.runs.joining import join_runs, open_members
from rsna.runs.trained_ensemble import TrainedEnsemble
from rsna.runs.trained_model import open_any

Chosen = npt.NDArray[np.bool_]
"""(n,) which images of a set."""


@dataclass(frozen=True)
class JudgedSet:
    """A set's predictions with what is decided by them."""

    name: str
    images: pd.DataFrame = field(repr=False)
    """prediction_id, patient_id, cancer, what tells exams apart, and columns that parts are made by; a row an image, or
    a breast."""
    breasts: Callable[[Chosen], pd.DataFrame] = field(repr=False)
    """Some images → their breasts: patient_id, cancer, probability, recalled (0, 1; NaN without a threshold) and
    calibrated (in [0, 1])."""


@dataclass(frozen=True)
class Home:
    """A model's own set."""

    name: str
    auroc: float
    interval: Interval
    judged: JudgedSet | None
    """Out of fold, each fold's breasts at the threshold, and by the line, of the other folds; None of a bundle, which
    keeps metrics alone."""


def judged_as_new(name: str, found: PredictedSet) -> JudgedSet:
    """By the threshold and the calibration that the model brings, as any new breast is."""
    trained = found.trained

    def breasts(chosen: Chosen) -> pd.DataFrame:
        made = found.breasts(chosen)
        p = made["probability"]
        return made.assign(recalled=recalled(p, trained.threshold), calibrated=trained.calibration.apply(p))

    return JudgedSet(name, found.images, breasts)


def home_of(options: ValidateOptions, trained: TrainedEnsemble) -> Home:
    """What runs' out-of-fold predictions, or a bundle's metrics, say of the set that they were trained on.

    The metrics are of breasts: of exams, a bundle's are not known.
    """
    pooled = trained.metrics.pooled
    area, ends = pooled.get("auroc"), pooled.ends("auroc")
    unknown = float("nan"), Interval(float("nan"), float("nan"))
    known = unknown if area is None or ends is None or options.unit == "exam" else (area, Interval(*ends))
    source = open_any(options.run[0], options.folds)
    if isinstance(source, Bundle):
        return Home(source.record.members[0].config["data"]["name"], *known, None)
    name = source.record.data.name
    if len(options.run) == 1:
        images = source.oof(tuple(weights.own for weights in trained.members[0].weights))
        evaluation = evaluate(images, trained.aggregate, sampling=source.record.data.sampling, resamples=0)
    else:  # breasts, in each of which all members are joined
        members = open_members(options.run, options.folds)
        evaluation = join_runs(members, joined_by(options.method, options.weights), options.weights, 0).joint
        run, numbers = members[options.run[0]]
        images = with_exams(evaluation.breasts, run.oof(tuple(numbers.values())))
    return Home(name, *known, _judged_out_of_fold(f"{name} (home, out of fold)", images, evaluation, trained))


def _judged_out_of_fold(name: str, images: pd.DataFrame, evaluation: Evaluation, trained: TrainedEnsemble) -> JudgedSet:
    by_breast = evaluation.breasts.set_index("prediction_id")
    try:
        lines = next(one.lines for one in calibrate(evaluation) if one.calibrator == "Platt")
    except PredictionError:  # the other folds lack positives to fit on
        lines = {}

    def breasts(chosen: Chosen) -> pd.DataFrame:
        made = to_breasts(images[chosen], trained.aggregate)
        own = by_breast.loc[made["prediction_id"]]
        p = made["probability"]
        calibrated = trained.calibration.apply(p)
        for part, line in lines.items():
            here = own["part"].eq(part).to_numpy()
            calibrated[here] = line.apply(p[here])
        at = np.where(own["threshold"].notna(), recalled(p, own["threshold"]), np.nan)
        return made.assign(recalled=at, calibrated=calibrated)

    return JudgedSet(name, images, breasts)
