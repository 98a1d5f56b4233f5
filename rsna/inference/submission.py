"""Image probabilities → breasts → a submission with exactly the rows that are asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.data import Aggregate
from rsna.evaluation.breasts import breast_probabilities
from rsna.files import atomic_path

Average = Literal["logits", "probabilities"]


def join_folds(logits: npt.NDArray[np.float32], average: Average) -> npt.NDArray[np.float64]:
    """(N, passes) cancer logits → (N,) probabilities: the mean of the logits, or of the probabilities."""
    wide = logits.astype(np.float64)
    if average == "logits":
        wide = wide.mean(axis=1, keepdims=True)
    result: npt.NDArray[np.float64] = (1 / (1 + np.exp(-np.clip(wide, -700, 700)))).mean(axis=1)
    return result


def complete_breasts(
    images: pd.DataFrame, prediction_ids: Sequence[str], aggregate: Aggregate, fallback: float
) -> pd.DataFrame:
    """One row a breast, in the order asked for.

    Args:
        images: prediction_id and probability; NaN where an image could not be read.
        prediction_ids: Every breast to name.
        aggregate: How images become a breast.
        fallback: Probability of a breast without any readable image.

    Returns:
        prediction_id, probability (float in [0, 1]), views (readable images), filled (bool: it is the fallback).
    """
    readable = images[images["probability"].notna()]
    breasts = pd.DataFrame({"prediction_id": list(prediction_ids)})
    breasts["probability"] = breasts["prediction_id"].map(breast_probabilities(readable, aggregate)).astype(float)
    breasts["views"] = breasts["prediction_id"].map(readable["prediction_id"].value_counts()).fillna(0).astype(int)
    breasts["filled"] = breasts["probability"].isna()
    breasts["probability"] = breasts["probability"].fillna(fallback)
    return breasts


def write_submission(breasts: pd.DataFrame, out: str | Path, threshold: float | None) -> pd.DataFrame:
    """Writes ``prediction_id,cancer``: 0 or 1 at the threshold, or the probability where there is none.

    At a threshold, a breast that nothing is known of is no recall: on an enriched set the training prevalence, which
    stands in for its probability, may lie above it.
    """
    recalled = breasts["probability"].ge(threshold) & ~breasts["filled"] if threshold is not None else None
    cancer = breasts["probability"] if recalled is None else recalled.astype(int)
    submission = pd.DataFrame({"prediction_id": breasts["prediction_id"], "cancer": cancer})
    write_frame(submission, out)
    return submission


def write_frame(frame: pd.DataFrame, out: str | Path) -> None:
    """Writes a CSV, or Parquet where ``out`` says so by its name, whole or not at all."""
    with atomic_path(out) as temporary:
        (frame.to_parquet if Path(out).suffix == ".parquet" else frame.to_csv)(temporary, index=False)


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
