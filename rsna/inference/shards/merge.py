"""Shards of a test set → one submission, as one process would have written it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsna.config.settings import unless_auto
from rsna.config.shard import IncompleteError, Shard, counts_in
from rsna.config.verbs import InferOptions
from rsna.files import first_few, only_writer
from rsna.inference import report
from rsna.inference.exam import TestSet, load_test_set
from rsna.inference.infer import Inference, Predictions, StrictError
from rsna.inference.pass_plan import Clock, PassPlan
from rsna.inference.shards.part import folder_of, part_of, shard_of_rows, shard_out
from rsna.inference.shards.result import ShardResult, joined, table_hash
from rsna.runs.site_calibration import with_calibration
from rsna.runs.trained_ensemble import load_ensemble


@dataclass(frozen=True)
class _Found:
    """What is there of a shard."""

    shard: Shard
    rows: npt.NDArray[np.int64]
    """Rows of the table that are in it."""
    result: ShardResult | None
    unfit: str
    """Why the result, or that none is there, does not do; "" where it does."""


def merge(options: InferOptions) -> Inference:
    """Writes the submission of all shards; predicts nothing and opens no image.

    Args:
        options: Those of the shards. What says how to predict counts no more; thresholds, calibration, weights of
            members and what is submitted may be others.

    Raises:
        IncompleteError: Shards that are missing, or are of another table or of other models.
        RunError, PredictionError, ConfigError, TableError, InUseError, WriteError: See :func:`rsna.inference.infer`.
        StrictError: A fallback, under strict=true.
    """
    clock, out = Clock(None), Path(options.out)
    tests = load_test_set(options.input)
    trained = load_ensemble(options.run, options.folds, options.method, options.weights)
    trained = with_calibration(trained, options.calibration)
    plans = tuple(PassPlan.of(member, unless_auto(options.flip)) for member in trained.members)
    made_with = {
        "models": [member.model_hash for member in trained.members],
        "units": [member.spec.unit for member in trained.members],
        "flip": [plan.flip for plan in plans],
        "average": options.average,
    }
    if options.strict and (gaps := tests.gaps()):
        raise StrictError(f"strict: {gaps}")
    found = _find(options, tests, made_with)
    with only_writer(out, out.stem):
        report.start(options, trained, tests)
        predictions = Predictions(options, trained, tests, clock, plans)
        results = [one.result for one in found if one.result]
        for one in found:
            if one.result:
                predictions.scores[:, one.rows] = one.result.scores
                predictions.passes[:, one.rows] = one.result.passes
                predictions.failures[:, one.rows] = one.result.failures
        predictions.stages = joined(result.stages for result in results)
        by = dict.fromkeys(result.by for result in results)
        report.line(f"networks: {'; '.join(by)}")
        if len(by) > 1:
            report.line("note: shards were predicted by several kinds of networks, whose last digits differ")
        breasts, submission = predictions.write(out)
        images = predictions.images
        report.end(options, trained, images, breasts, predictions.threshold, predictions.stages, plans)
        report.line(f"{len(found):,} shards are merged; {folder_of(out)} may be removed")
    if options.strict and breasts["filled"].any():
        raise StrictError(f"strict: {int(breasts['filled'].sum())} breasts have no readable image")
    return Inference(images, breasts, submission, predictions.stages, clock.elapsed)


def _find(options: InferOptions, tests: TestSet, made_with: dict[str, Any]) -> list[_Found]:
    """The shards of a set that has all of them, the latest where it was cut into several numbers of them."""
    latest: list[_Found] = []
    for count in counts_in(folder_of(options.out)):
        found = list(_shards(options, tests, made_with, count))
        if not any(one.unfit for one in found):
            return found
        latest = latest or found
    if not latest:
        raise IncompleteError(f"{folder_of(options.out)} holds no shard", [])
    lacking = [one for one in latest if one.unfit]
    rows = np.concatenate([one.rows for one in lacking])
    ids = tests.images["image_id"].iloc[np.sort(rows)].drop_duplicates()
    raise IncompleteError(
        f"{len(ids):,} of {tests.images['image_id'].nunique():,} images are not predicted (first: {first_few(ids)}; "
        f"{_reasons(lacking)})",
        [one.shard for one in lacking],
    )


def _shards(options: InferOptions, tests: TestSet, made_with: dict[str, Any], count: int) -> Iterable[_Found]:
    numbers = shard_of_rows(tests, count)
    for number in range(1, count + 1):
        shard, rows = Shard(number, count), np.flatnonzero(numbers == number)
        result, unfit = None, ""
        if len(rows):  # of few exams and many shards some hold nothing
            result = ShardResult.read(shard_out(options.out, shard))
            part = part_of(tests, shard, numbers)
            table, paths = table_hash(part, options.input), part.images["path"].tolist()
            unfit = result.unfit(made_with, table, paths) if result else "no result"
        yield _Found(shard, rows, result, unfit)


def _reasons(lacking: Sequence[_Found]) -> str:
    """Each reason with how many shards it is of."""
    reasons = [one.unfit for one in lacking]
    return "; ".join(f"{reasons.count(reason)} × {reason}" for reason in dict.fromkeys(reasons))
