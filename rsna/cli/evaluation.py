"""Verbs that score predictions: evaluate, ensemble."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rsna.cli.verb import verb
from rsna.config.data import Aggregate, Sampling
from rsna.config.settings import ConfigError
from rsna.config.verbs import EnsembleOptions, EvaluateOptions

if TYPE_CHECKING:
    import pandas as pd


@verb("evaluate", EvaluateOptions)
def _evaluate(options: EvaluateOptions) -> None:
    """Score a run's out-of-fold predictions, or anybody's files, at breast level with patient-level intervals.

    rsna evaluate run=runs/demo slices=true calibration=true
    rsna evaluate run=[runs/a,runs/b]
    rsna evaluate predictions=oof.csv labels=train.csv aggregate=max
    rsna evaluate predictions=oof.csv labels=train.csv sampling=enriched prevalence=0.021
    """
    from rsna.evaluation.calibration import calibrate, calibration_table
    from rsna.evaluation.evaluate import evaluate
    from rsna.evaluation.predictions import read_predictions
    from rsna.evaluation.slices import slices
    from rsna.files import write_json

    aggregate = None if options.aggregate == "auto" else options.aggregate
    if options.run:
        # All are read ahead of the first table: a torn one is said at once.
        sources = {name: _read_run(name, aggregate) for name in options.run}
    else:
        images = read_predictions(Path(options.predictions), Path(options.labels) if options.labels else None)
        sources = {options.predictions: _Predictions(images, options.sampling, aggregate or "mean")}
    results: dict[str, dict[str, object]] = {}
    for name, source in sources.items():
        found = evaluate(
            source.images,
            aggregate or source.aggregate,
            prevalence=options.prevalence,
            sampling=source.sampling,
            probabilities=not options.ranks,
            resamples=options.resamples,
        )
        print((f"\n{name}\n" if len(sources) > 1 else "") + found.table() + source.note)
        results[name] = found.to_dict()
        if options.slices:
            parts = slices(found)
            print("\n" + parts.table())
            results[name]["slices"] = [part.to_dict() for part in parts]
        if options.calibration:
            calibrations = calibrate(found)
            print("\n" + calibration_table(calibrations))
            results[name]["calibration"] = [calibration.to_dict() for calibration in calibrations]
    if options.out:
        write_json(options.out, results if len(results) > 1 else next(iter(results.values())))


@verb("ensemble", EnsembleOptions)
def _ensemble(options: EnsembleOptions) -> None:
    """Join runs or prediction files, and say whether together they are better than alone.

    rsna ensemble run=[runs/a,runs/b]
    rsna ensemble run=[runs/a,other.csv] labels=train.csv method=weights
    """
    from rsna.evaluation.ensemble import ensemble
    from rsna.evaluation.predictions import read_predictions
    from rsna.files import write_json

    aggregate = None if options.aggregate == "auto" else options.aggregate
    labels = Path(options.labels) if options.labels else None
    members, runs = {}, {}
    for name in options.run:
        if name.endswith((".csv", ".csv.gz", ".parquet")):
            members[name] = read_predictions(Path(name), labels)
        else:
            runs[name] = _read_run(name, aggregate)
            members[name] = runs[name].images
    samplings = {run.sampling for run in runs.values()} or {options.sampling}
    if len(samplings) > 1:
        raise ConfigError(f"run: these are sampled differently ({', '.join(sorted(samplings))}) and cannot be joined")
    own = {run.aggregate for run in runs.values()} or {"mean"}
    if aggregate is None and len(own) > 1:
        said = ", ".join(f"{name}: {run.aggregate}" for name, run in runs.items())
        raise ConfigError(f"run: these make breasts of images differently ({said}); say how with aggregate=…")
    found = ensemble(
        members,
        options.method,
        aggregate or own.pop(),
        ranks=options.ranks,
        prevalence=options.prevalence,
        sampling=samplings.pop(),
        resamples=options.resamples,
    )
    print(found.table() + "".join(run.note for run in runs.values()))
    if options.out:
        write_json(options.out, found.to_dict())


class _Predictions(NamedTuple):
    """What is scored."""

    images: "pd.DataFrame"
    sampling: Sampling
    aggregate: Aggregate
    """How the run makes breasts of images."""
    note: str = ""
    """Lines to print under the metrics."""


def _read_run(path: str, asked: Aggregate | None) -> _Predictions:
    """Out-of-fold predictions of every finished fold of a run; a note where folds lack, or it aggregates otherwise."""
    from rsna.runs.run import open_run

    run = open_run(path)
    aggregate = run.config.evaluation.aggregate
    missing = [str(fold) for fold in range(run.record.n_folds) if fold not in run.fold_metrics]
    note = ""
    if missing and not run.pooled:
        note = (
            f"\n\nnote: {run.path} has {len(run.fold_metrics)} of {run.record.n_folds} folds, fold "
            f"{', '.join(missing)} is missing: these are metrics of a part of its patients. "
            "python train.py fold=all trains the rest"
        )
    if asked not in (None, aggregate):
        note += (
            f"\n\nnote: {run.path} makes breasts of images by {aggregate}, not {asked}: its metrics, leaderboard and "
            "submissions differ from these"
        )
    return _Predictions(run.oof(), run.record.data.sampling, aggregate, note)
