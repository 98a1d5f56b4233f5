"""Verbs that score predictions: evaluate, ensemble."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rsna.cli.verb import Verb
from rsna.settings import ConfigError, require

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of `rsna evaluate`."""

    run: str = ""
    """Run folder whose out-of-fold predictions to score; or else"""
    predictions: str = ""
    """anybody's CSV or Parquet with image_id or prediction_id and probability;"""
    labels: str = ""
    """CSV with the labels of those, as the competition's train.csv."""
    aggregate: Literal["mean", "max", "top2"] = "mean"
    """Breast probability from its images'."""
    prevalence: float | None = None
    """Share of positive breasts to reweight the negatives to, on enriched sets alone; screening has 0.021."""
    sampling: Literal["population", "enriched"] = "population"
    """Whether prevalence in these predictions means anything; a run knows its own."""
    slices: bool = False
    """Print figures by site, machine, views, density, age, implant, BIRADS and difficult negatives too."""
    calibration: bool = False
    """Print cross-fitted temperature and isotonic calibration too."""
    resamples: int = 2000
    """Patient-level bootstrap resamples behind each interval."""
    out: str = ""
    """JSON file to write the figures to."""

    def __post_init__(self) -> None:
        require(bool(self.run) != bool(self.predictions), "run: give run=FOLDER or predictions=FILE, one of them")
        require(not (self.run and self.labels), "labels: a run brings its own; they go with predictions=FILE")
        require(self.resamples >= 0, f"resamples: {self.resamples} is below 0")


@dataclass(frozen=True)
class EnsembleOptions:
    """Options of `rsna ensemble`."""

    members: tuple[str, ...]
    """Run folders, or CSV and Parquet files of predictions, two at least."""
    labels: str = ""
    """CSV with the labels, where members are files without them."""
    method: Literal["mean", "logit_mean", "rank_mean", "weights"] = "logit_mean"
    """Mean of probabilities, of logits, of ranks, or weights fitted on the other folds."""
    aggregate: Literal["mean", "max", "top2"] = "mean"
    """Breast probability from its images', in each member."""
    prevalence: float | None = None
    """Share of positive breasts to reweight the negatives to, on enriched sets alone."""
    sampling: Literal["population", "enriched"] = "population"
    """Whether prevalence in these predictions means anything; runs know their own."""
    resamples: int = 2000
    """Patient-level bootstrap resamples behind each interval."""
    out: str = ""
    """JSON file to write the figures to."""


def _evaluate(options: EvaluateOptions) -> int:
    from rsna.evaluation.calibration import calibrate, calibration_table
    from rsna.evaluation.metrics import evaluate
    from rsna.evaluation.predictions import read_predictions
    from rsna.evaluation.slices import slices, slices_table
    from rsna.files import write_json

    if options.run:
        images, sampling = _run_predictions(Path(options.run)), _run_sampling(Path(options.run))
    else:
        labels = Path(options.labels) if options.labels else None
        images, sampling = read_predictions(Path(options.predictions), labels), options.sampling
    found = evaluate(
        images,
        options.aggregate,
        prevalence=options.prevalence,
        sampling=sampling,
        resamples=options.resamples,
    )
    print(found.table())
    results = found.to_dict()
    if options.slices:
        parts = slices(found)
        print("\n" + slices_table(parts, found.level))
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

    require(len(options.members) >= 2, f"members: two at least, not {len(options.members)}")
    labels = Path(options.labels) if options.labels else None
    members, samplings = {}, {options.sampling}
    for name in options.members:
        path = Path(name)
        if path.is_dir():
            members[name] = _run_predictions(path)
            samplings = (samplings - {options.sampling}) | {_run_sampling(path)}
        else:
            members[name] = read_predictions(path, labels)
    if len(samplings) > 1:
        raise ConfigError(f"members: are sampled differently ({', '.join(sorted(samplings))}) and cannot be joined")
    found = ensemble(
        members,
        options.method,
        options.aggregate,
        prevalence=options.prevalence,
        sampling=samplings.pop(),
        resamples=options.resamples,
    )
    print(found.table())
    if options.out:
        write_json(options.out, found.to_dict())
    return 0


def _run_predictions(run: Path) -> "pd.DataFrame":
    """Out-of-fold predictions of every finished fold of a run."""
    import pandas as pd

    from rsna.evaluation.predictions import read_predictions

    pooled = run / "cv" / "oof.parquet"
    files = [pooled] if pooled.is_file() else sorted(run.glob("fold*/oof.parquet"))
    if not files:
        raise ConfigError(f"run={run}: has no out-of-fold predictions; python train.py fold=all makes them")
    return pd.concat([read_predictions(file) for file in files], ignore_index=True)


def _run_sampling(run: Path) -> Literal["population", "enriched"]:
    from rsna.files import read_json

    sampling: Literal["population", "enriched"] = read_json(run / "run.json")["data"]["sampling"]
    return sampling


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
