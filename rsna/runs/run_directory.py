"""The run directory: an experiment's configuration, folds, hashes and results. It is the truth; all else mirrors it."""

import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rsna.config.schema import Config
from rsna.config.settings import ConfigError, differences, flatten, from_mapping, to_mapping
from rsna.dataset.folds import folds_hash, write_folds
from rsna.dataset.table import ImageTable
from rsna.dataset.targets import kept_targets
from rsna.files import read_json, write_atomic, write_json
from rsna.prepare.image import preprocessing_hash
from rsna.runs.errors import RunError

CONFIG, FOLDS, RUN = "config.yaml", "folds.csv", "run.json"

FREE = (
    "fold", "run", "tracking", "cache_dir", "batch_size_per_device", "data.root", "data.demo", "data.extra",
    "evaluation.resamples", "preprocess.boxes", "prepare", "folds", "trainer.accelerator", "trainer.devices",
    "trainer.workers", "trainer.progress", "trainer.checkpoint_every_steps",
    "trainer.compile", "model.gradient_checkpointing",
)  # fmt: skip
"""Keys that may change between two starts of the same run: where it runs, and what the three hashes hold instead."""


def hashes_of(config: Config, table: ImageTable, folds: pd.DataFrame) -> dict[str, str]:
    """The three hashes that travel in cache, run and bundle."""
    return {
        "preprocessing": preprocessing_hash(config.preprocess),
        "folds": folds_hash(folds),
        "dataset": table.hash,
    }


def open_run(config: Config, table: ImageTable, folds: pd.DataFrame) -> Path:
    """Creates the run folder, or checks that the one that is there belongs to this configuration and these data.

    Raises:
        RunError: It belongs to others; the message shows every difference.
    """
    folder = config.run_dir
    hashes = hashes_of(config, table, folds)
    if (folder / CONFIG).exists():
        _check_same(folder, config, hashes)
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder}: holds files but no {CONFIG}, so it is no run; choose another with run=FOLDER")
    folder.mkdir(parents=True, exist_ok=True)
    write_folds(folds, folder / FOLDS)
    record = {
        "name": config.name,
        "data": {"name": table.name, "sampling": table.sampling, "images": len(table.frame)},
        "hashes": hashes,
        "targets": [target.name for target in kept_targets(config.targets, table)],
        "n_folds": int(folds["fold"].nunique()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": {name: version(name) for name in ("rsna-mammography", "torch", "timm", "pytorch-lightning")},
    }
    write_json(folder / RUN, record)
    write_config(config, folder / CONFIG)  # last: its presence says that the folder is whole
    return folder


def write_config(config: Config, file: Path) -> None:
    """Writes the resolved configuration as YAML."""
    write_atomic(file, yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True))


def read_config(file: Path) -> Config:
    """Reads a resolved configuration back.

    Raises:
        ConfigError: It does not fit this version's schema.
    """
    try:
        return from_mapping(Config, yaml.safe_load(file.read_text()))
    except (yaml.YAMLError, ConfigError, AttributeError) as error:
        raise ConfigError(f"{file}: {error}") from error


def commit() -> dict[str, Any]:
    """The checkout's commit and whether it has changes; nothing in an installed package."""
    package = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(package), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return {"hash": git("rev-parse", "--short=12", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError):
        return {"hash": None, "dirty": None}


def _free(mapping: dict[str, Any]) -> tuple[str, ...]:
    """Keys that may change between two starts; balanced batches are a device's, so there its size makes the epoch."""
    balanced = flatten(mapping)["sampler.kind"] == "balanced"
    return tuple(key for key in FREE if not (balanced and key == "batch_size_per_device"))


def _check_same(folder: Path, config: Config, hashes: dict[str, str]) -> None:
    theirs = read_json(folder / RUN)["hashes"]
    changed = [f"{name} hash: {theirs[name]} → {hashes[name]}" for name in hashes if theirs.get(name) != hashes[name]]
    before = to_mapping(read_config(folder / CONFIG))
    changed = differences(_bound(before), _bound(to_mapping(config))) + changed
    if changed:
        shown = "\n  ".join(changed)
        raise RunError(
            f"{folder} is a run of another configuration:\n  {shown}\n"
            "Give this experiment a name of its own (name=…), or another folder (run=…), or remove the old one"
        )


def _bound(mapping: dict[str, Any]) -> dict[str, Any]:
    """The keys that a run is bound to."""
    return {
        key: value
        for key, value in flatten(mapping).items()
        if not any(key == free or key.startswith(f"{free}.") for free in _free(mapping))
    }
