"""The Lightning module: one loss, one optimiser, and the validation fold's figures after every epoch."""

from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from rsna.dataset.targets import Target
from rsna.evaluation.metrics import evaluate
from rsna.model.heads import probabilities
from rsna.model.network import MammogramNet
from rsna.training.data import Batch
from rsna.training.losses import target_loss
from rsna.training.sampler import draw_seed
from rsna.training.schedule import lr_factor, make_optimizer
from rsna.training.settings import OptimSettings


class MammogramModule(LightningModule):
    """Trains a network on one fold."""

    def __init__(
        self,
        network: MammogramNet,
        targets: tuple[Target, ...],
        validation: pd.DataFrame,
        optim: OptimSettings,
        steps_per_epoch: int,
        epochs: int,
        seed: int,
        channels_last: bool,
    ) -> None:
        """Args beyond the obvious.

        Args:
            validation: Rows of the validation fold, in the order of the validation dataset; with their labels.
            steps_per_epoch: Optimiser steps, for the schedule.
        """
        super().__init__()
        self.network = network
        self.targets, self.validation, self.optim = targets, validation, optim
        self.steps_per_epoch, self.epochs = steps_per_epoch, epochs
        self.seed, self.channels_last = seed, channels_last
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) → (B, outputs) logits."""
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network(images)
        return logits

    def on_train_epoch_start(self) -> None:
        # Lightning sets the epoch of samplers, not of batch samplers. Resumed within an epoch it does not come by
        # here; the sampler then knows its epoch from the checkpoint.
        self.trainer.datamodule.sampler.set_epoch(self.current_epoch)  # type: ignore[attr-defined]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Drop-out and stochastic depth draw from here: a resumed run draws what an undisturbed one does.
        torch.manual_seed(draw_seed(self.seed + 1 + self.global_rank, self.current_epoch, batch_idx))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = target_loss(self(batch["images"]), batch["labels"], self.targets)
        self.log("train/loss", loss, on_step=True, on_epoch=True, batch_size=len(batch["rows"]), sync_dist=True)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.trainer.datamodule.sampler.position = batch_idx + 1  # type: ignore[attr-defined]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits = self(batch["images"])
        self._seen.append((batch["rows"].cpu(), logits.float().cpu()))

    def on_validation_epoch_end(self) -> None:
        """Gathers every rank's predictions, drops what padding repeated, logs the fold's figures."""
        rows, logits = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        gathered: list[Any] = [(rows, logits)]
        if self.trainer.world_size > 1:
            gathered = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, (rows, logits))
        rows, logits = (torch.cat(parts) for parts in zip(*gathered, strict=True))
        by_row = logits.new_empty(len(self.validation), logits.shape[1])
        by_row[rows] = logits
        figures = self._figures(by_row)
        self.log_dict({f"val/{name}": value for name, value in figures.items()}, rank_zero_only=True)

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.network, self.optim)
        warmup = round(self.optim.warmup_epochs * self.steps_per_epoch)
        total = self.epochs * self.steps_per_epoch
        schedule = LambdaLR(optimizer, lambda step: lr_factor(step, total, warmup, self.optim))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _figures(self, logits: Tensor) -> dict[str, float]:
        labels = np.stack([target.read(self.validation) for target in self.targets], axis=1)
        figures = {"loss": float(target_loss(logits, torch.from_numpy(labels), self.targets))}
        cancer = probabilities(logits.numpy(), self.targets).get("cancer")
        if cancer is not None and self.validation["cancer"].eq(1).any():
            pooled = evaluate(self.validation.assign(probability=cancer), resamples=0).pooled
            figures |= {"pf1": pooled.pf1_raw, "auroc": pooled.auroc, "auprc": pooled.auprc}
        return figures
