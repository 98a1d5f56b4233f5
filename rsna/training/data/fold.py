"""What one fold trains and validates on."""

from dataclasses import dataclass

import pandas as pd

from rsna.config.schema import Config
from rsna.dataset.examples import Examples, Unit, examples_of
from rsna.dataset.table import ImageTable, TableError
from rsna.dataset.targets import Target, kept_targets
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


def cache_for(config: Config, table: ImageTable) -> Cache:
    """The cache of a set of images under these preprocessing settings."""
    return Cache.create(config.cache_dir, table.name, config.preprocess)


def fold_data(
    config: Config, table: ImageTable, folds: pd.DataFrame, fold: int, cache: Cache, unit: Unit = "image"
) -> FoldData:
    """Splits a table; images that could not be prepared are on neither side.

    Raises:
        TableError: There is no such fold, or a side of it is empty.
    """
    numbers = sorted(folds["fold"].unique())
    if fold not in numbers:
        raise TableError(f"fold: there is no fold {fold}; this run has {', '.join(map(str, numbers))}")
    valid_ids = set(folds.loc[folds["fold"] == fold, "image_id"])
    prepared = set(cache)
    frame = table.frame[table.frame["image_id"].isin(prepared)]
    is_valid = frame["image_id"].isin(valid_ids)
    training, validation = [frame[~is_valid]], frame[is_valid]
    if table.extra is not None:
        extra = table.extra[table.extra["image_id"].isin(prepared)]
        # The same patient may stand in two sets; it must not be learnt from while it is validated on.
        training.append(extra[~extra["patient_id"].isin(validation["patient_id"])])
    if not any(map(len, training)) or validation.empty:
        raise TableError(
            f"fold {fold}: {sum(map(len, training))} images to train on and {len(validation)} to validate on"
        )
    examples = examples_of(unit, *training)
    # A breast has no view, so that there is none to be learnt.
    targets = tuple(target for target in kept_targets(config.targets, table) if target.column in examples.table)
    return FoldData(examples, examples_of(unit, validation), cache, targets)
