"""Trains one fold on one rank; every rank of every machine runs this."""

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from safetensors.torch import save_file

from rsna.config import Config
from rsna.files import atomic_path
from rsna.model.heads import output_count
from rsna.model.network import build_model
from rsna.settings import ConfigError
from rsna.training import hardware
from rsna.training.batch import BatchPlan, plan_batch
from rsna.training.callbacks import BEST, LAST, PREVIOUS, Checkpoints, History, PlainProgress
from rsna.training.data import MammogramData, PreparedImages
from rsna.training.fold_data import FoldData
from rsna.training.module import MammogramModule

WEIGHTS = "model.safetensors"


def fit_fold(config: Config, fold: int, folder: Path, data: FoldData) -> None:
    """Trains, or goes on training, a fold; at the end ``folder/model.safetensors`` holds the weights that count.

    Args:
        config: The experiment.
        fold: Number of the fold, for the log.
        folder: ``<run>/fold<k>``.
        data: Tables, cache and targets.
    """
    accelerator = hardware.choose_accelerator(config.trainer)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, world)
    pl.seed_everything(config.seed, workers=False, verbose=False)
    network = build_model(config.model, output_count(data.targets))
    if config.trainer.channels_last:
        network = network.to(memory_format=torch.channels_last)
    batches = _data_module(config, data, plan, accelerator)
    steps = len(batches.sampler) // plan.accumulate
    module = MammogramModule(
        network, data.targets, data.validation, config.optim, steps, config.trainer.epochs, config.seed,
        config.trainer.channels_last,
    )  # fmt: skip
    checkpoints = Checkpoints(
        folder / "checkpoints", config.checkpoint == "best", config.trainer.checkpoint_every_steps
    )
    trainer = _trainer(config, fold, folder, plan, accelerator, checkpoints)
    if trainer.is_global_zero:
        _say(config, fold, data, plan, steps, trainer)
    resume = latest_checkpoint(folder / "checkpoints")
    if resume and trainer.is_global_zero:
        print(f"fold {fold}: goes on from {resume}", flush=True)
    trainer.fit(module, datamodule=batches, ckpt_path=resume, weights_only=True)
    if trainer.is_global_zero:
        _write_weights(module, folder, config.checkpoint == "best")
    trainer.strategy.barrier()


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that loads; one that does not is named and the one before it is taken."""
    for name in (LAST, PREVIOUS):
        file = folder / name
        if not file.exists():
            continue
        try:
            torch.load(file, "cpu", weights_only=True)
        except Exception as error:  # a torn file raises whatever its torn bytes look like
            print(f"{file} does not load ({type(error).__name__}); the one before it is tried", flush=True)
            continue
        return file
    return None


def _data_module(config: Config, data: FoldData, plan: BatchPlan, accelerator: str) -> MammogramData:
    return MammogramData(
        PreparedImages(data.training, data.cache, data.targets, config.augment),
        PreparedImages(data.validation, data.cache, data.targets, None),
        plan,
        rank=int(os.environ.get("RANK", "0")),
        seed=config.seed,
        workers=hardware.choose_workers(config.trainer, accelerator, plan.devices),
        pin_memory=accelerator == "cuda",
    )


def _trainer(
    config: Config, fold: int, folder: Path, plan: BatchPlan, accelerator: str, checkpoints: Checkpoints
) -> pl.Trainer:
    history = History(folder / "history.csv", config.global_batch_size)
    callbacks: list[pl.Callback] = [history, *_progress(config, history, fold), checkpoints]
    _quiet_lightning()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return pl.Trainer(
        accelerator="gpu" if accelerator == "cuda" else accelerator,
        devices=local,
        num_nodes=plan.devices // local,
        strategy="ddp" if plan.devices > 1 else "auto",
        precision=hardware.choose_precision(config.trainer, accelerator),  # type: ignore[arg-type]
        max_epochs=config.trainer.epochs,
        accumulate_grad_batches=plan.accumulate,
        gradient_clip_val=config.optim.clip_norm or None,
        deterministic=config.deterministic,
        benchmark=not config.deterministic,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(callback, RichProgressBar) for callback in callbacks),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


def _quiet_lightning() -> None:
    """Its advice on loaders, loggers and devices is for other set-ups; what matters here is said by this project."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric|torch\.utils\._pytree")


def _progress(config: Config, history: History, fold: int) -> Sequence[pl.Callback]:
    kind = config.trainer.progress
    if kind == "auto":
        import rich

        console = rich.get_console()
        kind = "rich" if console.is_terminal and not console.is_jupyter else "plain"
    if kind == "none":
        return []
    plain = PlainProgress(history, f"fold {fold}", config.trainer.epochs)
    if kind == "rich":
        plain.EVERY_S = float("inf")  # the bar shows the steps; the line of an epoch stays on the screen
        return [RichProgressBar(leave=False), plain]
    return [plain]


def _say(config: Config, fold: int, data: FoldData, plan: BatchPlan, steps: int, trainer: pl.Trainer) -> None:
    start = config.model.weights or ("ImageNet weights" if config.model.pretrained else "scratch")
    height, width = config.preprocess.size
    targets = ", ".join(target.name for target in data.targets)
    print(
        f"fold {fold}: trains on {len(data.training):,} images, validates on {len(data.validation):,}; "
        f"{config.model.backbone} from {start} at {height}×{width}, targets {targets}\n"
        f"fold {fold}: {plan}, {steps:,} steps an epoch, {config.trainer.epochs} epochs, {trainer.precision}, "
        f"{hardware.describe(hardware.choose_accelerator(config.trainer), plan.devices)}",
        flush=True,
    )


def _write_weights(module: MammogramModule, folder: Path, best: bool) -> None:
    state = module.network.state_dict()
    if best:
        file = folder / "checkpoints" / BEST
        if not file.exists():
            raise ConfigError(f"checkpoint=best: no epoch had a figure to be chosen by; use checkpoint=last ({file})")
        whole = torch.load(file, "cpu", weights_only=True)["state_dict"]
        state = {key.removeprefix("network."): value for key, value in whole.items()}
    state = {key: value.cpu().contiguous() for key, value in state.items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(state, temporary)
