"""What one fold trains and validates on."""

from dataclasses import dataclass

import pandas as pd

from rsna.dataset.table import ImageTable, TableError
from rsna.dataset.targets import Target
from rsna.prepare.cache import Cache


@dataclass(frozen=True)
class FoldData:
    """Tables, prepared images and targets of a fold."""

    training: pd.DataFrame
    """Rows of the other folds, and of sets that are only trained on."""
    validation: pd.DataFrame
    """Rows of this fold."""
    cache: Cache
    """Prepared images of both."""
    targets: tuple[Target, ...]
    """Those that have labels to learn from."""


def fold_data(table: ImageTable, folds: pd.DataFrame, fold: int, cache: Cache, targets: tuple[Target, ...]) -> FoldData:
    """Splits a table; images that could not be prepared are on neither side.

    Raises:
        TableError: A side of the fold is empty.
    """
    valid_ids = set(folds.loc[folds["fold"] == fold, "image_id"])
    prepared = set(cache)
    frame = table.frame[table.frame["image_id"].isin(prepared)]
    is_valid = frame["image_id"].isin(valid_ids)
    training, validation = frame[~is_valid], frame[is_valid]
    if table.extra is not None:
        extra = table.extra[table.extra["image_id"].isin(prepared)]
        # The same patient may stand in two sets; it must not be learnt from while it is validated on.
        training = pd.concat([training, extra[~extra["patient_id"].isin(validation["patient_id"])]])
    if training.empty or validation.empty:
        raise TableError(f"fold {fold}: {len(training)} images to train on and {len(validation)} to validate on")
    return FoldData(training.reset_index(drop=True), validation.reset_index(drop=True), cache, targets)
