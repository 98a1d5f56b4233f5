"""Verbs that score predictions: evaluate, ensemble."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rsna.cli.verb import verb
from rsna.config.data import Aggregate, Sampling
from rsna.config.keys import joined_by
from rsna.config.settings import ConfigError
from rsna.config.verbs import EnsembleOptions, EvaluateOptions
from rsna.files import first_few
from rsna.parallel.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from rsna.runs.run import Run


@verb("evaluate", EvaluateOptions, says=lambda o: f"scores {first_few(o.run) or o.predictions}")
def _evaluate(options: EvaluateOptions) -> None:
    """Score a run's out-of-fold predictions, or anybody's files, at breast level with patient-level intervals.

    rsna evaluate run=runs/demo slices=true calibration=true
    rsna evaluate run=[runs/a,runs/b]
    rsna evaluate run=runs/demo unit=exam
    rsna evaluate predictions=oof.csv labels=train.csv aggregate=max
    rsna evaluate predictions=oof.csv labels=train.csv sampling=enriched prevalence=0.021
    rsna evaluate predictions=oof.csv labels=train.csv column=b3 threshold=0.6353
    """
    from rsna.evaluation.calibration import calibrate, calibration_table
    from rsna.evaluation.evaluate import evaluate, score_at
    from rsna.evaluation.external import score_parts
    from rsna.evaluation.predictions import read_predictions
    from rsna.evaluation.slices import SLICE_RESAMPLES, slices
    from rsna.files import write_json

    aggregate = None if options.aggregate == "auto" else options.aggregate
    with Progress("read predictions"):
        if options.run:
            # All are read ahead of the first table: a torn one is said at once.
            sources = {name: _read_run(name, aggregate) for name in options.run}
        else:
            labels = Path(options.labels) if options.labels else None
            images = read_predictions(Path(options.predictions), labels, options.column)
            sampling: Sampling = "population" if options.sampling == "auto" else options.sampling
            note = _doubts(images, sampling)
            sources = {options.predictions: _Predictions(images, sampling, aggregate or "mean", note)}
    results: dict[str, dict[str, object]] = {}
    for name, source in sources.items():
        found = evaluate(
            source.images,
            aggregate or source.aggregate,
            unit=options.unit,
            prevalence=options.prevalence,
            sampling=source.sampling,
            probabilities=not options.ranks,
            resamples=options.resamples,
        )
        print((f"\n{name}\n" if len(sources) > 1 else "") + found.table() + source.note)
        results[name] = found.to_dict()
        if options.threshold is not None:
            at = score_at(found, options.threshold, options.resamples)
            print(f"{at.line('the given')}; too good if it was chosen on these breasts")
            results[name]["at_threshold"] = at.to_dict()
        if source.run and source.run.parts and found.folds:
            of_parts = score_parts(found, source.run.parts, options.resamples)
            print("\n" + of_parts.table())
            results[name]["parts"] = of_parts.to_dict()
        if options.slices:
            parts = slices(found, min(options.resamples, SLICE_RESAMPLES))
            print("\n" + parts.table())
            results[name]["slices"] = [part.to_dict() for part in parts]
        if options.calibration:
            with Progress("calibrate"):
                calibrations = calibrate(found)
            print("\n" + calibration_table(calibrations))
            results[name]["calibration"] = [calibration.to_dict() for calibration in calibrations]
    if options.out:
        write_json(options.out, results if len(results) > 1 else next(iter(results.values())))


_TABLE = r"\.(csv|tsv|parquet)(\.\w+)?$"
"""What is not there is missed as the table that its name says it is, or else as a run."""


def _is_file(name: str) -> bool:
    return Path(name).is_file() or bool(not Path(name).exists() and re.search(_TABLE, name.lower()))


@verb(
    "ensemble",
    EnsembleOptions,
    says=lambda o: f"joins {first_few(o.run)} ({joined_by(o.method, o.weights)}) and scores them",
)
def _ensemble(options: EnsembleOptions) -> None:
    """Join runs or prediction files, and say whether together they are better than alone.

    rsna ensemble run=[runs/a,runs/b]
    rsna ensemble run=[runs/a,runs/b] unit=exam method=any
    rsna ensemble run=[runs/a,runs/b] folds=[0]
    rsna ensemble run=[runs/a,runs/b] weights=[0.6,0.4] oof=joint.csv
    rsna ensemble run=[runs/a,other.csv] labels=train.csv method=weights
    """
    from rsna.dataset.exams import with_exams
    from rsna.evaluation.ensemble import ensemble
    from rsna.evaluation.predictions import read_predictions
    from rsna.files import write_json
    from rsna.runs.joining import agreed_aggregate, agreed_sampling, open_members, require_equal_folds
    from rsna.table_file.write import write_frame

    aggregate = None if options.aggregate == "auto" else options.aggregate
    labels = Path(options.labels) if options.labels else None
    members, runs = {}, {}
    files = [name for name in options.run if _is_file(name)]
    if options.folds and files:
        raise ConfigError(f"folds: {files[0]} is a file; they are those of runs alone")
    numbers = open_members(options.run, options.folds) if options.folds else {}
    for name in options.run:
        if name in files:
            members[name] = read_predictions(Path(name), labels, options.column)
        else:
            own = tuple(numbers[name][1].values()) if numbers else ()
            runs[name] = _read_run(name, aggregate, own)
            members[name] = runs[name].images
    opened = {name: one.run for name, one in runs.items() if one.run}
    for key in ("labels", "column"):
        if getattr(options, key) and not files:
            raise ConfigError(f"{key}: all of these are runs, which bring their own; it goes with files")
    require_equal_folds(opened.values())
    sampling = agreed_sampling(opened, None if options.sampling == "auto" else options.sampling)
    found = ensemble(
        members,
        joined_by(options.method, options.weights),
        agreed_aggregate(opened, aggregate, "say how with aggregate=…"),
        weights=options.weights,
        unit=options.unit,
        ranks=options.ranks,
        prevalence=options.prevalence,
        sampling=sampling,
        resamples=options.resamples,
    )
    # All members have the same labels; of runs training has said what is odd about theirs.
    doubts = "" if runs else _doubts(next(iter(members.values())), sampling)
    print(found.table() + doubts + "".join(run.note for run in runs.values()))
    if options.out:
        write_json(options.out, found.to_dict())
    if options.oof:
        joint = found.joint.breasts.drop(columns=["weight", "part", "threshold", "recalled"])
        # Whoever scores them by exam later tells exams apart as here.
        write_frame(with_exams(joint, next(iter(members.values()))) if options.unit == "breast" else joint, options.oof)


class _Predictions(NamedTuple):
    """What is scored."""

    images: "pd.DataFrame"
    sampling: Sampling
    aggregate: Aggregate
    """How the run makes breasts of images."""
    note: str = ""
    """Lines to print under the metrics."""
    run: "Run | None" = None


def _doubts(images: "pd.DataFrame", sampling: Sampling) -> str:
    """Notes on labels that are hardly what they are taken for."""
    from rsna.dataset.prevalence import label_doubts

    return "".join(f"\n\nnote: {line}" for line in label_doubts(images, sampling))


def _read_run(path: str, asked: Aggregate | None, folds: tuple[int, ...] = ()) -> _Predictions:
    """Out-of-fold predictions of some folds of a run, or else of every finished one; notes where folds lack, or
    metrics.json says others."""
    from rsna.runs.run import SELECTED, open_run
    from rsna.runs.set_schema import proxies

    run = open_run(path, folds)
    aggregate = run.config.evaluation.aggregate
    missing = [str(fold) for fold in range(run.record.n_folds) if fold not in run.fold_metrics]
    note = ""
    if folds and missing:
        note = (
            f"\n\nnote: {run.path}: fold {', '.join(missing)} is not asked for: these are metrics of the others alone"
        )
    elif missing and not run.pooled:
        note = (
            f"\n\nnote: {run.path} has {len(run.fold_metrics)} of {run.record.n_folds} folds, fold "
            f"{', '.join(missing)} is missing: these are metrics of a part of its patients. "
            "python train.py fold=all trains the rest"
        )
    note += "".join(f"\n\nnote: {why}; these metrics are of the predictions, not of it" for why in run.changed.values())
    if run.selected:
        note += f"\n\nnote: {run.path}: {SELECTED}"
    if run.record.data.simulated:
        note += (
            f"\n\nnote: {run.path} learned from, and is scored on, simulated mammograms: nothing is said of real ones"
        )
    note += "".join(f"\n\nnote: {run.path}: {line}" for line in proxies(run.record.data.labels))
    if asked not in (None, aggregate) and run.config.unit == "image":
        note += (
            f"\n\nnote: {run.path} makes breasts of images by {aggregate}, not {asked}: its metrics, leaderboard and "
            "submissions differ from these"
        )
    return _Predictions(run.oof(folds), run.record.data.sampling, aggregate, note, run)
