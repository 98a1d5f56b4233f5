"""Verbs that score predictions: evaluate, ensemble."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from rsna.cli.verb import Verb
from rsna.config.settings import ConfigError
from rsna.config.verbs import EnsembleOptions, EvaluateOptions

if TYPE_CHECKING:
    import pandas as pd

    from rsna.evaluation.breasts import Aggregate


def _evaluate(options: EvaluateOptions) -> int:
    from rsna.evaluation.calibration import calibrate, calibration_table
    from rsna.evaluation.evaluate import evaluate
    from rsna.evaluation.predictions import read_predictions
    from rsna.evaluation.slices import slices
    from rsna.files import write_json

    if options.run:
        run = _read_run(Path(options.run), options.aggregate)
    else:
        labels = Path(options.labels) if options.labels else None
        run = _Run(read_predictions(Path(options.predictions), labels), options.sampling, options.aggregate or "mean")
    found = evaluate(
        run.images,
        options.aggregate or run.aggregate,
        prevalence=options.prevalence,
        sampling=run.sampling,
        probabilities=not options.ranks,
        resamples=options.resamples,
    )
    print(found.table() + run.note)
    results = found.to_dict()
    if options.slices:
        parts = slices(found)
        print("\n" + parts.table())
        results["slices"] = [part.to_dict() for part in parts]
    if options.calibration:
        calibrations = calibrate(found)
        print("\n" + calibration_table(calibrations))
        results["calibration"] = [calibration.to_dict() for calibration in calibrations]
    if options.out:
        write_json(options.out, results)
    return 0


def _ensemble(options: EnsembleOptions) -> int:
    from rsna.evaluation.ensemble import ensemble
    from rsna.evaluation.predictions import read_predictions
    from rsna.files import write_json

    labels = Path(options.labels) if options.labels else None
    members, samplings, aggregates, notes = {}, {options.sampling}, {}, ""
    for name in options.members:
        path = Path(name)
        if path.is_dir():
            run = _read_run(path, options.aggregate)
            members[name], aggregates[name] = run.images, run.aggregate
            samplings = (samplings - {options.sampling}) | {run.sampling}
            notes += run.note
        else:
            members[name] = read_predictions(path, labels)
    if len(samplings) > 1:
        raise ConfigError(f"members: are sampled differently ({', '.join(sorted(samplings))}) and cannot be joined")
    own = set(aggregates.values()) or {"mean"}
    if options.aggregate is None and len(own) > 1:
        said = ", ".join(f"{name}: {aggregate}" for name, aggregate in aggregates.items())
        raise ConfigError(f"members: make breasts of images differently ({said}); say how with aggregate=…")
    found = ensemble(
        members,
        options.method,
        options.aggregate or own.pop(),
        ranks=options.ranks,
        prevalence=options.prevalence,
        sampling=samplings.pop(),
        resamples=options.resamples,
    )
    print(found.table() + notes)
    if options.out:
        write_json(options.out, found.to_dict())
    return 0


@dataclass(frozen=True)
class _Run:
    """What is scored."""

    images: "pd.DataFrame"
    sampling: Literal["population", "enriched"]
    aggregate: "Aggregate"
    """How the run makes breasts of images."""
    note: str = ""
    """Lines to print under the figures."""


def _read_run(run: Path, asked: "Aggregate | None") -> _Run:
    """Out-of-fold predictions of every finished fold of a run; a note where it aggregates otherwise than asked."""
    import pandas as pd

    from rsna.evaluation.predictions import read_predictions

    pooled = run / "cv" / "oof.parquet"
    files = [pooled] if pooled.is_file() else sorted(run.glob("fold*/oof.parquet"))
    if not files:
        raise ConfigError(f"run={run}: has no out-of-fold predictions; python train.py fold=all makes them")
    sampling, n_folds = _run_record(run)
    aggregate = _run_aggregate(run)
    missing = [str(k) for k in range(n_folds) if run / f"fold{k}" / "oof.parquet" not in files]
    note = ""
    if missing and pooled not in files:
        note = (
            f"\n\nnote: {run} has {len(files)} of {n_folds} folds, fold {', '.join(missing)} is missing: these are "
            "figures of a part of its patients. python train.py fold=all trains the rest"
        )
    if asked not in (None, aggregate):
        note += (
            f"\n\nnote: {run} makes breasts of images by {aggregate}, not {asked}: its metrics, leaderboard and "
            "submissions differ from these figures"
        )
    return _Run(pd.concat([read_predictions(file) for file in files], ignore_index=True), sampling, aggregate, note)


def _run_record(run: Path) -> tuple[Literal["population", "enriched"], int]:
    """How the run's set was sampled, and the folds of its split."""
    from rsna.files import FileError, read_json

    record = read_json(run / "run.json")
    try:
        return record["data"]["sampling"], int(record["n_folds"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{run / 'run.json'}: lacks data.sampling or n_folds; copy the run again") from error


def _run_aggregate(run: Path) -> "Aggregate":
    """How the run makes breasts of images."""
    from rsna.evaluation.breasts import Aggregate
    from rsna.files import FileError, read_yaml

    try:
        value = read_yaml(run / "config.yaml")["evaluation"]["aggregate"]
    except (KeyError, TypeError) as error:
        raise FileError(f"{run / 'config.yaml'}: lacks evaluation.aggregate; copy the run again") from error
    if value not in get_args(Aggregate):
        raise FileError(
            f"{run / 'config.yaml'}: evaluation.aggregate is {value!r}, not one of {', '.join(get_args(Aggregate))}"
        )
    aggregate: Aggregate = value
    return aggregate


VERBS = (
    Verb(
        "evaluate",
        "Score a run's out-of-fold predictions, or anybody's files, at breast level with patient-level intervals.",
        EvaluateOptions,
        _evaluate,
        (
            "rsna evaluate run=runs/demo slices=true calibration=true",
            "rsna evaluate predictions=oof.csv labels=train.csv aggregate=max",
            "rsna evaluate predictions=oof.csv labels=train.csv sampling=enriched prevalence=0.021",
        ),
    ),
    Verb(
        "ensemble",
        "Join runs or prediction files, and say whether together they are better than alone.",
        EnsembleOptions,
        _ensemble,
        (
            "rsna ensemble members=[runs/a,runs/b]",
            "rsna ensemble members=[runs/a,other.csv] labels=train.csv method=weights",
        ),
    ),
)
