"""The summary of a training set that a run keeps, so that other images can be held against those that it has seen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.dataset.folds import UNKNOWN, name_parts
from rsna.parallel.progress import Progress
from rsna.prepare.appearance import QUANTITIES, Appearance, appearance, machine_of
from rsna.prepare.packs.prepared import PreparedImages
from rsna.runs.bundle import Bundle
from rsna.runs.errors import RunError
from rsna.runs.record_file import read_record, write_record
from rsna.runs.run import Run
from rsna.runs.schema import BUNDLE, TRAINING_SET
from rsna.runs.set_schema import TrainingSet

LOOKED_AT = 500
"""Images at most that are looked at: the quantiles of as many move by some 2 %."""

STEPS = 21
"""Quantiles that are kept of a quantity: every 5 %."""


def summarise(frame: pd.DataFrame, images: PreparedImages, seed: int = 0) -> TrainingSet:
    """The summary of the images of a table that are prepared.

    Args:
        frame: Columns of :class:`rsna.dataset.table.ImageTable`.
        images: Those that are prepared.
        seed: Of the draw of those that are looked at.
    """
    prepared = frame[frame["image_id"].isin(set(images))]
    drawn = prepared if len(prepared) <= LOOKED_AT else prepared.sample(LOOKED_AT, random_state=seed)
    looks, headers = [], []
    with Progress("look at the set", len(drawn)) as progress:
        for image_id, path in progress.over(list(zip(drawn["image_id"], drawn["path"], strict=True))):
            looks.append(appearance(images.read(image_id), images.geometry(image_id)))
            headers.append(machine_of(path))
    # Equal numbers in two sets are other people.
    sets = [*({"source_set"} & {*frame.columns})]
    breasts, patients = (frame.drop_duplicates([*sets, key]) for key in ("prediction_id", "patient_id"))
    return TrainingSet(
        images=len(frame),
        breasts=len(breasts),
        patients=len(patients),
        positives=int(breasts["cancer"].eq(1).sum()) if "cancer" in frame else 0,
        machines=_counts(frame["machine_id"]) if "machine_id" in frame else {},
        headers=_counts(pd.Series(headers, dtype=str)),
        views={**_counts(frame["view"]), **({"": unsaid} if (unsaid := int(frame["view"].eq("").sum())) else {})},
        looked_at=len(looks),
        quantities=quantiles(looks),
    )


def quantiles(looks: Sequence[Appearance]) -> dict[str, tuple[float, ...]]:
    """Quantity → its quantiles, 0 to 100 % in equal steps; none where nothing was looked at."""
    if not looks:
        return {}
    shares = np.linspace(0, 1, STEPS)
    return {
        name: tuple(round(float(value), 5) for value in np.quantile([getattr(one, name) for one in looks], shares))
        for name in QUANTITIES
    }


def write_training_set(run: Path, summary: TrainingSet) -> None:
    """Writes training_set.json."""
    write_record(run / TRAINING_SET, summary.model_dump(mode="json"))


def read_training_set(source: Run | Bundle) -> TrainingSet:
    """The summary that a run or a bundle holds; of several members the first one's.

    Raises:
        RunError: It is missing, torn or changed.
    """
    if isinstance(source, Run):
        return read_record(TrainingSet, source.path / TRAINING_SET)
    found = source.record.members[0].training_set
    if found is None:
        raise RunError(f"{source.folder / BUNDLE}: keeps no summary of the training set; make the bundle again")
    return found


def _counts(values: pd.Series) -> dict[str, int]:
    """Value as text → how often, the most frequent first; what is missing is left out."""
    counts = name_parts(values).value_counts()
    return {str(name): int(count) for name, count in counts.items() if name != UNKNOWN}
