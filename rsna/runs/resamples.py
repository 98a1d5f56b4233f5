"""What leaderboards and reports compute of a run's predictions, kept beside them so that it is computed once.

A paired comparison draws the same patients in both runs, and what it draws of one does not depend on the other. So each
run keeps its own values, and a ranking of thirty runs subtracts them. These files are no part of the run: where one is
missing, damaged, or of other predictions or another code, it is made again, and it may be removed at any time.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rsna.config.settings import digest
from rsna.evaluation.bootstrap import (
    BAND_RESAMPLES,
    RESAMPLES,
    Band,
    Interval,
    Resamples,
    curve_bands,
    draw,
    recentred,
)
from rsna.evaluation.compare import breasts_hash
from rsna.evaluation.evaluate import Evaluation, sorted_breasts
from rsna.evaluation.slices import Slice, slices
from rsna.evaluation.tables import plain_json
from rsna.files import code_hash
from rsna.runs import schema
from rsna.runs.errors import RunError
from rsna.runs.record_file import read_record, write_record
from rsna.runs.run import Run
from rsna.runs.set_schema import Record

COMPARED = "pf1_nested"
"""The metric that runs are ranked and compared by."""

_SEED = 0


class Resampled(Record):
    """resamples.json: metrics of the pooled breasts, and the one that runs are compared by in every resample."""

    key: str
    """Hash over the predictions, how breasts are made of them, the code of the metrics, and NumPy's version."""
    breasts: str
    """Hash over names, patients, labels and split of the breasts: only runs that share it are compared."""
    metrics: dict[str, float | None]
    """Metric → value on the data; null where it is undefined."""
    pf1_nested: tuple[float | None, ...]
    """Nested pF1 in each resample, as drawn: not moved to the value on the data; null where it is undefined."""


class SliceRecord(Record):
    """One part of the breasts, such as those of a site."""

    by: str
    value: str
    breasts: int
    positives: int
    recalled: float | None
    """Share of its breasts recalled at the nested thresholds, of those that have one; null where none has."""
    metrics: dict[str, float | None]
    intervals: dict[str, schema.Interval]
    too_few: bool
    """Whether it has too few of either class for metrics."""


class SlicesRecord(Record):
    """slices.json: the report's table of slices."""

    key: str
    """Hash over what that of resamples.json is over, and the number of resamples."""
    slices: tuple[SliceRecord, ...]


