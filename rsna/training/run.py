"""From a configuration to trained folds, out-of-fold predictions and pooled figures."""

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd

from rsna.config.schema import Config
from rsna.dataset.folds import folds_for, folds_hash
from rsna.dataset.source import load_data
from rsna.dataset.table import ImageTable
from rsna.dataset.targets import kept_targets
from rsna.evaluation.metrics import evaluate
from rsna.evaluation.targets import score_targets, targets_table
from rsna.files import atomic_path, write_json
from rsna.prepare.cache import Cache
from rsna.prepare.image import preprocessing_hash
from rsna.prepare.table import PrepareReport, prepare_table
from rsna.runs.run_directory import bind_run, check_run
from rsna.runs.schema import RunRecord
from rsna.training import hardware, ranks
from rsna.training.data.fold import FoldData, cache_for, fold_data
from rsna.training.fit import WEIGHTS
from rsna.training.launch import launch_fold, only_one
from rsna.training.oof import OOF, predict_fold
from rsna.training.tracking import track_cv, track_fold

METRICS = "metrics.json"


def train(config: Config) -> Path:
    """Prepares the images, trains the folds that are asked for, and, once every fold is there, scores them together.

    What is finished is kept, what is half done goes on.

    Returns:
        The run folder.
    """
    with ranks.joined():
        return _train(config)


def _train(config: Config) -> Path:
    if not ranks.is_first_rank():
        ranks.wait_for_first()
    table = load_data(config.data)
    _say_set(config, table)
    folds = folds_for(table.frame, config.folds)
    run, hashes = config.run_dir, hashes_of(config, table, folds)
    check_run(run, config, hashes)
    targets = [target.name for target in kept_targets(config.targets, table)]
    record = RunRecord.of(
        config, table.name, table.sampling, len(table.frame), hashes, targets, int(folds["fold"].nunique())
    )
    bind_run(run, config, folds, record)
    cache = cache_for(config, table)
    if ranks.is_first_rank():
        prepare(config, table, cache)
        ranks.wait_for_first()
    numbers = sorted(int(fold) for fold in folds["fold"].unique())
    for fold in numbers if config.fold == "all" else [config.fold]:
        assert isinstance(fold, int)
        _train_fold(config, table, folds, fold, cache, run)
    if ranks.is_first_rank():
        _pool(config, table, folds, run, numbers)
    return run


def hashes_of(config: Config, table: ImageTable, folds: pd.DataFrame) -> dict[str, str]:
    """The three hashes that travel in cache, run and bundle."""
    return {
        "preprocessing": preprocessing_hash(config.preprocess),
        "folds": folds_hash(folds),
        "dataset": table.hash,
    }


def prepare(config: Config, table: ImageTable, cache: Cache) -> PrepareReport:
    """Fills the cache of a set, says what failed, and goes on unless it is too much.

    Raises:
        PrepareError: More than ``prepare.max_failed`` of the images failed, or the disk is full.
    """
    options = config.prepare
    report = prepare_table(
        table.images,
        config.preprocess,
        cache,
        workers=options.workers,
        file_timeout=options.file_timeout,
        max_failed=options.max_failed,
    )
    _print(
        f"cache {cache.directory}: {report.n_kept + report.n_done:,} prepared images "
        f"({report.n_done:,} now in {report.seconds:.0f} s), {len(report.failures):,} failed"
    )
    for row in report.failures.head(5).itertuples():
        _print(f"failed: {row.image_id}: {row.message}")
    return report


