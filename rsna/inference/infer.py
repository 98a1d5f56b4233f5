"""A run and a folder in, a complete submission out."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.files import atomic_path
from rsna.inference.ensemble import Ensemble
from rsna.inference.exam import TestSet, load_test_set
from rsna.inference.options import InferOptions
from rsna.inference.recipe import Recipe, load_recipe, training_patients
from rsna.inference.stream import Stages, Stream
from rsna.inference.submission import check_submission, complete_breasts, join_folds, write_submission
from rsna.settings import ConfigError

_PROGRESS_S = 5.0


@dataclass(frozen=True)
class Inference:
    """What was predicted."""

    images: pd.DataFrame
    """image_id, prediction_id, path, probability (NaN where it failed), failure."""
    breasts: pd.DataFrame
    """prediction_id, probability, views, filled."""
    submission: pd.DataFrame
    """prediction_id, cancer: as written."""
    stages: Stages


def infer(options: InferOptions) -> Inference:
    """Predicts a folder and writes the submission.

    Raises:
        RecipeError: The run has nothing to predict with.
        TableError: The folder cannot be used at all.
    """
    recipe = load_recipe(options.run, options.folds)
    tests = load_test_set(options.input)
    folds = ", ".join(map(str, recipe.folds))
    rows, columns = recipe.preprocess.size
    _print(f"{recipe.source}: folds {folds} of {recipe.model.backbone} at {rows}×{columns}")
    _print(f"{options.input}: {len(tests.images):,} images, {len(tests.prediction_ids):,} breasts")
    for note in tests.notes[:10]:
        _print(f"note: {note}")
    known = set(tests.images["patient_id"]) & training_patients(options.run)
    if known:
        _print(f"note: {len(known)} of these patients were trained on, so their predictions are no test")
    images, stages = _predict(options, recipe, tests)
    breasts = complete_breasts(images, tests.prediction_ids, recipe.aggregate, recipe.prevalence)
    threshold = recipe.threshold if options.threshold is None else options.threshold
    chosen = threshold if options.submit == "threshold" else None
    submission = write_submission(breasts, options.out, chosen)
    check_submission(submission, tests.prediction_ids)
    _write_beside(options.out, images, breasts)
    _report(options, recipe, images, breasts, threshold, stages)
    return Inference(images, breasts, submission, stages)


def _predict(options: InferOptions, recipe: Recipe, tests: TestSet) -> tuple[pd.DataFrame, Stages]:
    if recipe.preprocess.crop == "boxes":
        raise ConfigError("preprocess.crop: boxes are known for the training images alone; train with crop=breast")
    images = tests.images[["image_id", "prediction_id", "path"]].copy()
    images["probability"], images["failure"] = np.nan, "no file for this row"
    there = np.flatnonzero(images["path"].to_numpy() != "")
    paths = images["path"].iloc[there].tolist()
    stream = Stream(
        Ensemble(recipe.networks()), recipe.preprocess, options.batch_size, options.workers, options.file_timeout
    )
    column, said = recipe.cancer_column, time.monotonic()
    for done, outcome in enumerate(stream.predict(paths), 1):
        row = there[outcome.index]
        images.loc[row, "failure"] = outcome.failure
        if outcome.logits is not None:
            images.loc[row, "probability"] = join_folds(outcome.logits[None, :, column], options.average)[0]
        if time.monotonic() - said > _PROGRESS_S or done == len(paths):
            said = time.monotonic()
            _print(f"{done:,} of {len(paths):,} images")
    return images, stream.stages


def _write_beside(out: str, images: pd.DataFrame, breasts: pd.DataFrame) -> None:
    target = Path(out)
    for name, frame in (("images", images), ("breasts", breasts)):
        with atomic_path(target.with_name(f"{target.stem}_{name}.csv")) as temporary:
            frame.to_csv(temporary, index=False)


def _report(
    options: InferOptions, recipe: Recipe, images: pd.DataFrame, breasts: pd.DataFrame, threshold: float, stages: Stages
) -> None:
    failed = images[images["failure"] != ""]
    for row in failed.head(10).itertuples():
        _print(f"failed: {row.image_id}: {row.failure}")
    if len(failed) > 10:
        _print(f"failed: {len(failed) - 10:,} more, in {Path(options.out).stem}_images.csv")
    filled = breasts.loc[breasts["filled"], "prediction_id"]
    if len(filled):
        _print(
            f"{len(filled)} breasts have no readable image and get the training prevalence {recipe.prevalence:.4f} "
            f"(first: {', '.join(filled.head(5))})"
        )
    share = breasts["probability"].ge(threshold).mean()
    _print(
        f"threshold {threshold:.4f}: {share:.1%} of these breasts are at or above it, {recipe.recalled:.1%} were out "
        "of fold (an average of folds spreads less than each; a large gap says that the threshold does not carry over)"
    )
    n = max(len(images) - len(failed), 1)
    _print(
        f"{stages.wall:.1f} s, {n / max(stages.wall, 1e-9):.1f} images/s; per image: read, decode and prepare "
        f"{1000 * stages.prepare / n:.0f} ms of a worker, network {1000 * stages.network / n:.0f} ms"
    )
    _print(f"{options.out}: {len(breasts):,} rows")


def _print(text: str) -> None:
    print(text, file=sys.stdout, flush=True)
