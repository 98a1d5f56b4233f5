"""One row an epoch: losses, learning rate, metrics of the validation fold, speed; as CSV and as a picture."""

import contextlib
import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from rsna.config.schema import Config
from rsna.files import atomic_path
from rsna.runs.schema import HISTORY
from rsna.training.callbacks.checkpoints import kept_epochs
from rsna.training.callbacks.curves import draw_history, monitored
from rsna.training.callbacks.watch import LossWatch

DRAWN_EVERY_S = 30.0
"""Seconds between two pictures, which take half a second: short epochs shall not wait for them."""


class Waiting(Callback):
    """How long training waits for its data; stands behind every other callback, whose time is none of it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """Of this epoch."""
        self._since: float | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds, self._since = 0.0, time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._since is not None:  # it is where a run resumes within an epoch: Lightning skips the epoch's start
            self.seconds += time.perf_counter() - self._since

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._since = time.perf_counter()


class History(Callback):
    """Keeps the rows; writes ``history.csv`` after every epoch, and ``history.png`` then or within half a minute."""

    COLUMNS = (
        "epoch", "step", "lr", "train_loss", "val_loss", "val_pf1", "val_auroc", "val_auprc",
        "images_per_s", "ms_per_step", "waiting_for_data", "peak_memory_mb", "seconds",
    )  # fmt: skip
    """waiting_for_data is a share of the training time; peak memory is in 2^20 bytes; seconds are those of all starts,
    what stands before them is of the last one where an epoch was resumed."""

    def __init__(self, folder: Path, watch: LossWatch, waiting: Waiting, config: Config) -> None:
        self.folder, self.watch, self.waiting = folder, watch, waiting
        self.choose, self.soup = config.checkpoint, config.soup
        self.rows: list[dict[str, Any]] = []
        self._started = self._trained = 0.0
        self._before = 0.0
        """Seconds of this epoch in earlier starts."""
        self._steps_before = self._images = 0
        self._drawn = -math.inf

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before = 0.0
        self._start(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._started:  # resumed within an epoch: Lightning skips its start
            self._start(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._trained = time.perf_counter() - self._started
        self._images += len(batch["images"]) * trainer.world_size  # an example may have several

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        steps = trainer.global_step - self._steps_before
        row = {
            "epoch": len(self.rows),
            "step": trainer.global_step,
            # The last step's: the schedule has moved on by now.
            "lr": pl_module.last_lr,
            "train_loss": self.watch.mean(trainer),
            **{f"val_{name}": metrics.get(f"val/{name}") for name in ("loss", "pf1", "auroc", "auprc")},
            "images_per_s": round(self._images / max(self._trained, 1e-9), 2),
            "ms_per_step": round(1000 * self._trained / max(steps, 1), 1),
            "waiting_for_data": round(self.waiting.seconds / max(self._trained, 1e-9), 4),
            "peak_memory_mb": _peak_memory_mb(),
            "seconds": round(self._spent, 2),
        }
        self.rows.append(row)
        self._before, self._started = 0.0, time.perf_counter()
        if trainer.is_global_zero:
            with atomic_path(self.folder / HISTORY) as temporary:
                pd.DataFrame(self.rows, columns=self.COLUMNS).to_csv(temporary, index=False)
            if time.monotonic() - self._drawn > DRAWN_EVERY_S:
                self._draw()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and self.rows:
            self._draw()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        with contextlib.suppress(OSError):  # on a full disk, for one, the error that is under way says more
            self.on_fit_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "spent": self._spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Checkpoints of earlier versions do not say it.
        self.rows, self._before = state_dict["rows"], state_dict.get("spent", 0.0)

    @property
    def _spent(self) -> float:
        """Seconds of this epoch so far, those of earlier starts among them."""
        return self._before + (time.perf_counter() - self._started if self._started else 0.0)

    def _start(self, trainer: Trainer) -> None:
        self._started = time.perf_counter()
        self._steps_before, self._images, self._trained = trainer.global_step, 0, 0.0

    def _draw(self) -> None:
        counted = kept_epochs(monitored(self.rows), self.choose, self.soup)
        title = f"{self.folder.parent.name}, {self.folder.name}"
        draw_history(self.rows, self.folder / "history.png", title, counted)
        self._drawn = time.monotonic()


def seconds_of_epochs(folder: Path) -> float | None:
    """Seconds of every epoch of a fold, whichever start they were trained in; None where its history.csv is gone."""
    file = folder / HISTORY
    return float(pd.read_csv(file)["seconds"].sum()) if file.is_file() else None


def _peak_memory_mb() -> int:
    """Peak memory of the GPU where there is one, else of this process, in 2^20 bytes."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated() / 2**20)
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
