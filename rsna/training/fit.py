"""Trains one fold on one rank; every rank of every machine runs this."""

import errno
import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import (  # type: ignore[attr-defined]
    LightningEnvironment,
    TorchElasticEnvironment,
)
from timm.layers import convert_sync_batchnorm

from rsna.config.schema import Config
from rsna.config.settings import ConfigError
from rsna.dataset.examples import Examples, ExampleSpec
from rsna.dataset.table_inputs import read_inputs
from rsna.inference.devices import keep_freed_memory
from rsna.model.network import MammogramNet
from rsna.prepare.cache import CacheError
from rsna.runs.run_directory import bind_run
from rsna.runs.schema import WEIGHTS, RunRecord
from rsna.runs.set_schema import LabelOrigin
from rsna.runs.weights import write_weights
from rsna.training import ranks, stopping
from rsna.training.callbacks.checkpoints import CheckpointFiles, Checkpoints, average_weights
from rsna.training.callbacks.history import History, Waiting
from rsna.training.callbacks.progress import FoldProgress
from rsna.training.callbacks.watch import LossWatch
from rsna.training.data.batch import BatchPlan
from rsna.training.data.module import FoldData, MammogramData
from rsna.training.experiment import Experiment
from rsna.training.hardware import Hardware
from rsna.training.module import MammogramModule

_LIGHTNING_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""Lightning's names of the arithmetic."""


class LoaderError(RuntimeError):
    """Loader processes ended, or have no memory to share; the message says what to give."""


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
        CheckpointError, RunError: Of the checkpoints or weights that are there none can be used.
        WriteError: A checkpoint cannot be written.
        CacheError: A prepared image cannot be read.
        KeyboardInterrupt: Ctrl-C; the last checkpoint stays.
        Stopped: The process was asked to stop; the checkpoint is of the step that it stopped after.
    """
    config, hardware, plan = experiment.config, experiment.hardware, experiment.plan
    if hardware.accelerator == "cpu":
        keep_freed_memory()
    pl.seed_everything(config.seed, workers=False, verbose=False)
    start_labels: list[LabelOrigin] = []
    network = lay_out(experiment.network(experiment.start(fold, labels=start_labels)), config, plan)
    if network.table_embedding is not None:
        network.table_embedding.mark_seen(torch.from_numpy(read_inputs(data.spec.inputs, data.training.images)))
    batches = data_module(config, data, plan, hardware)
    steps = len(batches.sampler) // plan.accumulate  # optimiser steps an epoch
    module = MammogramModule(network, data.targets, data.validation, config, steps)

    watch, waiting = LossWatch(fold), Waiting()
    history = History(folder, watch, waiting, config)
    record = RunRecord.of(
        config, experiment.table, experiment.hashes, experiment.targets, experiment.spec.inputs,
        len(experiment.all_folds), start_labels,
    )  # fmt: skip
    bind = partial(bind_run, experiment.run, config, experiment.folds, record)
    checkpoints = Checkpoints(folder / "checkpoints", watch, config, bind)
    progress = FoldProgress(history, watch, fold, config.trainer)
    trainer = make_trainer(config, folder, plan, hardware, [watch, history, progress, checkpoints, waiting])
    resume = checkpoints.latest(module)
    if trainer.is_global_zero:
        start = config.model.weights or ("ImageNet weights" if config.model.pretrained else "scratch")
        height, width = config.preprocess.size
        print(
            f"fold {fold}: trains on {_count(data.training)}, validates on {_count(data.validation)}; "
            f"{config.model.backbone} from {start} at {height}×{width}{_describe(data.spec)}, "
            f"targets {', '.join(target.name for target in data.targets)}\n"
            f"fold {fold}: {plan}, {steps:,} steps an epoch, {config.trainer.epochs} epochs, {trainer.precision}, "
            f"{hardware}",
            flush=True,
        )
        if resume:
            print(f"fold {fold}: goes on from {resume}", flush=True)
    with stopping.finishing_the_step():
        with progress, _plain_errors():
            trainer.fit(module, datamodule=batches, ckpt_path=resume)
        if trainer.is_global_zero:
            if not checkpoints.files:
                raise ConfigError("checkpoint: best, but no epoch had a metric to be chosen by; use checkpoint=last")
            write_weights(average_weights(checkpoints.files), folder / WEIGHTS)
        trainer.strategy.barrier()


def _count(examples: Examples) -> str:
    images = f"{len(examples.images):,} images"
    return images if examples.unit == "image" else f"{len(examples):,} breasts of {images}"


def _describe(spec: ExampleSpec) -> str:
    """What is joined to the images of an example, for the log; nothing of an image by itself."""
    parts = [f"images joined by {spec.fusion.kind}"] if spec.unit == "breast" else []
    parts += ["the other breast compared"] if spec.compare else []
    parts += [f"told {' and '.join(one.name for one in spec.inputs)}"] if spec.inputs else []
    return "".join(f", {part}" for part in parts)


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
    local = ranks.local_world_size()
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
        # cuDNN would measure every layer anew for each number of images that a step can have: seconds a step.
        benchmark=not config.deterministic and config.unit == "image",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
        # Lightning would take the tasks of a SLURM job for its ranks, and answer SIGUSR1 by checkpoints of its own.
        plugins=[CheckpointFiles(), TorchElasticEnvironment() if "RANK" in os.environ else LightningEnvironment()],
    )


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Undoes what Lightning makes of an interrupt, and torch of an image that cannot be read, or of a full /dev/shm."""
    try:
        yield
    except SystemExit as error:
        if type(error) is not SystemExit:  # SIGTERM's
            raise
        raise KeyboardInterrupt from None
    except CacheError as error:
        # With workers, torch puts the traceback before the message.
        raise CacheError(str(error).split(f"{CacheError.__qualname__}: ")[-1].strip()) from None
    except (RuntimeError, OSError) as error:
        # Of shared memory, and of the semaphores in it, errors name a file, a process or nothing; and where loaders
        # cannot even be started, Lightning raises another one while it ends them.
        first: BaseException = error
        while first.__context__ is not None:
            first = first.__context__
        nameless = type(first) is OSError and first.errno == errno.ENOSPC and not first.filename
        ours = type(error).__module__.startswith("rsna.")  # which say what they are
        if ours or not (nameless or re.search(r"DataLoader worker|shared memory|/torch_", str(error))):
            raise
        what = "No space left on device" if nameless else str(error).strip().splitlines()[-1]
        raise LoaderError(
            f"trainer.workers: loader processes cannot hand over their batches ({what}): /dev/shm or memory is full. "
            "Give trainer.workers=0, or more of it (docker run --shm-size=8g); the same command goes on from the last "
            "checkpoint"
        ) from error
