"""A configuration → an experiment: what can be refused about it is refused here, in seconds, before any work."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.config.schema import Config
from rsna.config.settings import ConfigError
from rsna.dataset.examples import Unit, learnable
from rsna.dataset.folds import folds_for, folds_hash
from rsna.dataset.source import load_data
from rsna.dataset.table import ImageTable, TableError
from rsna.dataset.targets import Target, kept_targets
from rsna.model.network import build_model, check_sizes
from rsna.prepare.image import preprocessing_hash, read_boxes
from rsna.runs.run_directory import check_run
from rsna.training.data.batch import BatchPlan, plan_batch
from rsna.training.hardware import Hardware, choose_hardware


@dataclass(frozen=True)
class Experiment:
    """A configuration after everything about it was checked, and what it stands for on this machine."""

    config: Config
    hardware: Hardware
    plan: BatchPlan
    """How an optimiser step is made up."""
    table: ImageTable
    folds: pd.DataFrame
    """patient_id, image_id, fold: in which fold each image of the table is validated."""
    targets: tuple[Target, ...]
    """Those of the configuration that the table has labels for."""
    unit: Unit
    """What one label belongs to and one prediction is made for."""

    @property
    def run(self) -> Path:
        """The run folder; it may not be there yet."""
        return self.config.run_dir

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The three hashes that travel in cache, run and bundle."""
        return {
            "preprocessing": preprocessing_hash(self.config.preprocess),
            "folds": folds_hash(self.folds),
            "dataset": self.table.hash,
        }

    @cached_property
    def all_folds(self) -> list[int]:
        """Every fold of the split."""
        return sorted(int(fold) for fold in self.folds["fold"].unique())

    @property
    def folds_to_train(self) -> list[int]:
        """Folds that this start is asked for."""
        return self.all_folds if self.config.fold == "all" else [self.config.fold]


def resolve(config: Config, unit: Unit = "image") -> Experiment:
    """Reads and refuses: no image is decoded, and nothing is written but the embedded sample, where it is asked for.

    What needs no data comes first, so that a misspelt backbone is said before a table of 54,706 rows is read.

    Raises:
        ConfigError: A device, batch, network, file of weights, fold or folder that cannot be as it is asked for.
        TableError: The set, its labels or its folds cannot be used.
        RunError: The run folder holds another experiment's run.
    """
    hardware = choose_hardware(config)
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, hardware.devices)
    _check_settings(config, hardware)
    table = load_data(config.data)
    folds = folds_for(table.frame, config.folds)
    targets = learnable(unit, kept_targets(config.targets, table))
    experiment = Experiment(config, hardware, plan, table, folds, targets, unit)
    _check_folds(experiment)
    check_run(experiment.run, config, experiment.hashes)
    if config.model.pretrained or config.model.weights:
        # By the code that training starts with, since every other check would miss something of it: a hub that cannot
        # be reached, a file that is torn, keys that do not fit. It takes a second, or that of a download: hence last.
        build_model(config.model, n_outputs=1)
    return experiment


def _check_settings(config: Config, hardware: Hardware) -> None:
    """What is wrong without any data: network, image sizes, boxes, folders of run and cache that cannot be written."""
    if config.model.norm == "sync" and hardware.accelerator != "cuda":
        raise ConfigError(f"model.norm: sync works between GPUs, and this run uses {hardware.accelerator}; use batch")
    check_sizes(config.model, config.preprocess.size, config.augment.crop)  # on the meta device
    if config.preprocess.boxes:
        read_boxes(config.preprocess.boxes)
    for key, folder in (("run", config.run_dir), ("cache_dir", Path(config.cache_dir).expanduser())):
        there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        if not there.is_dir():
            raise ConfigError(f"{key}: {there} is a file, where a folder is wanted; name another")
        if not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(f"{key}: {there} may not be written; name another, or mend its permissions")


def _check_folds(experiment: Experiment) -> None:
    """Every fold that is asked for has images on both sides, and positives where the sampler needs them."""
    config, table, folds = experiment.config, experiment.table, experiment.folds
    fold_of = folds["fold"].to_numpy()
    positive = table.frame["cancer"].eq(1).to_numpy() if "cancer" in table.frame else np.zeros(len(fold_of), dtype=bool)
    for fold in experiment.folds_to_train:
        if fold not in experiment.all_folds:
            known = ", ".join(map(str, experiment.all_folds))
            raise ConfigError(f"fold: there is no fold {fold}; this run has {known}, or all")
        training = fold_of != fold
        if not training.any():
            raise TableError(f"fold {fold}: no image is left to train on")
        found = int(positive[training].sum())
        if table.extra is not None and "cancer" in table.extra:
            found += int(table.extra["cancer"].eq(1).sum())
        if config.sampler.kind == "balanced" and not found:
            raise ConfigError(
                f"sampler.kind: balanced needs positives, and fold {fold} trains on {int(training.sum()):,} images "
                "without any; use plain"
            )
