"""Writes a run directory, the one truth of a run: what binds it to an experiment, then the results of its folds."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rsna.config.schema import Config
from rsna.config.settings import ConfigError, differences, flatten, from_mapping, to_mapping
from rsna.dataset.folds import write_folds
from rsna.files import FileError, atomic_path, read_yaml, write_atomic, write_json
from rsna.runs import schema
from rsna.runs.errors import RunError
from rsna.runs.schema import Metrics, RunRecord, config_text, read_bytes, read_record

FREE = (
    "fold", "run", "objective", "tracking", "cache_dir", "batch_size_per_device", "data.root", "data.demo",
    "data.extra", "evaluation.resamples", "preprocess.boxes", "prepare", "folds", "trainer.accelerator",
    "trainer.devices", "trainer.workers", "trainer.progress", "trainer.checkpoint_every_steps",
    "trainer.compile", "model.gradient_checkpointing",
)  # fmt: skip
"""Keys that may change between two starts of the same run: where it runs, and what the three hashes hold instead."""


def check_run(folder: Path, config: Config, hashes: Mapping[str, str]) -> None:
    """Whether a run of this configuration and these data may be written, or go on, in a folder. Writes nothing.

    Raises:
        RunError: It holds foreign files, or the run of another experiment; the message shows every difference.
    """
    if not (folder / schema.CONFIG).exists():
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder}: is a file; choose a folder with run=FOLDER")
        if foreign := [file for file in sorted(folder.glob("*")) if not _left_unbound(file)]:
            raise RunError(
                f"{folder}: holds files but no {schema.CONFIG}, so it is no run (first: {foreign[0].name}); choose "
                "another with run=FOLDER"
            )
        return
    theirs = read_record(RunRecord, folder / schema.RECORD, schema.RUN_FORMAT).hashes.model_dump()
    changed = [f"{name} hash: {theirs[name]} → {ours}" for name, ours in hashes.items() if theirs[name] != ours]
    changed = differences(_bound(to_mapping(read_config(folder / schema.CONFIG))), _bound(to_mapping(config))) + changed
    if changed:
        shown = "\n  ".join(changed)
        raise RunError(
            f"{folder} is a run of another configuration:\n  {shown}\n"
            "Give this experiment a name of its own (name=…), or another folder (run=…), or remove the old one"
        )


def bind_run(folder: Path, config: Config, folds: pd.DataFrame, record: RunRecord) -> None:
    """Binds a folder to an experiment; where :func:`check_run` found it bound already, nothing is written.

    ``folds`` has the columns patient_id, image_id, fold.
    """
    if (folder / schema.CONFIG).exists():
        return
    write_folds(folds, folder / schema.FOLDS)
    write_json(folder / schema.RECORD, record.model_dump(mode="json"))
    write_atomic(folder / schema.CONFIG, config_text(config))  # last: its presence says that the folder is whole


def read_config(file: Path) -> Config:
    """Reads a resolved configuration back.

    Raises:
        RunError: It is missing, torn, or does not fit this version's schema.
    """
    read_bytes(file)  # says so where it is missing
    try:
        return from_mapping(Config, read_yaml(file))
    except FileError as error:
        raise RunError(str(error)) from error
    except ConfigError as error:
        raise RunError(f"{file}: {error}; it was changed, or is of another version") from error


def fold_folder(run_folder: Path, fold: int) -> Path:
    """Where a fold's checkpoints, weights and results lie."""
    return run_folder / f"fold{fold}"


def is_finished(run_folder: Path, fold: int) -> bool:
    """Whether a fold is trained, predicted and scored: its metrics are written last."""
    return (fold_folder(run_folder, fold) / schema.METRICS).exists()


def write_results(folder: Path, oof: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    """Writes out-of-fold predictions, a row an example, then their metrics, with which a fold is finished.

    ``folder`` is :func:`fold_folder`, or cv/ in the run folder for all folds pooled.
    """
    Metrics.model_validate_json(json.dumps(metrics))  # what could not be read again is not written
    with atomic_path(folder / schema.OOF) as temporary:
        oof.to_parquet(temporary, index=False)
    write_json(folder / schema.METRICS, metrics)


def read_oof(run_folder: Path, fold: int) -> pd.DataFrame:
    """A fold's out-of-fold predictions as they were written, a row an example.

    Raises:
        RunError: They are missing, or the file is no table.
    """
    file = fold_folder(run_folder, fold) / schema.OOF
    if not file.is_file():
        raise RunError(f"{file}: is missing; copy it again, or remove {file.with_name(schema.METRICS)} and train again")
    try:
        return pd.read_parquet(file)
    except (ValueError, OSError) as error:  # what pandas and pyarrow raise for bytes that are no table
        raise RunError(f"{file}: cannot be read: {error}; copy it again") from error


def _left_unbound(file: Path) -> bool:
    """Whether a start that ended before its first checkpoint, or while it bound the folder, may have left this."""
    if file.is_dir():
        weights = (*file.rglob("*.ckpt"), *file.rglob("*.safetensors"))
        return re.fullmatch(r"fold\d+", file.name) is not None and not weights
    return file.name in (schema.FOLDS, schema.RECORD) or file.name.startswith(".")


def _bound(mapping: dict[str, Any]) -> dict[str, Any]:
    """The keys that a run is bound to."""
    flat = flatten(mapping)
    # Balanced batches are a device's, so there its size makes the epoch.
    free = [key for key in FREE if not (key == "batch_size_per_device" and flat["sampler.kind"] == "balanced")]
    return {
        key: value for key, value in flat.items() if not any(key == one or key.startswith(f"{one}.") for one in free)
    }
