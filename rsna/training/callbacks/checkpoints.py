"""Checkpoints to go on from, and the weights that a run ends with."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rsna.config.schema import Config
from rsna.files import atomic_path, first_line
from rsna.training.callbacks.watch import LossWatch

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
MONITOR = ("val/pf1", "val/loss")
"""What decides which epoch is better: raw pF1, or the loss where cancer is no target."""


class CheckpointError(OSError):
    """A checkpoint that cannot be written or read; the message says which, why, and what still loads."""


class Checkpoints(Callback):
    """Saves after every epoch, and within one where asked for; the checkpoint before the last is kept.

    Besides, the weights that the run may end with are kept, each epoch's as ``epoch<n>.safetensors``: the last ones, or
    the best ones. With ``patience`` it ends training when no epoch has been better for so long.
    """

    def __init__(self, folder: Path, watch: LossWatch, config: Config, bind: Callable[[], None]) -> None:
        """``bind`` is called before anything is saved: from then on the run folder belongs to this experiment."""
        self.folder, self.watch, self.bind = folder, watch, bind
        self.choose, self.soup, self.patience = config.checkpoint, config.soup, config.trainer.patience
        self.every_steps = config.trainer.checkpoint_every_steps
        self.values: list[float] = []
        """Metric of every epoch so far, larger is better; NaN where there was none."""
        self._saved_with = self._saved_with_before = frozenset[Path]()
        """Files of weights that the last checkpoint, and the one before it, would end with."""

    @property
    def kept_epochs(self) -> list[int]:
        """Epochs whose weights the run ends with, in their order."""
        epochs = list(range(len(self.values)))
        if self.choose == "best":
            ranked = sorted((e for e in epochs if not math.isnan(self.values[e])), key=lambda e: (-self.values[e], e))
            return sorted(ranked[: self.soup])
        return epochs[-self.soup :]

    @property
    def files(self) -> list[Path]:
        """Their weights."""
        return [self._file(epoch) for epoch in self.kept_epochs]

    @property
    def stops_early(self) -> bool:
        """Whether no epoch was better than an earlier one for ``patience`` epochs."""
        known = [value for value in self.values if not math.isnan(value)]
        if not self.patience or not known:
            return False
        return len(self.values) - 1 - self.values.index(max(known)) >= self.patience

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.stops_early:  # it was interrupted between its last epoch and its end
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        accumulated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        inside = batch_idx + 1 < trainer.num_training_batches
        if self.every_steps and accumulated and inside and trainer.global_step % self.every_steps == 0:
            self._save(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.watch.read(trainer)
        self.watch.check_weights(pl_module)
        if trainer.is_global_zero:
            self.bind()
        monitor = next(name for name in MONITOR if name in trainer.callback_metrics)
        value = float(trainer.callback_metrics[monitor])
        self.values.append(-value if monitor.endswith("loss") else value)
        newest = len(self.values) - 1
        if trainer.is_global_zero and newest in self.kept_epochs:
            write_weights(pl_module.evaluated_network.state_dict(), self._file(newest))  # type: ignore[union-attr]
        self._save(trainer, pl_module)
        if trainer.is_global_zero:
            # What the checkpoint before the last would end with stays, too: a run may have to go on from that one.
            self._remove_all_but({*self._saved_with_before, *self.files})
        if self.stops_early:
            trainer.should_stop = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self._remove_all_but(set(self.files))

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.values = state_dict["values"]
        self._saved_with = frozenset(self.files)

    def _remove_all_but(self, wanted: set[Path]) -> None:
        for file in set(self.folder.glob("epoch*.safetensors")) - wanted:
            file.unlink()

    def _file(self, epoch: int) -> Path:
        return self.folder / f"epoch{epoch + 1:04d}.safetensors"

    def _save(self, trainer: Trainer, module: LightningModule) -> None:
        self.watch.read(trainer)
        self.watch.check_weights(module)
        # Every rank dumps, as Lightning asks; the first one writes.
        last = self.folder / LAST
        if not trainer.is_global_zero:
            trainer.save_checkpoint(last)
            return
        try:
            self.bind()
            with atomic_path(last) as temporary:
                trainer.save_checkpoint(temporary)
                if last.exists():
                    last.replace(self.folder / PREVIOUS)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError when its zip file cannot be written
            raise _not_written(last, error) from error
        self._saved_with, self._saved_with_before = frozenset(self.files), self._saved_with


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that loads; one that does not is named and the one before it is taken.

    Raises:
        CheckpointError: There are some and none loads.
    """
    broken = []
    for file in (folder / LAST, folder / PREVIOUS):
        if not file.exists():
            continue
        try:
            torch.load(file, "cpu", weights_only=True)
        except Exception as error:  # a torn file raises whatever its torn bytes look like
            broken.append(file)
            print(f"{file} does not load ({type(error).__name__}: {first_line(error)})", flush=True)
            continue
        return file
    if broken:
        raise CheckpointError(
            f"{', '.join(map(str, broken))}: no checkpoint loads; remove {folder} to train the fold from its start"
        )
    return None


def write_weights(state: dict[str, Tensor], file: Path) -> None:
    """Writes a network's weights as safetensors.

    Raises:
        CheckpointError: The disk is full, or the folder may not be written.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    try:
        with atomic_path(file) as temporary:
            save_file(state, temporary)
    except (OSError, SafetensorError) as error:
        raise _not_written(file, error) from error


def average_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of several epochs' weights; of counters the last one's.

    Statistics of batch normalisation are averaged like weights, as for a moving average.

    Raises:
        CheckpointError: A file is missing or broken.
    """
    total: dict[str, Tensor] = {}
    for file in files:
        try:
            state = load_file(file)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{file}: the weights of an epoch that counts cannot be read: {error}") from error
        for key, value in state.items():
            floating = value.is_floating_point()
            total[key] = total[key] + value.double() if floating and key in total else value.double()
            if not floating:
                total[key] = value
    return {key: (value / len(files)).float() if value.is_floating_point() else value for key, value in total.items()}


def _not_written(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{file}: cannot be written ({first_line(error)}). Free space or mend the folder; the same command then goes "
        "on from the checkpoint before, which is untouched"
    )
