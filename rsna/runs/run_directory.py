"""Writes a run directory, the one truth of a run: what binds it to an experiment, then the results of its folds."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rsna.config.schema import Config
from rsna.config.settings import ConfigError, differences, flatten, from_mapping, to_mapping
from rsna.config.slurm import SLURM
from rsna.dataset.folds import write_folds
from rsna.files import FileError, atomic_path, only_writer, read_json, read_yaml, sha256, write_atomic
from rsna.runs import schema
from rsna.runs.errors import RunError
from rsna.runs.record_file import check_file, checksum, read_bytes, read_record, write_record
from rsna.runs.schema import Hashes, Metrics, RunRecord, config_text

FREE = (
    "fold", "run", "objective", "tracking", "cache_dir", "pack", "batch_size_per_device", "data.root", "data.demo",
    "data.films", "data.extra", "evaluation.resamples", "preprocess.boxes", "prepare", "folds", "trainer.accelerator",
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
    record, before = read_bound(folder)
    theirs = record.hashes.model_dump()
    changed = [f"{name} hash: {theirs[name]} → {ours}" for name, ours in hashes.items() if theirs[name] != ours]
    changed = differences(bound_keys(to_mapping(before)), bound_keys(to_mapping(config))) + changed
    if changed:
        shown = "\n  ".join(changed)
        # A folder that is named in run= does not follow the experiment's name.
        named = "without run= a name of its own (name=…)" if config.run else "a name of its own (name=…)"
        raise RunError(
            f"{folder} is a run of another configuration:\n  {shown}\n"
            f"Give this experiment another folder (run=…), or {named}, or remove the old one"
        )


def begun_otherwise(folder: Path) -> list[str]:
    """A line where the run that a folder is bound to was begun by another checkout or other packages than go on now.

    Raises:
        RunError: See :func:`read_bound`.
    """
    if not (folder / schema.CONFIG).exists():
        return []
    record, _ = read_bound(folder)
    before = {"commit": _named(record.commit), **record.versions}
    changed = differences(before, {"commit": _named(schema.checkout_commit()), **schema.package_versions()})
    if not changed:
        return []
    return [
        f"{folder} was begun by others ({'; '.join(changed)}), as which run.json has all of its folds: what is trained "
        "now may differ. A name of its own (name=…, or another run=) keeps the two apart"
    ]


def _named(commit: schema.Commit) -> str:
    """`1a2b3c4d5e6f`, with `+` behind it where the checkout has changes."""
    return f"{commit.hash}{'+' if commit.dirty else ''}" if commit.hash else "of an installed package"


def bind_run(folder: Path, config: Config, folds: pd.DataFrame, record: RunRecord) -> None:
    """Binds a folder to an experiment; where :func:`check_run` found it bound already, nothing is written.

    ``folds`` has the columns patient_id, image_id, fold.
    """
    if (folder / schema.CONFIG).exists():
        return
    # Folds that are trained side by side come here together, and each has a configuration of its own: fold=1, fold=2.
    with only_writer(folder / schema.CONFIG, waits=True):
        if (folder / schema.CONFIG).exists():
            return
        write_folds(folds, folder / schema.FOLDS)
        text = config_text(config).encode()
        files = {schema.CONFIG: hashlib.sha256(text).hexdigest(), schema.FOLDS: sha256(folder / schema.FOLDS)}
        write_record(folder / schema.RECORD, record.model_dump(mode="json") | {"files": files})
        write_atomic(folder / schema.CONFIG, text)  # last: its presence says that the folder is whole


def read_bound(folder: Path) -> tuple[RunRecord, Config]:
    """What a run is bound to.

    Raises:
        RunError: run.json, config.yaml or folds.csv is missing, torn, changed or of another version.
    """
    record = read_record(RunRecord, folder / schema.RECORD, schema.RUN_FORMAT)
    config = read_config(folder / schema.CONFIG)
    for name in (schema.CONFIG, schema.FOLDS):
        check_file(folder / name, record.files)
    return record, config


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
    # What could not be read again is not written.
    Metrics.model_validate_json(json.dumps({**metrics, "oof": "", "checksum": ""}))
    with atomic_path(folder / schema.OOF) as temporary:
        oof.to_parquet(temporary, index=False)
    own = {"oof": sha256(folder / schema.OOF)}
    if (folder / schema.WEIGHTS).exists():
        own["weights"] = sha256(folder / schema.WEIGHTS)
    write_record(folder / schema.METRICS, {**metrics, **own})


def changed_results(folder: Path, hashes: Hashes) -> dict[Path, str]:
    """File → why it does not count: metrics or predictions that were changed since they were written, or are another's.

    Args:
        folder: :func:`fold_folder`, or cv/, with both files.
        hashes: Those of the run.
    """
    file, oof = folder / schema.METRICS, folder / schema.OOF
    metrics, content = read_record(Metrics, file), read_json(file)
    mend = "copy it again, or remove it and let python train.py score these predictions once more"
    found = {}
    if content.pop("checksum") != checksum(content):
        found[file] = f"{file}: was changed after it was written; {mend}"
    elif metrics.hashes != hashes:
        other = differences(metrics.hashes.model_dump(), hashes.model_dump())
        found[file] = f"{file}: is of another run ({'; '.join(other)} in run.json); {mend}"
    if sha256(oof) != metrics.oof:
        found[oof] = f"{oof}: is not the file that metrics.json was made of: changed, or another run's; copy both again"
    return found


def read_oof(run_folder: Path, fold: int) -> pd.DataFrame:
    """A finished fold's out-of-fold predictions as they were written, a row an example.

    Raises:
        RunError: They are missing, or not those that were written.
    """
    file = fold_folder(run_folder, fold) / schema.OOF
    if not file.is_file():
        raise RunError(f"{file}: is missing; copy it again, or remove {file.with_name(schema.METRICS)} and train again")
    hashes = read_record(RunRecord, run_folder / schema.RECORD, schema.RUN_FORMAT).hashes
    for changed in changed_results(file.parent, hashes).values():
        raise RunError(changed)
    return pd.read_parquet(file)


def _left_unbound(file: Path) -> bool:
    """Whether a start that ended before its first checkpoint, or while it bound the folder, may have left this."""
    if file.name == SLURM:  # what submits a run writes there before it begins
        return True
    if file.is_dir():
        weights = (*file.rglob("*.ckpt"), *file.rglob("*.safetensors"))
        return re.fullmatch(r"fold\d+", file.name) is not None and not weights
    return file.name in (schema.FOLDS, schema.RECORD) or file.name.startswith(".")


def bound_keys(mapping: dict[str, Any]) -> dict[str, Any]:
    """The keys that a run is bound to."""
    flat = flatten(mapping)
    # Balanced batches are a device's, so there its size makes the epoch.
    free = [key for key in FREE if not (key == "batch_size_per_device" and flat["sampler.kind"] == "balanced")]
    return {
        key: value for key, value in flat.items() if not any(key == one or key.startswith(f"{one}.") for one in free)
    }
