"""Networks → ONNX, let through only where they predict what torch predicts."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from rsna.collector import collector_off
from rsna.config.verbs import ExportOptions
from rsna.evaluation.tables import text_table
from rsna.files import only_writer, write_atomic
from rsna.inference.backends.parity import check_images, largest_difference
from rsna.inference.batch import Batch
from rsna.parallel.progress import Progress
from rsna.runs.errors import RunError
from rsna.runs.joining import open_members
from rsna.runs.record_file import write_record
from rsna.runs.schema import ExportedFold, ExportRecord
from rsna.runs.trained_ensemble import load_ensemble
from rsna.runs.trained_model import TrainedModel, Weights

if TYPE_CHECKING:
    from rsna.inference.networks import Networks
    from rsna.model.network import MammogramNet

_BATCH = 8


@dataclass(frozen=True)
class Export:
    """What `export` wrote of one model."""

    folder: Path
    images: int
    folds: tuple[ExportedFold, ...]

    def table(self) -> str:
        """Differences and speeds as text."""
        rows = [["", "largest difference", "torch images/s", "onnxruntime images/s"]]
        rows += [
            [f"fold {e.fold}", f"{e.difference:.1e}", f"{e.torch_images_per_s:.1f}", f"{e.onnx_images_per_s:.1f}"]
            for e in self.folds
        ]
        checked = f"{self.folder}: checked on {self.images} images, on the CPU in batches of {_BATCH}"
        return "\n".join([text_table(rows), checked])


def export(options: ExportOptions) -> tuple[list[Export], list[str]]:
    """Writes ``onnx/fold<k>.onnx`` below each run, or the bundle, and there below its members' names where it has
    several; nothing of a model of which any fold fails the check.

    Returns:
        What was written, a model each, and what is to be said of them.

    Raises:
        InUseError: Another process exports it.
        RunError: An archive, nothing to export, no image to check with, probabilities that differ by too much; folds of
            several runs that are not all runs, or of which one lacks a fold.
        PredictionError: Folds of several runs that split the patients otherwise.
    """
    found, notes = list[Export](), dict[str, None]()
    if archives := [run for run in options.run if Path(run).expanduser().is_file()]:
        raise RunError(f"run={archives[0]}: is an archive; unpack it, so that there is a folder to write onnx/ into")
    folds = dict.fromkeys(options.run, options.folds)
    if options.folds and len(options.run) > 1:  # as what joins them means them
        opened = open_members(options.run, options.folds)
        folds = {run: tuple(numbers.values()) for run, (_, numbers) in opened.items()}
    for run in options.run:
        trained = load_ensemble(run, folds[run])
        found += [_export(member, options) for member in trained.members]
        notes |= dict.fromkeys(trained.notes(()))
    return found, list(notes)


def _export(trained: TrainedModel, options: ExportOptions) -> Export:
    images = check_images(trained.preprocess, options.images)
    with collector_off():  # not above: what is refused does not wait for torch
        from rsna.inference.backends.onnx_networks import INDEX, to_onnx

    folder = trained.exports
    models: list[bytes] = []
    folds: list[ExportedFold] = []
    for weights, network in zip(trained.weights, trained.networks(), strict=True):
        with Progress(f"export fold {weights.own}"):
            model = to_onnx(network, trained.preprocess.size)
        with Progress(f"check fold {weights.own} against torch"):
            folds.append(_compare(trained, weights, network, model, images))
        if not folds[-1].difference <= options.tolerance:
            raise RunError(
                f"fold {weights.own} of {trained.name}: ONNX and torch differ by {folds[-1].difference:.2g} in "
                f"probability, more than {options.tolerance:g}; nothing of this model was written"
            )
        models.append(model)
    with only_writer(folder):
        for model, exported in zip(models, folds, strict=True):
            write_atomic(folder / f"fold{exported.fold}.onnx", model)
        write_record(folder / INDEX, ExportRecord(folds={e.fold: e for e in folds}).model_dump(mode="json"))
    return Export(folder, len(images), tuple(folds))


def _compare(
    trained: TrainedModel, weights: Weights, network: "MammogramNet", model: bytes, images: npt.NDArray[Any]
) -> ExportedFold:
    import torch

    from rsna.inference.backends.onnx_networks import OnnxNetworks
    from rsna.inference.networks import TorchNetworks

    ours, theirs = TorchNetworks([network], torch.device("cpu")), OnnxNetworks([model])
    return ExportedFold(
        fold=weights.own,
        sha256=hashlib.sha256(model).hexdigest(),
        weights=weights.sha256,
        difference=largest_difference(theirs, ours, images, trained.cancer_column, trained.spec),
        torch_images_per_s=_images_per_s(ours, images),
        onnx_images_per_s=_images_per_s(theirs, images),
    )


def _images_per_s(networks: "Networks", images: npt.NDArray[Any]) -> float:
    """After a first batch."""
    networks.logits(Batch(images[:_BATCH]))
    started = time.perf_counter()
    for start in range(0, len(images), _BATCH):
        networks.logits(Batch(images[start : start + _BATCH]))
    return len(images) / (time.perf_counter() - started)
