"""What happens around training: checkpoints, the history of epochs, plain progress lines."""

import csv
import math
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from rsna.files import atomic_path

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
MONITOR = ("val/pf1", "val/loss")
"""What `checkpoint=best` looks at: raw pF1, or the loss where cancer is no target."""


class Checkpoints(Callback):
    """Saves after every epoch, and within one where asked for; the checkpoint before the last is kept."""

    def __init__(self, folder: Path, keep_best: bool, every_steps: int) -> None:
        self.folder, self.keep_best, self.every_steps = folder, keep_best, every_steps
        self.best: float | None = None
        self.best_epoch: int | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        accumulated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        inside = batch_idx + 1 < trainer.num_training_batches
        if self.every_steps and accumulated and inside and trainer.global_step % self.every_steps == 0:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.keep_best and self._is_better(trainer):
            self.best_epoch = trainer.current_epoch
            with atomic_path(self.folder / BEST) as temporary:
                trainer.save_checkpoint(temporary, weights_only=True)
        self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]

    def _is_better(self, trainer: Trainer) -> bool:
        monitor = next(name for name in MONITOR if name in trainer.callback_metrics)
        value = float(trainer.callback_metrics[monitor])
        value = -value if monitor.endswith("loss") else value
        if math.isnan(value) or (self.best is not None and value <= self.best):
            return False
        self.best = value
        return True

    def _save(self, trainer: Trainer) -> None:
        # Every rank dumps, as Lightning asks; the first one writes.
        last = self.folder / LAST
        if not trainer.is_global_zero:
            trainer.save_checkpoint(last)
            return
        with atomic_path(last) as temporary:
            trainer.save_checkpoint(temporary)
            if last.exists():
                last.replace(self.folder / PREVIOUS)


class History(Callback):
    """One CSV row an epoch: losses, learning rate, figures of the validation fold, speed."""

    COLUMNS = (
        "epoch", "step", "lr", "train_loss", "val_loss", "val_pf1", "val_auroc", "val_auprc",
        "images_per_s", "ms_per_step", "waiting_for_data", "peak_memory_mb", "seconds",
    )  # fmt: skip

    def __init__(self, file: Path, global_batch_size: int) -> None:
        self.file, self.global_batch_size = file, global_batch_size
        self.rows: list[dict[str, Any]] = []
        self._started = self._fetching = self._waited = 0.0
        self._steps_before = 0
        self._trained = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._fetching = time.perf_counter()
        self._steps_before, self._waited, self._trained = trainer.global_step, 0.0, 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._fetching:  # resumed within an epoch: Lightning skips its start
            self.on_train_epoch_start(trainer, pl_module)
        self._waited += time.perf_counter() - self._fetching

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._fetching = time.perf_counter()
        self._trained = self._fetching - self._started

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        steps = trainer.global_step - self._steps_before
        seconds = time.perf_counter() - self._started
        row = {
            "epoch": len(self.rows),
            "step": trainer.global_step,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": metrics["train/loss_epoch"],
            **{f"val_{name}": metrics.get(f"val/{name}") for name in ("loss", "pf1", "auroc", "auprc")},
            "images_per_s": round(steps * self.global_batch_size / self._trained, 2),
            "ms_per_step": round(1000 * self._trained / max(steps, 1), 1),
            "waiting_for_data": round(self._waited / self._trained, 4),
            "peak_memory_mb": _peak_memory_mb(),
            "seconds": round(seconds, 2),
        }
        self.rows.append(row)
        if trainer.is_global_zero:
            with atomic_path(self.file) as temporary, temporary.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, self.COLUMNS)
                writer.writeheader()
                writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]


class PlainProgress(Callback):
    """A line every few seconds and one an epoch, for logs and notebooks."""

    EVERY_S = 20.0

    def __init__(self, history: History, label: str, epochs: int) -> None:
        self.history, self.label, self.epochs = history, label, epochs
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_global_zero and time.monotonic() - self._last > self.EVERY_S:
            self._last = time.monotonic()
            loss = float(trainer.callback_metrics.get("train/loss_step", math.nan))
            done = f"{batch_idx + 1}/{trainer.num_training_batches}"
            self._print(f"epoch {trainer.current_epoch + 1}/{self.epochs}, batch {done}, loss {loss:.4f}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self._last = time.monotonic()
            self._print(epoch_line(self.history.rows[-1], self.epochs))

    def _print(self, line: str) -> None:
        print(f"{self.label}: {line}", flush=True)


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """One epoch of the history, for people."""
    figures = [
        f"{label} {row[key]:.4f}"
        for key, label in (
            ("train_loss", "loss"), ("val_loss", "val loss"), ("val_pf1", "raw pF1"), ("val_auroc", "AUROC"),
        )
        if row.get(key) is not None
    ]  # fmt: skip
    return f"epoch {row['epoch'] + 1}/{epochs}, {', '.join(figures)}, {row['images_per_s']:.1f} images/s"


def _peak_memory_mb() -> int:
    """Peak memory of the GPU where there is one, else of this process, in 2^20 bytes."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated() / 2**20)
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
