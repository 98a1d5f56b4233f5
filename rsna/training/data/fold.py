"""What one fold trains and validates on."""

from dataclasses import dataclass

from rsna.dataset.examples import Examples, examples_of
from rsna.dataset.table import TableError
from rsna.dataset.targets import Target
from rsna.prepare.cache import Cache
from rsna.training.experiment import Experiment


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
    """In the order of the network's outputs."""


def fold_data(experiment: Experiment, fold: int, cache: Cache) -> FoldData:
    """Splits the table of an experiment; images that could not be prepared are on neither side.

    Raises:
        TableError: A side of the fold is empty.
    """
    table, folds, unit = experiment.table, experiment.folds, experiment.unit
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
    return FoldData(examples, examples_of(unit, validation), cache, experiment.targets)
