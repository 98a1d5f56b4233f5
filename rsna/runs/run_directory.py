"""The run directory: an experiment's configuration, folds, hashes and results. It is the truth; all else mirrors it."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rsna.config.schema import Config
from rsna.config.settings import ConfigError, differences, flatten, from_mapping, to_mapping
from rsna.dataset.folds import write_folds
from rsna.dataset.table import ImageTable
from rsna.dataset.targets import Target
from rsna.files import read_json, write_atomic, write_json
from rsna.runs.errors import RunError

CONFIG, FOLDS, RUN = "config.yaml", "folds.csv", "run.json"

_FREE = (
    "fold", "run", "objective", "tracking", "cache_dir", "batch_size_per_device", "data.root", "data.demo",
    "data.extra",
    "evaluation.resamples", "preprocess.boxes", "prepare", "folds", "trainer.accelerator", "trainer.devices",
    "trainer.workers", "trainer.progress", "trainer.checkpoint_every_steps",
    "trainer.compile", "model.gradient_checkpointing",
)  # fmt: skip
"""Keys that may change between two starts of the same run: where it runs, and what the three hashes hold instead."""


@dataclass(frozen=True)
class RunRecord:
    """run.json."""

    name: str
    data: dict[str, Any]
    hashes: dict[str, str]
    targets: list[str]
    n_folds: int
    created: str
    commit: dict[str, Any]
    versions: dict[str, str]

    @classmethod
    def of(cls, config: Config, table: ImageTable, hashes: Mapping[str, str], targets: Sequence[Target]) -> "RunRecord":
        """Of an experiment that starts now."""
        return cls(
            name=config.name,
            data={"name": table.name, "sampling": table.sampling, "images": len(table.frame)},
            hashes=dict(hashes),
            targets=[target.name for target in targets],
            n_folds=0,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=commit(),
            versions={name: version(name) for name in ("rsna-mammography", "torch", "timm", "pytorch-lightning")},
        )


def check_run(folder: Path, config: Config, hashes: Mapping[str, str]) -> None:
    """Refuses a run folder that belongs to another experiment; writes nothing.

    Raises:
        RunError: It belongs to others; the message shows every difference.
    """
    if (folder / CONFIG).exists():
        _check_same(folder, config, dict(hashes))
    elif folder.exists() and any(not entry.name.startswith("fold") for entry in folder.iterdir()):
        raise RunError(f"{folder}: holds files but no {CONFIG}, so it is no run; choose another with run=FOLDER")


def bind_run(folder: Path, config: Config, folds: pd.DataFrame, record: RunRecord) -> None:
    """Writes folds.csv, run.json and, last, config.yaml, whose presence says that the folder is a run's."""
    if (folder / CONFIG).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_folds(folds, folder / FOLDS)
    write_json(folder / RUN, asdict(record) | {"n_folds": int(folds["fold"].nunique())})
    write_config(config, folder / CONFIG)


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
    return tuple(key for key in _FREE if not (balanced and key == "batch_size_per_device"))


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
