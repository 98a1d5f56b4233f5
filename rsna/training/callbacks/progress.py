"""How far a fold is: its clock over every batch, and a line an epoch."""

import math
from contextlib import ExitStack
from typing import Any, Self

from pytorch_lightning import Callback, LightningModule, Trainer

from rsna.config.training import TrainerSettings
from rsna.parallel.progress import Progress, say
from rsna.training import ranks
from rsna.training.callbacks.history import History
from rsna.training.callbacks.watch import LossWatch
from rsna.training.data.module import MammogramData


class FoldProgress(Callback):
    """A context around Trainer.fit: counts the batches that are left, those of validation as well, on the first rank.

    On standard error how far it is, on standard output a line an epoch.
    """

    def __init__(self, history: History, watch: LossWatch, fold: int, settings: TrainerSettings) -> None:
        self.history, self.watch, self.fold, self.epochs = history, watch, fold, settings.epochs
        self._speaks = settings.progress == "auto" and ranks.is_first_rank()
        self.clock = Progress(f"fold {fold}", unit="batches")
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if self._speaks:
            self._open.enter_context(self.clock)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.clock.total is None:  # resumed within an epoch: Lightning skips its start
            self._count(trainer, batch_idx)
        # The first loss is read one batch later.
        loss = "" if math.isnan(self.watch.last) else f", loss {self.watch.last:.4f}"
        self.clock.note = f"epoch {trainer.current_epoch + 1}/{self.epochs}{loss}"
        self.clock.step()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.clock.note = f"epoch {trainer.current_epoch + 1}/{self.epochs}, validates"
        self.clock.step()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._speaks:
            say(f"fold {self.fold}: {_epoch_line(self.history.rows[-1], self.epochs)}")

    def _count(self, trainer: Trainer, position: int = 0) -> None:
        """Batches of this epoch from a position on, and of those after it, added to what is behind."""
        batches: MammogramData = trainer.datamodule  # type: ignore[attr-defined]
        an_epoch = len(batches.sampler) + len(batches.shard)
        self.clock.total = self.clock.done + (self.epochs - trainer.current_epoch) * an_epoch - position


def _epoch_line(row: dict[str, Any], epochs: int) -> str:
    """One epoch of the history, for people."""
    metrics = [
        f"{label} {row[key]:.4f}"
        for key, label in (
            ("train_loss", "loss"), ("val_loss", "val loss"), ("val_pf1", "val raw pF1 by breast"),
            ("val_auroc", "AUROC"),
        )
        if row.get(key) is not None
    ]  # fmt: skip
    speed = f"{row['images_per_s']:.1f} images/s, {row['waiting_for_data']:.0%} of it waiting for data"
    return f"epoch {row['epoch'] + 1}/{epochs}, {', '.join(metrics)}, {speed}"
