"""Checkpoints to go on from, and the weights that a run ends with."""

import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from rsna.config.schema import Config
from rsna.files import atomic_path, first_line, require_regular
from rsna.runs.weights import read_weights, write_weights
from rsna.training import ranks, stopping
from rsna.training.callbacks.watch import LossWatch

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
MONITOR = ("val/pf1", "val/loss")
"""What decides which epoch is better: raw pF1, or the loss where cancer is no target."""


def kept_epochs(values: Sequence[float], choose: Literal["last", "best"], soup: int) -> list[int]:
    """Epochs whose weights a fold ends with, in their order, of the metric of every epoch; NaN is never the best."""
    epochs = list(range(len(values)))
    if choose == "best":
        ranked = sorted((e for e in epochs if not math.isnan(values[e])), key=lambda e: (-values[e], e))
        return sorted(ranked[:soup])
    return epochs[-soup:]


class CheckpointError(OSError):
    """A checkpoint that cannot be read; the message says which, why, and how to go on."""


class CheckpointFiles(TorchCheckpointIO):
    """Checkpoints as torch writes and reads them: Lightning's go through memory twice, and through $TMPDIR."""

    def save_checkpoint(self, checkpoint: Mapping[str, Any], path: Any, storage_options: Any = None) -> None:
        try:
            with Path(path).open("wb") as stream:
                torch.save(checkpoint, stream)
        except RuntimeError as error:  # "unexpected pos 704 vs 598": what the disk said stands behind it
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        # weights_only: a checkpoint from anywhere must not run code.
        checkpoint: dict[str, Any] = torch.load(path, map_location, weights_only=True)
        return checkpoint


class Checkpoints(Callback):
    """Saves after every epoch, and within one where asked for; the checkpoint before the last is kept.

    When the process was asked to stop, the step at hand is saved, and the end.

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
        self._last_loads = False
        """Whether last.ckpt may take the place of the one before it."""

    @property
    def kept_epochs(self) -> list[int]:
        """Epochs whose weights the run ends with, in their order."""
        return kept_epochs(self.values, self.choose, self.soup)

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

    def latest(self, module: LightningModule) -> Path | None:
        """The newest checkpoint that training can go on from; one that it cannot is named, and the one before it taken.

        Raises:
            CheckpointError: There are some, and it can from none.
        """
        broken = []
        for file in (self.folder / LAST, self.folder / PREVIOUS):
            if not file.exists():
                continue
            try:
                self._check(file, module)
            except Exception as error:  # a torn file raises whatever its torn bytes look like
                broken.append(file)
                why = f"{type(error).__name__}: {first_line(error)}"
                print(f"{file} does not load ({why})", flush=True)
                continue
            self._last_loads = file.name == LAST
            return file
        if broken:
            raise CheckpointError(
                f"{', '.join(map(str, broken))}: no checkpoint loads; remove {self.folder} to train the fold from its "
                "start, or copy one of them again"
            )
        return None

    def _check(self, file: Path, module: LightningModule) -> None:
        """Every byte against its checksum, the network's shape, and the weights that the run would end with."""
        require_regular(file)
        with zipfile.ZipFile(file) as records:  # as which torch writes it, and of whose checksums it reads none
            if torn := records.testzip():
                raise ValueError(f"{torn} is not what was written")
        state = torch.load(file, "cpu", weights_only=True)
        own, theirs = (
            {k: v.shape for k, v in weights.items()} for weights in (module.state_dict(), state["state_dict"])
        )
        if own != theirs or not {"loops", "optimizer_states", "lr_schedulers"} <= set(state):
            raise ValueError("is of another network")
        values, self.values = self.values, state["callbacks"][self.state_key]["values"]
        try:
            for weights in self.files:
                read_weights(weights)
        finally:
            self.values = values

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stopping.handle_again()
        if self.stops_early:  # it was interrupted between its last epoch and its end
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        accumulated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not accumulated or batch_idx + 1 == trainer.num_training_batches:  # the epoch's end saves by itself
            return
        asked = stopping.is_asked()
        if asked or (self.every_steps and trainer.global_step % self.every_steps == 0):
            self._save(trainer, pl_module)
        if asked:
            self._stop(f"step {trainer.global_step:,}")

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
        if stopping.is_asked():
            self._stop(f"end of epoch {newest + 1}")
        if self.stops_early:
            trainer.should_stop = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self._remove_all_but(set(self.files))

    def _stop(self, where: str) -> NoReturn:
        ranks.wait_for_first()  # whoever ends sooner has the others killed, and the first one writes
        stopping.stop(f"{self.folder.parent.name}, {where}")

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
        self.bind()
        with atomic_path(last) as temporary:
            trainer.save_checkpoint(temporary)
            if self._last_loads:
                last.replace(self.folder / PREVIOUS)
        self._last_loads = True
        self._saved_with, self._saved_with_before = frozenset(self.files), self._saved_with


def average_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of several epochs' weights; of counters the last one's.

    Statistics of batch normalisation are averaged like weights, as for a moving average.

    Raises:
        RunError: A file is missing or broken.
    """
    total: dict[str, Tensor] = {}
    for file in files:
        state = read_weights(file)
        for key, value in state.items():
            floating = value.is_floating_point()
            total[key] = total[key] + value.double() if floating and key in total else value.double()
            if not floating:
                total[key] = value
    return {key: (value / len(files)).float() if value.is_floating_point() else value for key, value in total.items()}
