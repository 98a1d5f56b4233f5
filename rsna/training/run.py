"""The story of a run: resolve, prepare, train each fold, pool."""

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rsna.collector import collector_off
from rsna.config.idle import idle_keys
from rsna.config.schema import Config
from rsna.dataset.examples import PER_IMAGE
from rsna.dataset.exams import count_exams
from rsna.dataset.folds import part_names
from rsna.dataset.prevalence import LabelCounts
from rsna.dataset.source import prepared_set
from rsna.dataset.targets import unread_values
from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.external import score_parts
from rsna.evaluation.targets import score_targets, targets_table
from rsna.files import sweep
from rsna.parallel.progress import duration, say
from rsna.prepare.packs.prepared import PreparedImages, open_prepared
from rsna.runs.record_file import read_record
from rsna.runs.resamples import resampled
from rsna.runs.run import SELECTED, open_run
from rsna.runs.run_directory import begun_otherwise, fold_folder, is_finished, read_oof, write_results
from rsna.runs.schema import CV, METRICS, TRAINING_SET, WEIGHTS, Metrics
from rsna.runs.training_set import summarise, write_training_set
from rsna.training import ranks, stopping
from rsna.training.experiment import Experiment, resolve
from rsna.training.tracking import track

OBJECTIVES = {"nested_pf1": "pf1_nested", "raw_pf1": "pf1_raw", "auroc": "auroc", "auprc": "auprc"}
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
        Stopped: SIGTERM, SIGUSR1 or SIGUSR2 came; see :mod:`rsna.training.stopping`.
    """
    with stopping.stoppable(), ranks.joined():
        # One rank prepares; the others, who need the same images, wait until it has.
        if not ranks.is_first_rank():
            ranks.wait_for_first()
        experiment = resolve(config)
        _print_experiment(experiment)
        images = prepare(experiment)
        started, folds = time.monotonic(), experiment.folds_to_train
        fresh = [fold for fold in folds if not is_finished(experiment.run, fold)]
        for fold in folds:
            train_fold(experiment, fold, images)
            if fold in fresh[:-1]:
                done = fresh.index(fold) + 1
                each = (time.monotonic() - started) / done
                _print(f"{done} of {len(fresh)} folds in {duration(done * each)}, "
                       f"about {duration((len(fresh) - done) * each)} left")  # fmt: skip
        return Trained(experiment.run, pool(experiment) if ranks.is_first_rank() else None)


def prepare(experiment: Experiment) -> PreparedImages:
    """Fills the cache with what it lacks, or opens the pack; says what is missing, and goes on unless it is too much.

    Raises:
        PrepareError: More than ``prepare.max_failed`` of the images failed, or the disk is full.
        PackError: The pack is of another set or other settings, or lacks as much.
    """
    config, table = experiment.config, experiment.table
    if not ranks.is_first_rank():
        return open_prepared(config, table.name)
    images = prepared_set(config, table, _print)
    ranks.wait_for_first()
    return images


def train_fold(experiment: Experiment, fold: int, images: PreparedImages) -> None:
    """Trains a fold, or goes on training it, predicts its images out of fold and scores them."""
    config = experiment.config
    folder = fold_folder(experiment.run, fold)
    if is_finished(experiment.run, fold):
        _print(f"fold {fold}: finished before, kept ({folder / METRICS})")
        return
    # Lightning and what else trains: whatever was refused, or is finished, did not wait for it.
    with collector_off():
        from rsna.training.callbacks.history import seconds_of_epochs
        from rsna.training.data.module import fold_data
        from rsna.training.fit import fit_fold
        from rsna.training.launch import launch_ranks, only_one
        from rsna.training.oof import predict_fold

    data = fold_data(experiment, fold, images)
    for note in data.notes:
        _print(note)
    if not (folder / WEIGHTS).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(fold, folder) if ranks.is_first_rank() else nullcontext():
            for place in (experiment.run, folder, folder / "checkpoints", experiment.run / CV):
                sweep(place)
            if experiment.hardware.devices == 1 or "RANK" in os.environ:  # the latter: the user's own torchrun
                fit_fold(experiment, fold, folder, data)
            else:
                launch_ranks(experiment, fold, folder)
    if not ranks.is_first_rank():
        return
    started, trained = time.monotonic(), seconds_of_epochs(folder)
    oof = predict_fold(config, fold, folder, data)
    metrics = _score(experiment, oof) | {
        "fold": fold,
        "hashes": experiment.hashes,
        "hardware": str(experiment.hardware),
        "seconds": None if trained is None else round(trained + time.monotonic() - started, 1),
    }
    if not (experiment.run / TRAINING_SET).exists():
        write_training_set(experiment.run, summarise(experiment.table.images, images))
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
    if "breasts" in metrics:
        resampled(open_run(run))  # for leaderboards, which may not be allowed to write here
    track(experiment.config, run, run / CV)
    _print(f"metrics and predictions: {run / CV}")
    return _objective(experiment)


def _objective(experiment: Experiment) -> float | None:
    """The metric that a sweep optimises, of all folds with ``fold=all``, else of the fold that was asked for."""
    run, fold = experiment.run, experiment.config.fold
    folder = run / CV if fold == "all" else fold_folder(run, fold)
    breasts = read_record(Metrics, folder / METRICS).breasts
    return breasts.pooled.get(OBJECTIVES[experiment.config.objective]) if breasts else None


def _print_experiment(experiment: Experiment) -> None:
    config, table, frame = experiment.config, experiment.table, experiment.table.frame
    positive = "unknown how many"  # in a layout without such labels
    if "cancer" in frame and (counts := LabelCounts.of(frame)).labelled:
        among = f" of {counts.labelled:,} labelled" if counts.labelled < counts.breasts else ""
        positive = f"{counts.positive:,}{among}"
    patients, exams = frame["patient_id"].nunique(), count_exams(frame)
    of = f"{exams:,} exams of " if exams > patients else ""
    extra = f", and {len(table.extra):,} images only to train on" if table.extra is not None else ""
    _print(
        f"data {table.name} ({table.root}): {len(frame):,} images, {of}{patients:,} patients, "
        f"{frame['prediction_id'].nunique():,} breasts, {positive} positive{extra}"
    )
    unfinished = [fold for fold in experiment.folds_to_train if not is_finished(experiment.run, fold)]
    begun = begun_otherwise(experiment.run) if unfinished else []
    for note in (*table.notes, *idle_keys(config), *begun):
        _print(note)
    if config.data.demo:
        _print(f"data {table.name}: simulated mammograms; what is learnt on them says nothing of real ones")
    learnt = {target.name for target in experiment.targets}
    for name in config.targets:
        if name not in learnt:
            lost = experiment.unit == "breast" and name in PER_IMAGE
            why = "a breast has none" if lost else "the table has no label for it"
            _print(f"target {name}: {why}, so it is dropped")
    for note in unread_values(experiment.targets, table.images):
        _print(note)


def _score(experiment: Experiment, oof: pd.DataFrame) -> dict[str, Any]:
    """Prints the metrics of out-of-fold predictions and returns them for metrics.json."""
    config, table = experiment.config, experiment.table
    metrics: dict[str, Any] = {"checkpoint": config.checkpoint, "data": table.name}
    if config.checkpoint == "best":
        _print(f"note: {SELECTED}")
    if "probability" in oof and oof["cancer"].eq(1).any():
        settings = config.evaluation
        evaluation = evaluate(oof, settings.aggregate, sampling=table.sampling, resamples=settings.resamples)
        _print(evaluation.table())
        metrics["breasts"] = evaluation.to_dict()
        names = part_names(experiment.folds)
        if names and evaluation.folds:  # all of them: one alone is its own metrics
            parts = score_parts(evaluation, names, settings.resamples)
            split = f"of {config.folds.file}" if config.folds.file else f"by {config.folds.by}"
            _print(f"\nfolds {split}\n{parts.table()}")
            metrics["breasts"]["parts"] = parts.to_dict()
    others = tuple(target for target in experiment.targets if target.name != "cancer")
    if others:
        scores = score_targets(oof, others, config.evaluation.resamples)
        _print(targets_table(scores, experiment.unit))
        metrics["targets"] = {name: score.to_dict() for name, score in scores.items()}
    return metrics


def _print(text: str) -> None:
    if ranks.is_first_rank():
        say(text)
