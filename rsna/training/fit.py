"""Trains one fold on one rank; every rank of every machine runs this."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from timm.layers import convert_sync_batchnorm

from rsna.config.schema import Config
from rsna.config.settings import ConfigError
from rsna.model.heads import output_count
from rsna.model.heap import keep_freed_memory
from rsna.model.network import MammogramNet, build_model, check_sizes
from rsna.prepare.cache import CacheError
from rsna.training import hardware, ranks
from rsna.training.callbacks.checkpoints import Checkpoints, average_weights, latest_checkpoint, write_weights
from rsna.training.callbacks.history import History, Waiting
from rsna.training.callbacks.progress import progress_callbacks
from rsna.training.callbacks.watch import LossWatch
from rsna.training.data.batch import BatchPlan, plan_batch
from rsna.training.data.fold import FoldData
from rsna.training.data.module import MammogramData
from rsna.training.loop import make_trainer
from rsna.training.module import MammogramModule

WEIGHTS = "model.safetensors"


def fit_fold(config: Config, fold: int, folder: Path, data: FoldData) -> None:
    """Trains, or goes on training, a fold; at the end ``folder/model.safetensors`` holds the weights that count.

    Args:
        config: The experiment.
        fold: Number of the fold, for the log.
        folder: ``<run>/fold<k>``.
        data: Tables, cache and targets.

    Raises:
        ConfigError: The batch cannot be spread over the devices, or they lack what is asked for.
        DivergedError: The loss is not finite.
        CheckpointError: A checkpoint cannot be written, or none of those there loads.
        CacheError: A prepared image cannot be read.
        KeyboardInterrupt: Ctrl-C; the last checkpoint stays.
    """
    accelerator = hardware.choose_accelerator(config.trainer)
    if accelerator == "cpu":
        keep_freed_memory()
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, ranks.world_size())
    check_sizes(config.model, config.preprocess.size, config.augment.crop)
    pl.seed_everything(config.seed, workers=False, verbose=False)
    network = prepare_network(config, build_model(config.model, output_count(data.targets)), accelerator, plan)
    batches = data_module(config, data, plan, accelerator)
    steps = len(batches.sampler) // plan.accumulate
    module = MammogramModule(network, data.targets, data.validation, config, steps)
    watch = LossWatch(fold)
    checkpoints = Checkpoints(
        folder / "checkpoints", watch, config.checkpoint, config.soup, config.trainer.checkpoint_every_steps,
        config.trainer.patience,
    )  # fmt: skip
    waiting = Waiting()
    history = History(folder, watch, waiting, config.global_batch_size)
    progress = progress_callbacks(config.trainer, history, watch, fold)
    trainer = make_trainer(config, folder, plan, accelerator, [watch, history, *progress, checkpoints, waiting])
    resume = latest_checkpoint(folder / "checkpoints")
    if trainer.is_global_zero:
        _say(config, fold, data, plan, steps, trainer)
        if resume:
            print(f"fold {fold}: goes on from {resume}", flush=True)
    with _in_own_words():
        trainer.fit(module, datamodule=batches, ckpt_path=resume, weights_only=True)
    if trainer.is_global_zero:
        if not checkpoints.files:
            raise ConfigError("checkpoint: best, but no epoch had a figure to be chosen by; use checkpoint=last")
        write_weights(average_weights(checkpoints.files), folder / WEIGHTS)
    trainer.strategy.barrier()


@contextmanager
def _in_own_words() -> Iterator[None]:
    """Undoes what Lightning makes of an interrupt, and a loader process of an image that cannot be read."""
    try:
        yield
    except SystemExit as error:
        if type(error) is not SystemExit:  # SIGTERM's
            raise
        raise KeyboardInterrupt from None
    except CacheError as error:
        # With workers, torch puts the traceback before the words.
        raise CacheError(str(error).split(f"{CacheError.__qualname__}: ")[-1].strip()) from None


def prepare_network(config: Config, network: MammogramNet, accelerator: str, plan: BatchPlan) -> MammogramNet:
    """Memory layout, and batch normalisation over devices where it is asked for.

    Raises:
        ConfigError: Synchronised normalisation without GPUs.
    """
    if config.model.norm == "sync":
        if accelerator != "cuda":
            raise ConfigError(f"model.norm: sync works between GPUs, and this run uses {accelerator}; use batch")
        if plan.devices > 1:
            # timm's, because torch's own would drop the activation that timm keeps inside its norms.
            network = convert_sync_batchnorm(network)
    if config.trainer.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network


def data_module(config: Config, data: FoldData, plan: BatchPlan, accelerator: str) -> MammogramData:
    """Batches of a fold for this rank."""
    return MammogramData(
        config,
        data,
        plan,
        rank=ranks.rank(),
        workers=hardware.choose_workers(config.trainer, accelerator, plan.devices),
        pin_memory=accelerator == "cuda",
    )


def _say(config: Config, fold: int, data: FoldData, plan: BatchPlan, steps: int, trainer: pl.Trainer) -> None:
    start = config.model.weights or ("ImageNet weights" if config.model.pretrained else "scratch")
    height, width = config.preprocess.size
    targets = ", ".join(target.name for target in data.targets)
    print(
        f"fold {fold}: trains on {len(data.training.images):,} images, validates on {len(data.validation.images):,}; "
        f"{config.model.backbone} from {start} at {height}×{width}, targets {targets}\n"
        f"fold {fold}: {plan}, {steps:,} steps an epoch, {config.trainer.epochs} epochs, {trainer.precision}, "
        f"{hardware.describe(hardware.choose_accelerator(config.trainer), plan.devices)}",
        flush=True,
    )
