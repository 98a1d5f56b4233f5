"""The Lightning module: one loss, one optimiser, and the validation fold's figures after every epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from rsna.config.schema import Config
from rsna.dataset.targets import Target
from rsna.evaluation.evaluate import evaluate
from rsna.model.heads import probabilities
from rsna.model.network import MammogramNet, to_unit
from rsna.training.average import MovingAverage
from rsna.training.data.module import Batch
from rsna.training.data.sampler import draw_seed
from rsna.training.losses import mixed_loss, target_loss
from rsna.training.schedule import lr_factor, make_optimizer


class MammogramModule(LightningModule):
    """Trains a network on one fold."""

    def __init__(
        self,
        network: MammogramNet,
        targets: tuple[Target, ...],
        validation: pd.DataFrame,
        config: Config,
        steps_per_epoch: int,
    ) -> None:
        """Args beyond the obvious.

        Args:
            validation: Rows of the validation fold, in the order of the validation dataset; with their labels.
            steps_per_epoch: Optimiser steps, for the schedule.
        """
        super().__init__()
        self.network = network
        self.average = MovingAverage(network, config.trainer.ema) if config.trainer.ema else None
        self.targets, self.validation, self.config = targets, validation, config
        self.steps_per_epoch = steps_per_epoch
        # In a list, out of the module's sight: a compiled network would stand twice in the state, under other keys.
        compiled: list[Callable[[Tensor], Tensor]] = [torch.compile(network)] if config.trainer.compile else [network]
        self._run = compiled
        self.last_lr = 0.0
        """Learning rate of the newest optimiser step."""
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._statistics: list[Tensor] = []

    @property
    def counted(self) -> MammogramNet:
        """The network whose weights count: the moving average where there is one."""
        return self.average.network if self.average else self.network  # type: ignore[return-value]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) → (B, outputs) logits."""
        return self._run[0](self._laid_out(images))

    def on_train_epoch_start(self) -> None:
        # Lightning sets the epoch of samplers, not of batch samplers. Resumed within an epoch it does not come by
        # here; the sampler then knows its epoch from the checkpoint.
        self._sampler.set_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Drop-out, stochastic depth and mixup draw from here: a resumed run draws what an undisturbed one does.
        torch.manual_seed(draw_seed(self.config.seed + 1 + self.global_rank, self.current_epoch, batch_idx))
        # Ahead of the batch's end, where callbacks save before the module is asked.
        self._sampler.position = batch_idx + 1

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels, settings = batch["images"], batch["labels"], self.config.loss
        if self.config.augment.mixup:
            share = float(torch.distributions.Beta(*2 * (torch.tensor(self.config.augment.mixup),)).sample())
            other = torch.randperm(len(labels)).to(labels.device)
            images = to_unit(images)
            images = share * images + (1 - share) * images[other]
            return mixed_loss(self(images), labels, labels[other], share, self.targets, settings)
        return target_loss(self(images), labels, self.targets, settings)

    def on_before_backward(self, loss: Tensor) -> None:
        if self.config.model.gradient_checkpointing:
            self._statistics = [statistic.clone() for statistic in self.network.buffers()]

    def on_after_backward(self) -> None:
        # Checkpointing runs the network once more, which moves the statistics of batch normalisation a second time.
        if self.config.model.gradient_checkpointing:
            for statistic, before in zip(self.network.buffers(), self._statistics, strict=True):
                statistic.copy_(before)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        # Lightning's own refuses a fused optimiser under mixed precision, also in bf16, where nothing is scaled.
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        self.last_lr = optimizer.param_groups[0]["lr"]
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.average:
            self.average.update(self.network, self.trainer.global_step + 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images = self._laid_out(batch["images"])
        logits = self.average.network(images) if self.average else self._run[0](images)
        self._seen.append((batch["rows"].cpu(), logits.float().cpu()))

    def on_validation_epoch_end(self) -> None:
        """Gathers every rank's predictions, drops what padding repeated, logs the fold's figures on every rank."""
        rows, logits = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        gathered: list[Any] = [(rows, logits)]
        if self.trainer.world_size > 1:
            gathered = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, (rows, logits))
        rows, logits = (torch.cat(parts) for parts in zip(*gathered, strict=True))
        by_row = logits.new_empty(len(self.validation), logits.shape[1])
        by_row[rows] = logits
        self.log_dict({f"val/{name}": value for name, value in self._figures(by_row).items()})

    def configure_optimizers(self) -> Any:
        optim = self.config.optim
        # The fused kernel undoes the scaling of fp16 within the step, and clipping has to come before it.
        fused = self.trainer.precision != "16-mixed" and self.device.type in ("cpu", "cuda")
        optimizer = make_optimizer(self.network, optim, self.config.global_batch_size, fused)
        warmup = round(optim.warmup_epochs * self.steps_per_epoch)
        total = self.config.trainer.epochs * self.steps_per_epoch
        schedule = LambdaLR(optimizer, lambda step: lr_factor(step, total, warmup, optim))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def _sampler(self) -> Any:
        return self.trainer.datamodule.sampler  # type: ignore[attr-defined]

    def _laid_out(self, images: Tensor) -> Tensor:
        if self.config.trainer.channels_last:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def _figures(self, logits: Tensor) -> dict[str, float]:
        labels = np.stack([target.read(self.validation) for target in self.targets], axis=1)
        figures = {"loss": float(target_loss(logits, torch.from_numpy(labels), self.targets))}
        cancer = probabilities(logits.numpy(), self.targets).get("cancer")
        if cancer is not None and np.isfinite(cancer).all() and self.validation["cancer"].eq(1).any():
            images = self.validation.assign(probability=cancer)
            pooled = evaluate(images, self.config.evaluation.aggregate, resamples=0).pooled
            figures |= {"pf1": pooled.pf1_raw, "auroc": pooled.auroc, "auprc": pooled.auprc}
        return figures
