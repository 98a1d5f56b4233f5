"""Lightning's Trainer, set up for a fold."""

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from rsna.config.schema import Config
from rsna.training import hardware
from rsna.training.data.batch import BatchPlan


def make_trainer(
    config: Config, folder: Path, plan: BatchPlan, accelerator: str, callbacks: Sequence[pl.Callback]
) -> pl.Trainer:
    """A Trainer that does what the configuration says and writes nothing of its own.

    Args:
        config: The experiment.
        folder: ``<run>/fold<k>``.
        plan: How a step is made up.
        accelerator: cpu, cuda or mps.
        callbacks: In the order in which they are called.
    """
    _quiet_lightning()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return pl.Trainer(
        accelerator="gpu" if accelerator == "cuda" else accelerator,
        devices=local,
        num_nodes=plan.devices // local,
        strategy="ddp" if plan.devices > 1 else "auto",
        precision=hardware.LIGHTNING_PRECISION[hardware.choose_precision(config.trainer, accelerator)],  # type: ignore[arg-type]
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


def _quiet_lightning() -> None:
    """Its advice on loaders, loggers and devices is for other set-ups; what matters here is said by this project."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric|torch\.utils\._pytree")