class BandRecord(Record):
    """A curve with the interval of every point of it; null where a point is undefined."""

    x: tuple[float, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


class BandsRecord(Record):
    """bands.json: the report's curves."""

    key: str
    """Hash over what that of resamples.json is over, and the number of resamples."""
    roc: BandRecord
    """Share of false alarms → sensitivity."""
    precision_recall: BandRecord
    """Sensitivity → precision."""


T = TypeVar("T", Resampled, SlicesRecord, BandsRecord)


def resampled(run: Run, resamples: int = RESAMPLES, evaluate: Callable[[], Evaluation] | None = None) -> Resampled:
    """What is kept of a run whose folds are all there; where that is of fewer resamples, it is drawn anew.

    Args:
        run: It has pooled predictions.
        resamples: How many are needed at least; 0 for metrics alone.
        evaluate: The run's own, where somebody may have computed it before.

    Raises:
        PredictionError, RunError: See :meth:`Run.evaluate`.
    """
    key = _key(run)
    kept = _read(Resampled, run, schema.RESAMPLED, key)
    if kept is not None and len(kept.pf1_nested) >= resamples:
        return kept
    evaluation = evaluate() if evaluate else run.evaluate()
    drawn = np.empty(0)
    if resamples:
        breasts = sorted_breasts(evaluation.breasts, evaluation.points, evaluation.prevalence, evaluation.splits)
        drawn = draw([breasts], resamples, _SEED, [COMPARED])[0][0][COMPARED]
    values = {"metrics": evaluation.pooled.values, COMPARED: drawn.tolist()}
    return _write(Resampled, run, schema.RESAMPLED, {"key": key, "breasts": breasts_hash(evaluation), **values})


def first_resamples(kept: Resampled, resamples: int) -> Resamples:
    """Of as many: what :func:`rsna.evaluation.bootstrap.resample` gives for them."""
    drawn = np.array(kept.pf1_nested[:resamples], dtype=np.float64)  # null becomes NaN
    return recentred({COMPARED: drawn}, {COMPARED: _number(kept.metrics[COMPARED])})


def slices_of(run: Run, evaluation: Evaluation, resamples: int) -> list[Slice]:
    """:func:`rsna.evaluation.slices.slices` of a run's own evaluation, kept where all of its folds are there.

    Raises:
        PredictionError: See there.
    """
    if run.pooled is None:
        return slices(evaluation, resamples, _SEED)
    key = digest(_key(run), resamples)
    kept = _read(SlicesRecord, run, schema.SLICES, key)
    if kept is None:
        found = [part.to_dict() for part in slices(evaluation, resamples, _SEED)]
        kept = _write(SlicesRecord, run, schema.SLICES, {"key": key, "slices": found})
    return [_slice(part) for part in kept.slices]


def bands_of(run: Run, evaluation: Evaluation, resamples: int = BAND_RESAMPLES) -> tuple[Band, Band]:
    """ROC and precision-recall curve of a run's own evaluation, with bands; kept where all of its folds are there."""

    def drawn() -> tuple[Band, Band]:
        breasts = sorted_breasts(evaluation.breasts, evaluation.points, evaluation.prevalence)
        return curve_bands(breasts, resamples, _SEED)

    if run.pooled is None:
        return drawn()
    key = digest(_key(run), resamples)
    kept = _read(BandsRecord, run, schema.BANDS, key)
    if kept is None:
        found = dict(zip(("roc", "precision_recall"), drawn(), strict=True))
        plain = {name: {axis: values.tolist() for axis, values in asdict(band).items()} for name, band in found.items()}
        kept = _write(BandsRecord, run, schema.BANDS, {"key": key, **plain})
    roc, precision_recall = (
        Band(*(np.array(values, dtype=np.float64) for values in (one.x, one.y, one.low, one.high)))
        for one in (kept.roc, kept.precision_recall)
    )
    return roc, precision_recall


def _key(run: Run) -> str:
    """12 hexadecimal characters over everything that the values depend on."""
    if run.pooled is None:
        raise RunError(f"{run.path}: {run.record.n_folds - len(run.fold_metrics)} folds are not finished yet")
    settings = run.config.evaluation.aggregate, run.record.data.sampling
    package = Path(__file__).parents[1]
    # Exams, answers and names of parts are read by the code of tables.
    code = _code_of_metrics(*(package / room for room in ("evaluation", "dataset", "table_file")))
    return digest(run.pooled.oof, settings, _SEED, code, np.__version__)


_code_of_metrics = cache(code_hash)


def _read(cls: type[T], run: Run, name: str, key: str) -> T | None:
    """What is kept under this very key; None where it is missing, damaged or of another."""
    file = run.path / schema.CV / name
    with suppress(RunError):
        if file.exists() and (kept := read_record(cls, file)).key == key:
            return kept
    return None


def _write(cls: type[T], run: Run, name: str, values: dict[str, Any]) -> T:
    """The record of these values, kept where it can be: on a disk for reading alone it is made each time."""
    plain: Any = plain_json(values)
    with suppress(OSError):
        write_record(run.path / schema.CV / name, plain)
    return cls.model_validate_json(json.dumps(plain))


def _slice(part: SliceRecord) -> Slice:
    metrics = {name: _number(value) for name, value in part.metrics.items()}
    intervals = {
        name: Interval(_number(one.low), _number(one.high), one.undefined) for name, one in part.intervals.items()
    }
    return Slice(part.by, part.value, part.breasts, part.positives, _number(part.recalled), metrics, intervals)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
