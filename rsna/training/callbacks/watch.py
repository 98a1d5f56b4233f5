"""Reads every loss without making the device wait, and stops training when one is not finite."""

import math
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from rsna.training import ranks

_SHOWN = 16
"""Examples that an error lists."""


class DivergedError(RuntimeError):
    """The loss or a weight is not finite; the message names the batch and what to try."""


class LossWatch(Callback):
    """Mean loss of the epoch so far; a loss that is not finite ends training.

    A loss is read one batch later, while the device works on the next, and at once before anything is saved.
    """

    def __init__(self, fold: int) -> None:
        self.fold = fold
        self.last = math.nan
        """Loss of the newest batch that has been read."""
        self._sum, self._count = 0.0, 0
        self._pending: tuple[Tensor, Any, Tensor] | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._sum, self._count = 0.0, 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.read(trainer)
        # Lightning has divided it by the number of accumulated batches.
        loss = (outputs["loss"].detach() * trainer.accumulate_grad_batches).to("cpu", non_blocking=True)
        copied = None
        if pl_module.device.type == "cuda":
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        self._pending = (loss, copied, batch["index"])

    def read(self, trainer: Trainer) -> None:
        """Takes in the pending loss.

        Raises:
            DivergedError: It is not finite.
        """
        if self._pending is None:
            return
        loss, copied, index = self._pending
        self._pending = None
        if copied is not None:
            copied.synchronize()
        self.last = float(loss)
        if not math.isfinite(self.last):
            examples = trainer.datamodule.training.examples  # type: ignore[attr-defined]
            named = ", ".join(examples.ids[i] for i in index[:_SHOWN].tolist())
            raise DivergedError(
                f"fold {self.fold}: the loss is {self.last} after {trainer.global_step} steps, in the batch of "
                f"{examples.unit}s {named}. The last checkpoint is from before and loads; try a lower optim.lr, "
                "a longer optim.warmup_epochs, trainer.precision=32, and look at these images with `rsna browse`"
            )
        self._sum += self.last
        self._count += 1

    def mean(self, trainer: Trainer) -> float:
        """Mean loss of the epoch over all ranks."""
        self.read(trainer)
        return ranks.mean(self._sum) / max(self._count, 1)

    def check_weights(self, module: LightningModule) -> None:
        """Ahead of saving: on another rank the loss may have been the one.

        Raises:
            DivergedError: A weight is not finite.
        """
        for name, parameter in module.named_parameters():
            if not torch.isfinite(parameter).all():
                raise DivergedError(
                    f"fold {self.fold}: {name} is not finite, so nothing is saved over the last good checkpoint; "
                    "try a lower optim.lr, a longer optim.warmup_epochs or trainer.precision=32"
                )

    def state_dict(self) -> dict[str, Any]:
        # One rank writes, and all read it: what every rank has lost on average.
        return {"sum": ranks.mean(self._sum), "count": self._count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._sum, self._count = state_dict["sum"], state_dict["count"]
