"""A configuration → an experiment: what can be refused about it is refused here, in seconds, before any work."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rsna.collector import collector_off
from rsna.config.model import Unit
from rsna.config.schema import Config
from rsna.config.settings import ConfigError
from rsna.dataset.examples import ExampleSpec, examples_of, learnable
from rsna.dataset.folds import folds_for, folds_hash
from rsna.dataset.source import labelled, load_data, open_pack, with_value_range
from rsna.dataset.table import ImageTable, TableError
from rsna.dataset.table_inputs import learn_inputs
from rsna.dataset.targets import Target, kept_targets
from rsna.model.heads import output_count
from rsna.parallel.progress import Progress
from rsna.prepare.boxes import read_boxes
from rsna.prepare.hashing import preprocessing_hash
from rsna.runs.run_directory import check_run
from rsna.training.data.batch import SPREAD, BatchPlan, plan_batch

if TYPE_CHECKING:
    from rsna.model.network import MammogramNet
    from rsna.runs.set_schema import LabelOrigin
    from rsna.runs.start_weights import Start
    from rsna.training.hardware import Hardware


@dataclass(frozen=True)
class Experiment:
    """A configuration after everything about it was checked, and what it stands for on this machine."""

    config: Config
    hardware: "Hardware"
    plan: BatchPlan
    """How an optimiser step is made up."""
    table: ImageTable
    folds: pd.DataFrame
    """patient_id, image_id, fold: in which fold each image of the table is validated."""
    targets: tuple[Target, ...]
    """Those of the configuration that the table has labels for."""
    spec: ExampleSpec
    """What an example is: what one label belongs to and one prediction is made for."""

    @property
    def run(self) -> Path:
        """The run folder; it may not be there yet."""
        return self.config.run_dir

    @property
    def unit(self) -> Unit:
        """An image by itself, or a breast."""
        return self.spec.unit

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

    def start(self, fold: int, notes: list[str] | None = None, labels: "list[LabelOrigin] | None" = None) -> "Start":
        """What the network of a fold starts from.

        Args:
            fold: Number of the fold.
            notes: Gets what is to be said of whom it has seen.
            labels: Gets the sets that it has learnt from.

        Raises:
            ConfigError, RunError: See :func:`rsna.runs.start_weights.start_weights`.
        """
        from rsna.runs.start_weights import start_weights

        notes = [] if notes is None else notes
        return start_weights(self.config.model.weights, fold, self.folds, self.hashes, notes, labels)

    def network(self, start: "Start", notes: list[str] | None = None) -> "MammogramNet":
        """The network with the weights that it starts from, and ``notes`` of them: see
        :func:`rsna.model.network.build_model`.
        """
        from rsna.model.network import build_model

        settings = replace(self.config.model, weights=start.weights)
        return build_model(settings, output_count(self.targets), self.spec, notes, start.learnt, self.targets)

    @property
    def folds_to_train(self) -> list[int]:
        """Folds that this start is asked for."""
        return self.all_folds if self.config.fold == "all" else [self.config.fold]


def resolve(config: Config) -> Experiment:
    """Reads and refuses: nothing is written but the embedded sample, where it is asked for.

    No image is decoded but a few of those without a window, whose range of values is part of the preprocessing hash.

    What needs no torch comes first, so that a missing table is said before that is imported, which takes seconds.

    Raises:
        ConfigError: A device, batch, network, file of weights, fold or folder that cannot be as it is asked for.
        TableError: The set, its labels or its folds cannot be used.
        RunError: The run folder holds another experiment's run.
        PackError: There is no such pack, or it is of another set, other settings or other files.
    """
    _check_folders(config)
    table = load_data(config.data)
    if config.folds.by == "dataset":
        table = labelled(table.as_one())
    notes = [*table.notes]
    folds = folds_for(table.frame, config.folds, notes)
    table = replace(table, notes=tuple(notes))
    targets = learnable(config.unit, kept_targets(config.targets, table))
    spec = _spec_of(config, table)
    _check_folds(config, table, folds)
    if (spread := SPREAD.get(config.sampler.spread)) and spread not in table.images:
        raise ConfigError(f"sampler.spread: {config.sampler.spread}: the table has no column {spread}; leave it out")
    with collector_off():
        from rsna.training.hardware import check_compiler, choose_hardware

    hardware = choose_hardware(config)
    if config.trainer.compile:
        check_compiler(hardware.accelerator)
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, hardware.devices)
    _check_network(config, hardware)
    config, table = with_value_range(config, table)
    if config.pack:
        open_pack(config, table)
    experiment = Experiment(config, hardware, plan, table, folds, targets, spec)
    with Progress("hash the set"):
        hashes = experiment.hashes
    check_run(experiment.run, config, hashes)
    if config.model.pretrained or config.model.weights:
        # By the code that training starts with, since every other check would miss something of it: a hub that cannot
        # be reached, a file that is torn, keys that do not fit, and this in the last fold's file as in the first's. It
        # takes a second for each, or that of a download: hence last.
        notes = []
        with Progress("load the weights to start from"):
            starts = [experiment.start(fold, notes) for fold in experiment.folds_to_train]
            for start in {start.weights: start for start in starts}.values():
                experiment.network(start, notes if start == starts[0] else None)
        experiment = replace(experiment, table=replace(table, notes=(*table.notes, *dict.fromkeys(notes))))
    return experiment


def _check_folders(config: Config) -> None:
    """Boxes that cannot be read, folders of run and cache that cannot be written."""
    if config.preprocess.boxes:
        read_boxes(config.preprocess.boxes)
    cache = [] if config.pack else [("cache_dir", Path(config.cache_dir).expanduser())]
    for key, folder in [("run", config.run_dir), *cache]:
        there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        if not there.is_dir():
            raise ConfigError(f"{key}: {there} is a file, where a folder is wanted; name another")
        if not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(f"{key}: {there} may not be written; name another, or mend its permissions")


def _check_network(config: Config, hardware: "Hardware") -> None:
    """A network that this machine does not have, that does not take such images, or whose weights are nowhere."""
    from rsna.model.network import check_sizes
    from rsna.model.weight_files import find_file

    if config.model.norm == "sync" and hardware.accelerator != "cuda":
        raise ConfigError(f"model.norm: sync works between GPUs, and this run uses {hardware.accelerator}; use batch")
    check_sizes(config.model, config.preprocess.size, config.augment.crop)  # on the meta device
    if config.model.weights and not Path(config.model.weights).expanduser().is_dir():
        find_file(config.model.weights)


def _spec_of(config: Config, table: ImageTable) -> ExampleSpec:
    """What an example is, with the values that the table's columns have.

    Raises:
        ConfigError: No view is known, and no breast has another, where they are wanted.
        TableError: See :func:`rsna.dataset.table_inputs.learn_inputs`.
    """
    images = table.images
    if config.fusion.kind == "transformer" and images["view"].eq("").all():
        raise ConfigError(
            f"fusion.kind: transformer tells the images of a breast apart by their view, and no image of {table.root} "
            "has one; take attention"
        )
    if config.compare and not examples_of("breast", table.frame, compare=True).others.lengths.any():
        raise ConfigError(f"compare: no exam in {table.root} has images of both breasts; leave it out")
    return ExampleSpec(config.unit, config.fusion, config.compare, learn_inputs(config.input_names, images))


def _check_folds(config: Config, table: ImageTable, folds: pd.DataFrame) -> None:
    """Every fold that is asked for has images on both sides, and positives where the sampler needs them."""
    fold_of = folds["fold"].to_numpy()
    positive = table.frame["cancer"].eq(1).to_numpy() if "cancer" in table.frame else np.zeros(len(fold_of), dtype=bool)
    known = sorted({int(fold) for fold in fold_of})
    for fold in known if config.fold == "all" else [config.fold]:
        if fold not in known:
            numbers = ", ".join(map(str, known))
            raise ConfigError(f"fold: there is no fold {fold}; this run has {numbers}, or all")
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
