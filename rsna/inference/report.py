"""What an inference prints."""

from pathlib import Path

import pandas as pd

from rsna.config.verbs import InferOptions
from rsna.inference.exam import TestSet
from rsna.inference.stream import Stages
from rsna.runs.trained_model import TrainedModel

_SHOWN = 10
"""Notes and failures that are printed before they are only counted."""


def start(options: InferOptions, trained: TrainedModel, tests: TestSet) -> None:
    """What is predicted with what."""
    rows, columns = trained.preprocess.size
    folds = ", ".join(map(str, trained.folds))
    line(f"{trained.source}: folds {folds} of {trained.model.backbone} at {rows}×{columns}")
    if len(trained.folds) < trained.n_folds:
        line(f"note: folds not trained or not asked for: {trained.n_folds - len(trained.folds)} of {trained.n_folds}")
    line(f"{options.input}: {len(tests.images):,} images, {len(tests.prediction_ids):,} breasts")
    for note in tests.notes[:_SHOWN]:
        line(f"note: {note}")
    if len(tests.notes) > _SHOWN:
        line(f"note: {len(tests.notes) - _SHOWN} more")
    known = set(tests.images["patient_id"]) & trained.trained_on
    if known:
        line(f"note: {len(known)} of these patients were trained on, so their predictions are no test")


def progress(done: int, images: int, elapsed: float) -> None:
    """How far it is."""
    left = elapsed / done * (images - done)
    line(f"{done:,} of {images:,} images, {elapsed:.0f} s, about {left:.0f} s left")


def end(
    options: InferOptions,
    trained: TrainedModel,
    images: pd.DataFrame,
    breasts: pd.DataFrame,
    threshold: float,
    stages: Stages,
) -> None:
    """Failures, fallbacks, the share above the threshold, the time by stage."""
    failed = images[images["failure"] != ""]
    for row in failed.head(_SHOWN).itertuples():
        line(f"failed: {row.image_id}: {row.failure}")
    if len(failed) > _SHOWN:
        line(f"failed: {len(failed) - _SHOWN:,} more, in {Path(options.out).stem}_images.csv")
    filled = breasts.loc[breasts["filled"], "prediction_id"]
    if len(filled):
        line(
            f"{len(filled)} breasts have no readable image and get the training prevalence {trained.prevalence:.4f} "
            f"(first: {', '.join(filled.head(5))})"
        )
    share = breasts["probability"].ge(threshold).mean()
    line(
        f"threshold {threshold:.4f}: {share:.1%} of these breasts are at or above it, {trained.recalled:.1%} were out "
        "of fold (an average of folds spreads less than each; a large gap says that the threshold does not carry over)"
    )
    line(stage_line(stages))
    line(f"{options.out}: {len(breasts):,} rows")


def stage_line(stages: Stages) -> str:
    """Time by stage, milliseconds an image: of a worker process, and of a device."""
    n, wall = max(stages.prepared, 1), max(stages.wall, 1e-9)
    return (
        f"{stages.wall:.1f} s, {stages.prepared / wall:.1f} images/s; per image: read {1000 * stages.read / n:.0f} ms, "
        f"decode {1000 * stages.decode / n:.0f} ms, prepare {1000 * stages.prepare / n:.0f} ms of a worker, "
        f"networks {1000 * stages.network / n:.0f} ms of a device"
    )


def line(text: str) -> None:
    """Prints a line at once: into a pipe, too, where it would otherwise wait for a full buffer."""
    print(text, flush=True)
