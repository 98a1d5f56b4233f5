"""Trains one fold on one rank; every rank of every machine runs this."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from timm.layers import convert_sync_batchnorm

from rsna.config.schema import Config
from rsna.config.settings import ConfigError
from rsna.inference.devices import keep_freed_memory
from rsna.model.heads import output_count
from rsna.model.network import MammogramNet, build_model
from rsna.prepare.cache import CacheError
from rsna.runs.run_directory import bind_run
from rsna.runs.schema import WEIGHTS, RunRecord
from rsna.training import ranks
from rsna.training.callbacks.checkpoints import Checkpoints, average_weights, latest_checkpoint, write_weights
from rsna.training.callbacks.history import History, Waiting
from rsna.training.callbacks.progress import progress_callbacks
from rsna.training.callbacks.watch import LossWatch
from rsna.training.data.batch import BatchPlan
from rsna.training.data.module import FoldData, MammogramData
from rsna.training.experiment import Experiment
from rsna.training.hardware import Hardware
from rsna.training.module import MammogramModule

_LIGHTNING_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""Lightning's names of the arithmetic."""


def fit_fold(experiment: Experiment, fold: int, folder: Path, data: FoldData) -> None:
    """Trains, or goes on training, a fold; at the end ``folder/model.safetensors`` holds the weights to predict with.

    The run folder is bound to the experiment when the first checkpoint is written: what ends before it leaves nothing
    that the corrected command would have to agree with.

    Args:
        experiment: What was resolved.
        fold: Number of the fold, for the log.
        folder: ``<run>/fold<k>``.
        data: What it trains and validates on.

    Raises:
        DivergedError: The loss is not finite.
        CheckpointError: A checkpoint cannot be written, or none of those there loads.
        CacheError: A prepared image cannot be read.
        KeyboardInterrupt: Ctrl-C; the last checkpoint stays.
    """
    config, hardware, plan = experiment.config, experiment.hardware, experiment.plan
    if hardware.accelerator == "cpu":
        keep_freed_memory()
    pl.seed_everything(config.seed, workers=False, verbose=False)
    network = lay_out(build_model(config.model, output_count(data.targets)), config, plan)
    batches = data_module(config, data, plan, hardware)
    steps = len(batches.sampler) // plan.accumulate  # optimiser steps an epoch
    module = MammogramModule(network, data.targets, data.validation, config, steps)

    watch, waiting = LossWatch(fold), Waiting()
    history = History(folder, watch, waiting)
    record = RunRecord.of(config, experiment.table, experiment.hashes, experiment.targets, len(experiment.all_folds))
    bind = partial(bind_run, experiment.run, config, experiment.folds, record)
    checkpoints = Checkpoints(folder / "checkpoints", watch, config, bind)
    progress = progress_callbacks(config.trainer, history, watch, fold)
    trainer = make_trainer(config, folder, plan, hardware, [watch, history, *progress, checkpoints, waiting])
    resume = latest_checkpoint(folder / "checkpoints")
    if trainer.is_global_zero:
        start = config.model.weights or ("ImageNet weights" if config.model.pretrained else "scratch")
        height, width = config.preprocess.size
        print(
            f"fold {fold}: trains on {len(data.training.images):,} images, "
            f"validates on {len(data.validation.images):,}; {config.model.backbone} from {start} at {height}×{width}, "
            f"targets {', '.join(target.name for target in data.targets)}\n"
            f"fold {fold}: {plan}, {steps:,} steps an epoch, {config.trainer.epochs} epochs, {trainer.precision}, "
            f"{hardware}",
            flush=True,
        )
        if resume:
            print(f"fold {fold}: goes on from {resume}", flush=True)
    with _plain_errors():
        # weights_only: a checkpoint from anywhere must not run code.
        trainer.fit(module, datamodule=batches, ckpt_path=resume, weights_only=True)
    if trainer.is_global_zero:
        if not checkpoints.files:
            raise ConfigError("checkpoint: best, but no epoch had a metric to be chosen by; use checkpoint=last")
        write_weights(average_weights(checkpoints.files), folder / WEIGHTS)
    trainer.strategy.barrier()


def lay_out(network: MammogramNet, config: Config, plan: BatchPlan) -> MammogramNet:
    """Batch normalisation over devices, and channels last in memory, where they are asked for."""
    if config.model.norm == "sync" and plan.devices > 1:
        # timm's, because torch's own would drop the activation that timm keeps inside its norms.
        network = convert_sync_batchnorm(network)
    if config.trainer.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network


def data_module(config: Config, data: FoldData, plan: BatchPlan, hardware: Hardware) -> MammogramData:
    """Batches of a fold for this rank."""
    pin_memory = hardware.accelerator == "cuda"
    return MammogramData(config, data, plan, rank=ranks.rank(), workers=hardware.workers, pin_memory=pin_memory)


def make_trainer(
    config: Config, folder: Path, plan: BatchPlan, hardware: Hardware, callbacks: Sequence[pl.Callback]
) -> pl.Trainer:
    """A Trainer that does what the configuration says and writes nothing of its own; callbacks are called in order."""
    # Lightning's advice on loaders, loggers and devices is for other set-ups; what matters here this project says.
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric|torch\.utils\._pytree")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return pl.Trainer(
        accelerator="gpu" if hardware.accelerator == "cuda" else hardware.accelerator,
        devices=local,
        num_nodes=plan.devices // local,
        strategy="ddp" if plan.devices > 1 else "auto",
        precision=_LIGHTNING_PRECISION[hardware.precision],  # type: ignore[arg-type]
        max_epochs=config.trainer.epochs,
        accumulate_grad_batches=plan.accumulate,
        gradient_clip_val=config.optim.clip_norm or None,
        deterministic=config.deterministic,
        benchmark=not config.deterministic,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(callback, RichProgressBar) for callback in callbacks),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Undoes what Lightning makes of an interrupt, and a loader process of an image that cannot be read."""
    try:
        yield
    except SystemExit as error:
        if type(error) is not SystemExit:  # SIGTERM's
            raise
        raise KeyboardInterrupt from None
    except CacheError as error:
        # With workers, torch puts the traceback before the message.
        raise CacheError(str(error).split(f"{CacheError.__qualname__}: ")[-1].strip()) from None
