"""What one fold trains and validates on."""

from dataclasses import dataclass

import pandas as pd

from rsna.dataset.examples import Examples, Unit, examples_of
from rsna.dataset.table import ImageTable, TableError
from rsna.dataset.targets import Target
from rsna.prepare.cache import Cache


@dataclass(frozen=True)
class FoldData:
    """Examples, prepared images and targets of a fold."""

    training: Examples
    """Those of the other folds, and of sets that are only trained on."""
    validation: Examples
    """Those of this fold."""
    cache: Cache
    """Prepared images of both."""
    targets: tuple[Target, ...]
    """Those that have labels to learn from."""


def fold_data(
    table: ImageTable,
    folds: pd.DataFrame,
    fold: int,
    cache: Cache,
    targets: tuple[Target, ...],
    unit: Unit = "image",
) -> FoldData:
    """Splits a table; images that could not be prepared are on neither side.

    Raises:
        TableError: A side of the fold is empty.
    """
    valid_ids = set(folds.loc[folds["fold"] == fold, "image_id"])
    prepared = set(cache)
    frame = table.frame[table.frame["image_id"].isin(prepared)]
    is_valid = frame["image_id"].isin(valid_ids)
    training, validation = [frame[~is_valid]], frame[is_valid]
    if table.extra is not None:
        extra = table.extra[table.extra["image_id"].isin(prepared)]
        # The same patient may stand in two sets; it must not be learnt from while it is validated on.
        training.append(extra[~extra["patient_id"].isin(validation["patient_id"])])
    examples = examples_of(unit, *training)
    if not len(examples) or validation.empty:
        raise TableError(f"fold {fold}: {len(examples.images)} images to train on and {len(validation)} to validate on")
    # A breast has no view, so that there is none to be learnt.
    learnt = tuple(target for target in targets if target.name in examples.table)
    return FoldData(examples, examples_of(unit, validation), cache, learnt)
