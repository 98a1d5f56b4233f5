"""Progress: rich bars on a terminal, plain lines in a log or notebook."""

import math
import time
from collections.abc import Sequence
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

from rsna.config.training import TrainerSettings
from rsna.training.callbacks.history import History
from rsna.training.callbacks.watch import LossWatch


class PlainProgress(Callback):
    """A line every few seconds and one an epoch."""

    def __init__(self, history: History, watch: LossWatch, fold: int, epochs: int, every_s: float = 20.0) -> None:
        self.history, self.watch, self.fold, self.epochs, self.every_s = history, watch, fold, epochs, every_s
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_global_zero and time.monotonic() - self._last > self.every_s:
            self._last = time.monotonic()
            done = f"{batch_idx + 1}/{trainer.num_training_batches}"
            # The first loss is read one batch later.
            loss = "" if math.isnan(self.watch.last) else f", loss {self.watch.last:.4f}"
            self._print(f"epoch {trainer.current_epoch + 1}/{self.epochs}, batch {done}{loss}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self._last = time.monotonic()
            self._print(_epoch_line(self.history.rows[-1], self.epochs))

    def _print(self, line: str) -> None:
        print(f"fold {self.fold}: {line}", flush=True)


def progress_callbacks(settings: TrainerSettings, history: History, watch: LossWatch, fold: int) -> Sequence[Callback]:
    """What shows progress here; ``auto`` looks at where the output goes."""
    kind = settings.progress
    if kind == "auto":
        import rich

        console = rich.get_console()
        kind = "rich" if console.is_terminal and not console.is_jupyter else "plain"
    if kind == "none":
        return []
    if kind == "rich":
        # The bar shows the steps; the line of an epoch stays on the screen.
        plain = PlainProgress(history, watch, fold, settings.epochs, every_s=float("inf"))
        return [RichProgressBar(leave=False), plain]
    return [PlainProgress(history, watch, fold, settings.epochs)]


def _epoch_line(row: dict[str, Any], epochs: int) -> str:
    """One epoch of the history, for people."""
    metrics = [
        f"{label} {row[key]:.4f}"
        for key, label in (
            ("train_loss", "loss"), ("val_loss", "val loss"), ("val_pf1", "raw pF1"), ("val_auroc", "AUROC"),
        )
        if row.get(key) is not None
    ]  # fmt: skip
    speed = f"{row['images_per_s']:.1f} images/s, {row['waiting_for_data']:.0%} of it waiting for data"
    return f"epoch {row['epoch'] + 1}/{epochs}, {', '.join(metrics)}, {speed}"