def _train_fold(config: Config, table: ImageTable, folds: pd.DataFrame, fold: int, cache: Cache, run: Path) -> None:
    folder = run / f"fold{fold}"
    if (folder / METRICS).exists():
        _print(f"fold {fold}: finished before, kept ({folder / METRICS})")
        return
    data = fold_data(config, table, folds, fold, cache)
    started = time.monotonic()
    if not (folder / WEIGHTS).exists():
        folder.mkdir(exist_ok=True)
        with only_one(fold, folder) if ranks.is_first_rank() else nullcontext():
            launch_fold(config, fold, folder, data)
    if not ranks.is_first_rank():
        return
    oof = predict_fold(config, fold, folder, data)
    metrics = _score(config, table, oof, data) | {
        "fold": fold,
        "hashes": hashes_of(config, table, folds),
        "hardware": _hardware(config),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(folder / METRICS, metrics)
    track_fold(config, run, fold)


def _pool(config: Config, table: ImageTable, folds: pd.DataFrame, run: Path, numbers: list[int]) -> None:
    """Scores all folds together once each has its predictions."""
    missing = [fold for fold in numbers if not (run / f"fold{fold}" / METRICS).exists()]
    if missing:
        _print(f"{len(missing)} folds are not trained yet ({', '.join(map(str, missing))}); "
               f"the pooled figures come with the last one, or with fold=all")  # fmt: skip
        return
    oof = pd.concat([pd.read_parquet(run / f"fold{fold}" / OOF) for fold in numbers], ignore_index=True)
    lost = table.frame.loc[~table.frame["image_id"].isin(oof["image_id"]), "image_id"]
    if len(lost):
        _print(f"{len(lost)} images have no prediction: they could not be prepared, see failures.csv in the cache")
    data = fold_data(config, table, folds, numbers[0], cache_for(config, table))
    cv = run / "cv"
    metrics = _score(config, table, oof, data) | {"hashes": hashes_of(config, table, folds), "missing": lost.tolist()}
    with atomic_path(cv / OOF) as temporary:
        oof.to_parquet(temporary, index=False)
    write_json(cv / METRICS, metrics)
    track_cv(config, run)
    _print(f"figures and predictions: {cv}")


def _score(config: Config, table: ImageTable, oof: pd.DataFrame, data: FoldData) -> dict[str, Any]:
    """Prints the figures of out-of-fold predictions and returns them for metrics.json."""
    metrics: dict[str, Any] = {"checkpoint": config.checkpoint, "data": table.name}
    if config.checkpoint == "best":
        _print("note: checkpoint=best chose the epoch on the very fold that is reported: figures are too good by that")
    if "probability" in oof and oof["cancer"].eq(1).any():
        evaluation = evaluate(
            oof, config.evaluation.aggregate, sampling=table.sampling, resamples=config.evaluation.resamples
        )
        _print(evaluation.table())
        metrics["breasts"] = evaluation.to_dict()
    others = tuple(target for target in data.targets if target.name != "cancer")
    if others:
        scores = score_targets(oof, others, config.evaluation.resamples)
        _print(targets_table(scores))
        metrics["targets"] = {name: score.to_dict() for name, score in scores.items()}
    return metrics


def _say_set(config: Config, table: ImageTable) -> None:
    frame = table.frame
    positives = frame.loc[frame["cancer"] == 1, "prediction_id"].nunique()
    extra = f", and {len(table.extra):,} images only to train on" if table.extra is not None else ""
    _print(
        f"data {table.name} ({table.root}): {len(frame):,} images, {frame['patient_id'].nunique():,} patients, "
        f"{frame['prediction_id'].nunique():,} breasts, {positives:,} positive{extra}"
    )
    if config.data.demo:
        height, width = config.preprocess.size
        start = "from scratch" if not config.model.pretrained and not config.model.weights else "from given weights"
        _print(
            f"data {table.name}: simulated mammograms with a recipe of their own: {height}×{width} pixels, "
            f"{config.trainer.epochs} epochs, {start}"
        )
    kept = {target.name for target in kept_targets(config.targets, table)}
    for name in config.targets:
        if name not in kept:
            _print(f"target {name}: the table has no label for it, so it is dropped")


def _hardware(config: Config) -> str:
    accelerator = hardware.choose_accelerator(config.trainer)
    world = int(os.environ.get("WORLD_SIZE", "0"))
    size, per_device = config.global_batch_size, config.batch_size_per_device
    return hardware.describe(
        accelerator, world or hardware.choose_devices(config.trainer, accelerator, size, per_device)
    )


def _print(text: str) -> None:
    if ranks.is_first_rank():
        print(text, flush=True)
