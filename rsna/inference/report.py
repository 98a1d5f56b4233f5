"""What an inference prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.config.verbs import InferOptions
from rsna.inference.backends.choice import Choice
from rsna.inference.exam import TestSet
from rsna.inference.pass_plan import Plans, Stages, in_words
from rsna.parallel.progress import say
from rsna.runs.trained_ensemble import TrainedEnsemble

_SHOWN = 10
"""Notes and failures that are printed before they are only counted."""


def start(options: InferOptions, trained: TrainedEnsemble, tests: TestSet) -> None:
    """What is predicted with what."""
    for text in members(trained):
        line(text)
    n_folds = trained.members[0].n_folds
    if len(trained.folds) < n_folds:
        line(f"note: folds not trained or not asked for: {n_folds - len(trained.folds)} of {n_folds}")
    part = f", shard {options.shard}" if options.shard else ""
    line(f"{options.input}{part}: {tests.images['image_id'].nunique():,} images, {len(tests.prediction_ids):,} breasts")
    for note in tests.notes[:_SHOWN]:
        line(f"note: {note}")
    if len(tests.notes) > _SHOWN:
        line(f"note: {len(tests.notes) - _SHOWN} more")
    for note in trained.notes(tests.images.loc[tests.images["failure"].eq(""), "path"]):
        line(f"note: {note}")
    if trained.calibrated_on:
        where = "the submission and the table of breasts" if options.submit == "probability" else "the table of breasts"
        line(f"calibration: {trained.calibrated_on}; calibrated probabilities stand in {where}, the threshold stays")
    known = set(tests.images["patient_id"]) & trained.trained_on
    if known:
        line(f"note: {len(known)} of these patients were trained on, so their predictions are no test")


def members(trained: TrainedEnsemble) -> list[str]:
    """Lines on the networks, and on how they are joined."""
    lines = []
    for member in trained.members:
        rows, columns = member.preprocess.size
        folds, whole = ", ".join(map(str, (own.own for own in member.weights))), member.spec.unit == "breast"
        name = member.source if len(trained.members) == 1 else member.shown
        lines.append(f"{name}: folds {folds} of {member.model.backbone} at {rows}×{columns}{', by breast' * whole}")
    if len(lines) > 1:
        weights = ", ".join(f"{weight:g}" for weight in trained.member_weights)
        lines.append(f"joined by {trained.method}{f' {weights}' if weights else ''}")
    return lines


def networks(trained: TrainedEnsemble, choices: Sequence[Choice]) -> None:
    """What predicts, and why not what was asked for."""
    for why in dict.fromkeys(why for choice in choices for why in choice.given_up):
        line(f"warning: {why}")
    alike = len(set(map(str, choices))) == 1
    for choice, member in zip(choices[: 1 if alike else None], trained.members, strict=False):
        line(f"networks{'' if alike else f' of {member.name}'}: {choice}")


def end(
    options: InferOptions,
    trained: TrainedEnsemble,
    images: pd.DataFrame,
    breasts: pd.DataFrame,
    threshold: float,
    stages: Stages,
    plans: Plans,
) -> None:
    """Failures, fallbacks, the share above the threshold, the time by stage."""
    images = images.drop_duplicates(["image_id", "passes", "failure"])  # one of two breasts is one image
    failed = images[images["failure"] != ""]
    for row in failed.head(_SHOWN).itertuples():
        line(f"failed: {row.image_id}: {row.failure}")
    if len(failed) > _SHOWN:
        line(f"failed: {len(failed) - _SHOWN:,} more, in {Path(options.out).stem}_images.csv")
    passes = sum(plan.passes for plan in plans)
    fewer = int((images["passes"].between(1, passes - 1)).sum())
    if fewer:
        line(f"{fewer:,} images were predicted by fewer passes than {in_words(plans)}; the same command completes them")
    for doubt, count in stages.doubts.most_common():
        line(f"note: {doubt}: {count:,} of {stages.prepared:,} images")
    for told in told_by_headers(stages.told):
        line(f"note: {told}")
    filled = breasts.loc[breasts["filled"], "prediction_id"]
    if len(filled):
        line(
            f"{len(filled)} breasts have no readable image and get the training prevalence {trained.prevalence:.4f} "
            f"(first: {', '.join(filled.head(5))})"
        )
    if breasts["filled"].all() and len(breasts):
        line(f"warning: not one image was predicted: {options.out} holds nothing but what stands in for predictions")
    known = breasts.loc[~breasts["filled"], "probability"]  # what stands in for one is no reason to recall
    if len(known):  # a shard may have none
        share = known.ge(threshold).mean()
        which = "these" if len(known) == len(breasts) else f"the {len(known):,} other"
        line(
            f"threshold {threshold:.4f}: {share:.1%} of {which} breasts are at or above it, {trained.recalled:.1%} "
            "were out of fold (an average of folds spreads less than each; a large gap says that the threshold does "
            "not carry over)"
        )
    line(stage_line(stages))
    line(f"{options.out}: {len(breasts):,} rows")


def unknown_inputs(trained: TrainedEnsemble, images: pd.DataFrame) -> list[str]:
    """A line on what the networks ask for that no image has; none where there is nothing."""
    asked = {one.name: one for member in trained.members for one in member.spec.inputs}
    unknown = [name for name, one in asked.items() if len(images) and np.isnan(one.read(images)).all()]
    said = (
        f"table_inputs: {', '.join(unknown)} is not known of any image by the table; where it says nothing, headers "
        "are asked, and what neither says is unknown to the networks"
    )
    return [said] if unknown else []


def told_by_headers(told: Mapping[str, int]) -> list[str]:
    """Lines on table inputs that a table said nothing of."""
    return [
        f"table_inputs: {name} of {count:,} images is what their headers say, as the table does not"
        for name, count in told.items()
    ]


def stage_line(stages: Stages) -> str:
    """Time by stage, milliseconds an image: of a worker process, and of a device."""
    n, wall = max(stages.prepared, 1), max(stages.wall, 1e-9)
    return (
        f"{stages.wall:.1f} s, {stages.prepared / wall:.1f} images/s; per image: read {1000 * stages.read / n:.0f} ms, "
        f"decode {1000 * stages.decode / n:.0f} ms, prepare {1000 * stages.prepare / n:.0f} ms of a worker, "
        f"networks {1000 * stages.network / n:.0f} ms of a device"
    )


def line(text: str) -> None:
    """Prints a line, clear of the progress on a terminal."""
    say(text)
