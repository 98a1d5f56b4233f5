"""The Lightning module: one loss, one optimiser, and the validation fold's metrics after every epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from rsna.config.schema import Config
from rsna.dataset.examples import Examples
from rsna.dataset.targets import Target
from rsna.evaluation.evaluate import evaluate
from rsna.model.average import MovingAverage
from rsna.model.heads import probabilities
from rsna.model.network import MammogramNet, to_unit
from rsna.training.data.module import Batch
from rsna.training.data.sampler import draw_seed
from rsna.training.losses import image_shares, mixed_loss, target_loss
from rsna.training.schedule import lr_factor, make_optimizer


class MammogramModule(LightningModule):
    """Trains a network on one fold."""

    def __init__(
        self,
        network: MammogramNet,
        targets: tuple[Target, ...],
        validation: Examples,
        config: Config,
        steps_per_epoch: int,
    ) -> None:
        """Takes a network on the CPU, which Lightning moves, and optimiser steps an epoch, for the schedule."""
        super().__init__()
        self.network = network
        self.average = MovingAverage(network, config.trainer.ema) if config.trainer.ema else None
        self.targets, self.validation, self.config = targets, validation, config
        self.steps_per_epoch = steps_per_epoch
        # In a list, out of the module's sight: a compiled network would stand twice in the state, under other keys.
        self._compiled: list[Callable[..., Tensor]] = [compiled(network) if config.trainer.compile else network]
        self.last_lr = 0.0
        """Learning rate of the newest optimiser step."""
        self._validated: list[tuple[Tensor, Tensor]] = []
        self._norm_statistics: list[Tensor] = []

    @property
    def evaluated_network(self) -> MammogramNet:
        """The network that is validated and kept: the moving average where there is one."""
        return self.average.network if self.average else self.network  # type: ignore[return-value]

    def forward(self, images: Tensor, *facts: Tensor | bool | None) -> Tensor:
        """See :meth:`rsna.model.network.MammogramNet.forward`; ``facts`` are what it takes beside images."""
        return self._compiled[0](self._laid_out(images), *facts)

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
        images, labels = batch["images"], batch["labels"]  # (N, 1, H, W), (B, targets)
        facts = self._facts(batch)
        if not self.config.augment.mixup:
            own = batch["weight"], batch["weight"]
            return self._loss(self(images, *facts, self._each), labels, labels, 1.0, own, batch)
        share = float(torch.distributions.Beta(*2 * (torch.tensor(self.config.augment.mixup),)).sample())
        other = torch.randperm(len(labels)).to(labels.device)  # (B,)
        images = to_unit(images)
        partner = other if facts[0] is None else partner_images(facts[0], other)  # (N,)
        images = share * images + (1 - share) * images[partner]
        weights = batch["weight"], batch["weight"][other]
        return self._loss(self(images, *facts, self._each), labels, labels[other], share, weights, batch)

    def _loss(
        self,
        logits: Tensor,
        labels: Tensor,
        mixed_with: Tensor,
        share: float,
        weights: tuple[Tensor, Tensor],
        batch: Batch,
    ) -> Tensor:
        """The loss of examples, (B, targets) labels of which ``share`` counts, and that of their images where asked."""
        settings = self.config.loss
        loss = mixed_loss(logits[: len(labels)], labels, mixed_with, share, self.targets, settings, weights)
        if not self._each:
            return loss
        example = batch["example"]
        other = batch["other"] if self.network.spec.compare else None
        each = image_shares(example, other, len(labels))
        of_images = each * weights[0][example], each * weights[1][example]
        images = mixed_loss(
            logits[len(example) :], labels[example], mixed_with[example], share, self.targets, settings, of_images
        )
        return loss + settings.image_weight * images

    def on_before_backward(self, loss: Tensor) -> None:
        if self.config.model.gradient_checkpointing:
            self._norm_statistics = [statistic.clone() for statistic in self.network.buffers()]

    def on_after_backward(self) -> None:
        # Checkpointing runs the network once more, which moves the statistics of batch normalisation a second time.
        if self.config.model.gradient_checkpointing:
            for statistic, before in zip(self.network.buffers(), self._norm_statistics, strict=True):
                statistic.copy_(before)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        # Lightning's own refuses a fused optimiser under mixed precision, also in bf16, where nothing is scaled.
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        self.last_lr = optimizer.param_groups[0]["lr"]  # ahead of the step, behind which the schedule moves on
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.average:
            self.average.update(self.network, self.trainer.global_step + 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        # The average runs as it is: compiling pays where a network runs all day.
        network = self.average.network if self.average else self._compiled[0]
        logits = network(self._laid_out(batch["images"]), *self._facts(batch))[: len(batch["index"])]  # (B, outputs)
        self._validated.append((batch["index"].cpu(), logits.float().cpu()))

    def on_validation_epoch_end(self) -> None:
        """Gathers every rank's predictions, drops what padding repeated, logs the fold's metrics on every rank."""
        index, logits = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        gathered: list[Any] = [(index, logits)]
        if self.trainer.world_size > 1:
            gathered = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, (index, logits))
        index, logits = (torch.cat(parts) for parts in zip(*gathered, strict=True))
        in_order = logits.new_empty(len(self.validation), logits.shape[1])
        in_order[index] = logits  # a repeated example has the same logits twice
        self.log_dict({f"val/{name}": value for name, value in self._metrics(in_order).items()})

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
    def _each(self) -> bool:
        """Whether images are predicted by themselves, too, for the second loss."""
        return self.network.spec.unit == "breast" and self.config.loss.image_weight > 0

    @property
    def _sampler(self) -> Any:
        return self.trainer.datamodule.sampler  # type: ignore[attr-defined]

    def _facts(self, batch: Batch) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Example, table and other breast of a batch's images, as the network takes them: None where there are none."""
        spec = self.network.spec
        return (
            batch["example"] if spec.unit == "breast" else None,
            batch["table"] if spec.inputs else None,
            batch["other"] if spec.compare else None,
        )

    def _laid_out(self, images: Tensor) -> Tensor:
        # As the weights lie: convolutions would otherwise turn every batch over by themselves.
        if self.config.trainer.channels_last:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def _metrics(self, logits: Tensor) -> dict[str, float]:
        """Loss, and pF1, AUROC and AUPRC of breasts, from (n, outputs) logits of every validation example."""
        labels = torch.from_numpy(self.validation.labels(self.targets))
        metrics = {"loss": float(target_loss(logits, labels, self.targets))}
        cancer = probabilities(logits.numpy(), self.targets).get("cancer")
        if cancer is None or not self.validation.positive.any():
            return metrics  # there is nothing to rank
        # Lightning keeps the epoch's before of whatever is left out.
        metrics |= dict.fromkeys(("pf1", "auroc", "auprc"), float("nan"))
        if np.isfinite(cancer).all():
            predictions = self.validation.table.assign(probability=cancer)
            pooled = evaluate(predictions, self.config.evaluation.aggregate, resamples=0).pooled
            metrics |= {"pf1": pooled.pf1_raw, "auroc": pooled.auroc, "auprc": pooled.auprc}
        return metrics


def compiled(network: MammogramNet) -> Callable[..., Tensor]:
    """The network by torch.compile: of breasts one piece of code for any number of images, of which steps have others.

    Without the marks each new number would be compiled anew, minutes each, until torch gives up and runs it as it is.
    """
    fast = torch.compile(network)
    if network.spec.unit == "image":
        return fast

    def of_any_number(images: Tensor, *facts: Tensor | bool | None) -> Tensor:
        for given in (images, *facts):
            if isinstance(given, Tensor):
                torch._dynamo.maybe_mark_dynamic(given, 0)
        logits: Tensor = fast(images, *facts)
        return logits

    return of_any_number


def partner_images(example: Tensor, other: Tensor) -> Tensor:
    """For every image, the one that mixup mixes it with.

    The first image of an example is mixed with the first of the other one, and so on; where that one has fewer, they
    come round again.

    Args:
        example: (N,) int64, the number of the example that each image belongs to, ascending.
        other: (B,) int64, the example that each example is mixed with.

    Returns:
        (N,) int64 places of images.
    """
    counts = torch.bincount(example, minlength=len(other))  # (B,)
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(example), device=example.device) - starts[example]
    return starts[other][example] + place % counts[other][example]
