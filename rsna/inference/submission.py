"""Image probabilities → breasts → a submission with exactly the rows that are asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.evaluation.breasts import breast_probabilities
from rsna.runs.trained_ensemble import TrainedEnsemble
from rsna.table_file.write import write_frame

Average = Literal["logits", "probabilities"]


def join_folds(logits: npt.NDArray[np.float32], average: Average) -> npt.NDArray[np.float64]:
    """(N, passes) cancer logits → (N,) probabilities: the mean of the logits, or of the probabilities."""
    wide = logits.astype(np.float64)
    if average == "logits":
        wide = wide.mean(axis=1, keepdims=True)
    result: npt.NDArray[np.float64] = (1 / (1 + np.exp(-np.clip(wide, -700, 700)))).mean(axis=1)
    return result


def complete_breasts(
    images: "pd.Series[str]", scores: npt.NDArray[np.float64], prediction_ids: Sequence[str], trained: TrainedEnsemble
) -> pd.DataFrame:
    """One row a breast, in the order asked for: in each member made of its images, then joined.

    Args:
        images: (n,) prediction_id of each image.
        scores: (members, n) probabilities; NaN where a member could not predict an image.
        prediction_ids: Every breast to name.
        trained: Its prevalence is the probability of a breast without any readable image.

    Returns:
        prediction_id, probability (float in [0, 1]), views (readable images), filled (bool: it is the prevalence).
    """
    frame = pd.DataFrame({"prediction_id": images.to_numpy()})
    read, asked = np.asarray((~np.isnan(scores)).any(axis=0), dtype=np.bool_), list(prediction_ids)
    readable = frame["prediction_id"][read]
    members = [
        breast_probabilities(frame.assign(probability=own)[~np.isnan(own)], trained.aggregate).reindex(asked)
        for own in scores
    ]
    joint = trained.join(np.array(members, dtype=np.float64))
    breasts = pd.DataFrame({"prediction_id": asked, "probability": joint})
    breasts["views"] = breasts["prediction_id"].map(readable.value_counts()).fillna(0).astype(int)
    breasts["filled"] = breasts["probability"].isna()
    breasts["probability"] = breasts["probability"].fillna(trained.prevalence)
    return breasts


def write_submission(breasts: pd.DataFrame, out: str | Path, threshold: float | None) -> pd.DataFrame:
    """Writes ``prediction_id,cancer``: 0 or 1 at the threshold, or the probability where there is none.

    A column ``calibrated`` takes the place of the probability, but not where the threshold decides, which is of it.
    At a threshold, a breast that nothing is known of is no recall: on an enriched set the training prevalence, which
    stands in for its probability, may lie above it.
    """
    recalled = breasts["probability"].ge(threshold) & ~breasts["filled"] if threshold is not None else None
    shown = breasts["calibrated"] if "calibrated" in breasts else breasts["probability"]
    cancer = shown if recalled is None else recalled.astype(int)
    submission = pd.DataFrame({"prediction_id": breasts["prediction_id"], "cancer": cancer})
    write_frame(submission, out)
    return submission


def check_submission(submission: pd.DataFrame, prediction_ids: Sequence[str]) -> None:
    """Holds a submission against the rows that are asked for.

    Raises:
        ValueError: Rows that are missing, additional, doubled or out of order; values outside [0, 1].
    """
    if list(submission.columns) != ["prediction_id", "cancer"]:
        raise ValueError(f"the submission's columns are {', '.join(submission.columns)}, not prediction_id, cancer")
    if submission["prediction_id"].tolist() != list(prediction_ids):
        raise ValueError("the submission's rows are not those of test.csv, in its order")
    if not submission["cancer"].between(0, 1).all():
        raise ValueError("the submission holds values outside [0, 1]")
