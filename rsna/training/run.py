"""The story of a run: resolve, prepare, train each fold, pool."""

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rsna.config.schema import Config
from rsna.dataset.source import prepare_set
from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.targets import score_targets, targets_table
from rsna.prepare.cache import Cache
from rsna.runs.run_directory import fold_folder, is_finished, read_oof, write_results
from rsna.runs.schema import CV, METRICS, WEIGHTS, Metrics, read_record
from rsna.training import ranks
from rsna.training.data.module import fold_data
from rsna.training.experiment import Experiment, resolve
from rsna.training.fit import fit_fold
from rsna.training.launch import launch_ranks, only_one
from rsna.training.oof import predict_fold
from rsna.training.tracking import track

_OBJECTIVES = {"nested_pf1": "pf1_nested", "raw_pf1": "pf1_raw", "auroc": "auroc", "auprc": "auprc"}
"""What a sweep may optimise → the metric of metrics.json."""


@dataclass(frozen=True)
class Trained:
    """What is there after :func:`train`."""

    run: Path
    """The run folder."""
    objective: float | None
    """The metric that ``objective`` names, of all folds pooled or of the one that was trained; None where it is
    undefined, or not known yet."""


def train(config: Config) -> Trained:
    """Trains the folds that are asked for and, once every fold is there, scores them together.

    The same configuration again keeps what is finished and goes on with what is half done.

    Raises:
        ConfigError, TableError, RunError: What :func:`rsna.training.experiment.resolve` refuses, before any work.
        PrepareError: Too many images cannot be prepared.
        TrainingError, DivergedError, CheckpointError: A fold ended without weights.
    """
    with ranks.joined():
        # One rank prepares; the others, who need the same images, wait until it has.
        if not ranks.is_first_rank():
            ranks.wait_for_first()
        experiment = resolve(config)
        _print_experiment(experiment)
        cache = prepare(experiment)
        for fold in experiment.folds_to_train:
            train_fold(experiment, fold, cache)
        return Trained(experiment.run, pool(experiment) if ranks.is_first_rank() else None)


def prepare(experiment: Experiment) -> Cache:
    """Fills the cache with what it lacks, says what failed, and goes on unless it is too much.

    Raises:
        PrepareError: More than ``prepare.max_failed`` of the images failed, or the disk is full.
    """
    config, table = experiment.config, experiment.table
    if not ranks.is_first_rank():
        return Cache.create(config.cache_dir, table.name, config.preprocess)
    cache, _ = prepare_set(config, table, _print)
    ranks.wait_for_first()
    return cache


def train_fold(experiment: Experiment, fold: int, cache: Cache) -> None:
    """Trains a fold, or goes on training it, predicts its images out of fold and scores them."""
    config = experiment.config
    folder = fold_folder(experiment.run, fold)
    if is_finished(experiment.run, fold):
        _print(f"fold {fold}: finished before, kept ({folder / METRICS})")
        return
    data = fold_data(experiment, fold, cache)
    started = time.monotonic()
    if not (folder / WEIGHTS).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(fold, folder) if ranks.is_first_rank() else nullcontext():
            if experiment.hardware.devices == 1 or "RANK" in os.environ:  # the latter: the user's own torchrun
                fit_fold(experiment, fold, folder, data)
            else:
                launch_ranks(experiment, fold, folder)
    if not ranks.is_first_rank():
        return
    oof = predict_fold(config, fold, folder, data)
    metrics = _score(experiment, oof) | {
        "fold": fold,
        "hashes": experiment.hashes,
        "hardware": str(experiment.hardware),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_results(folder, oof, metrics)
    track(config, experiment.run, folder)


def pool(experiment: Experiment) -> float | None:
    """Scores all folds together once each has its predictions.

    Returns:
        The objective; see :class:`Trained`.
    """
    run = experiment.run
    missing = [fold for fold in experiment.all_folds if not is_finished(run, fold)]
    if missing:
        _print(f"{len(missing)} folds are not trained yet ({', '.join(map(str, missing))}); "
               f"the pooled metrics come with the last one, or with fold=all")  # fmt: skip
        return _objective(experiment)
    oof = pd.concat([read_oof(run, fold) for fold in experiment.all_folds], ignore_index=True)
    frame = experiment.table.frame
    key = "image_id" if experiment.unit == "image" else "prediction_id"
    lost = frame.loc[~frame[key].isin(oof[key]), key].drop_duplicates()
    if len(lost):
        _print(f"{len(lost)} {experiment.unit}s have no prediction: see failures.csv in the cache for why")
    metrics = _score(experiment, oof) | {"hashes": experiment.hashes, "missing": lost.tolist()}
    write_results(run / CV, oof, metrics)
    track(experiment.config, run, run / CV)
    _print(f"metrics and predictions: {run / CV}")
    return _objective(experiment)


def _objective(experiment: Experiment) -> float | None:
    """The metric that a sweep optimises, of all folds with ``fold=all``, else of the fold that was asked for."""
    run, fold = experiment.run, experiment.config.fold
    folder = run / CV if fold == "all" else fold_folder(run, fold)
    breasts = read_record(Metrics, folder / METRICS).breasts
    return breasts.pooled.get(_OBJECTIVES[experiment.config.objective]) if breasts else None


def _print_experiment(experiment: Experiment) -> None:
    config, table, frame = experiment.config, experiment.table, experiment.table.frame
    positive = "unknown how many"  # in a layout without such labels
    if "cancer" in frame:
        positive = f"{frame.loc[frame['cancer'] == 1, 'prediction_id'].nunique():,}"
    extra = f", and {len(table.extra):,} images only to train on" if table.extra is not None else ""
    _print(
        f"data {table.name} ({table.root}): {len(frame):,} images, {frame['patient_id'].nunique():,} patients, "
        f"{frame['prediction_id'].nunique():,} breasts, {positive} positive{extra}"
    )
    for note in table.notes:
        _print(note)
    if config.data.demo:
        _print(f"data {table.name}: simulated mammograms; what is learnt on them says nothing of real ones")
    learnt = {target.name for target in experiment.targets}
    for name in config.targets:
        if name not in learnt:
            _print(f"target {name}: the table has no label for it, so it is dropped")


def _score(experiment: Experiment, oof: pd.DataFrame) -> dict[str, Any]:
    """Prints the metrics of out-of-fold predictions and returns them for metrics.json."""
    config, table = experiment.config, experiment.table
    metrics: dict[str, Any] = {"checkpoint": config.checkpoint, "data": table.name}
    if config.checkpoint == "best":
        _print("note: checkpoint=best chose the epoch on the very fold that is reported: metrics are too good by that")
    if "probability" in oof and oof["cancer"].eq(1).any():
        settings = config.evaluation
        evaluation = evaluate(oof, settings.aggregate, sampling=table.sampling, resamples=settings.resamples)
        _print(evaluation.table())
        metrics["breasts"] = evaluation.to_dict()
    others = tuple(target for target in experiment.targets if target.name != "cancer")
    if others:
        scores = score_targets(oof, others, config.evaluation.resamples)
        _print(targets_table(scores))
        metrics["targets"] = {name: score.to_dict() for name, score in scores.items()}
    return metrics


def _print(text: str) -> None:
    if ranks.is_first_rank():
        print(text, flush=True)
