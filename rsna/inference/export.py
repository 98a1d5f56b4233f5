"""Networks → ONNX, let through only where they predict what torch predicts."""

import contextlib
import hashlib
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsna.config.verbs import ExportOptions
from rsna.demo import DemoSettings, write_demo
from rsna.evaluation.calibration import sigmoid
from rsna.evaluation.tables import text_table
from rsna.files import write_atomic, write_json
from rsna.inference.exam import load_test_set
from rsna.inference.networks import TorchNetworks, stack_examples
from rsna.inference.onnx_networks import FOLDER, INDEX, open_session, run_session, to_unit
from rsna.parallel.pool import map_tasks
from rsna.prepare.file_task import prepare_source
from rsna.runs.errors import RunError
from rsna.runs.schema import ExportedFold, ExportRecord
from rsna.runs.trained_model import TrainedModel, Weights, load_trained

_CHECKED = 16
"""Images of the parity check at most."""

_BATCH = 8


@dataclass(frozen=True)
class Export:
    """What `export` wrote."""

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
        return f"{text_table(rows)}\n{self.folder}: checked on {self.images} images, on the CPU in batches of {_BATCH}"


def export(options: ExportOptions) -> Export:
    """Writes ``onnx/fold<k>.onnx`` below the run or bundle; nothing where any fold fails the check.

    Raises:
        RunError: Nothing to export, no image to check with, or probabilities that differ by more than allowed.
    """
    trained = load_trained(options.run, options.folds)
    images = _check_images(trained, options.images)
    folder = trained.source / FOLDER
    models: list[bytes] = []
    folds: list[ExportedFold] = []
    for weights, network in zip(trained.weights, trained.networks(), strict=True):
        model = to_onnx(network, trained.preprocess.size)
        folds.append(_compare(trained, weights, network, model, images))
        if folds[-1].difference > options.tolerance:
            raise RunError(
                f"fold {weights.fold}: ONNX and torch differ by {folds[-1].difference:.2g} in probability, more than "
                f"{options.tolerance:g}; nothing was written"
            )
        models.append(model)
    for model, exported in zip(models, folds, strict=True):
        write_atomic(folder / f"fold{exported.fold}.onnx", model)
    write_json(folder / INDEX, ExportRecord(folds={e.fold: e for e in folds}).model_dump(mode="json"))
    return Export(folder, len(images), tuple(folds))


def to_onnx(network: torch.nn.Module, size: tuple[int, int]) -> bytes:
    """A network as ONNX.

    Its inputs are ``images`` (N, 1, H, W) float32 in [0, 1] with any N, and ``example`` (N,) int64, the number of the
    example that each image belongs to, 0 to B - 1; its output is ``logits`` (N, outputs) float32, of which row b is
    example b, and rows from B on mean nothing.
    """
    network = network.cpu().eval()
    # Three images of two examples: a batch of one would be taken for a constant.
    images, example = torch.zeros(3, 1, *size), torch.tensor([0, 0, 1])
    any_number = torch.export.Dim("images")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")  # the exporter warns of its own workings, dozens of times
        file = Path(folder) / "network.onnx"
        torch.onnx.export(
            network,
            (images, example),
            str(file),
            input_names=["images", "example"],
            output_names=["logits"],
            dynamic_shapes=({0: any_number}, {0: any_number}),
            dynamo=True,
            external_data=False,
        )
        return file.read_bytes()


def _check_images(trained: TrainedModel, folder: str) -> npt.NDArray[Any]:
    """(N, H, W) prepared images, N at least 1."""
    with tempfile.TemporaryDirectory() as temporary:
        if not folder:
            folder = f"{temporary}/demo"
            write_demo(folder, DemoSettings(n_train=1, n_test=2), workers=1)
        images = load_test_set(folder).images
        paths = images.loc[images["failure"].eq(""), "path"].tolist()[:_CHECKED]
        outcomes = map_tasks(partial(prepare_source, settings=trained.preprocess), paths)
        pixels = [outcome.value.pixels for outcome in outcomes if outcome.value is not None]
    if not pixels:
        raise RunError(f"images={folder}: none of its images could be read")
    return np.stack(pixels)


def _compare(
    trained: TrainedModel, weights: Weights, network: Any, model: bytes, images: npt.NDArray[Any]
) -> ExportedFold:
    session = open_session(model)
    networks = TorchNetworks([network], torch.device("cpu"), "32")
    column = trained.cancer_column
    ours, torch_speed = _timed(lambda part: networks.logits(part)[0], images, _BATCH)
    theirs, onnx_speed = _timed(lambda part: run_session(session, to_unit(part)), images, _BATCH)
    single, _ = _timed(lambda part: run_session(session, to_unit(part)), images, 1)
    # The last of an odd number of images is an example by itself.
    together, example = stack_examples([list(images[start : start + 2]) for start in range(0, len(images), 2)])
    ours_together = networks.logits(together, example=example)[0]
    theirs_together = run_session(session, to_unit(together), example)
    difference = max(
        float(np.abs(sigmoid(found[:, column]) - sigmoid(expected[:, column])).max())
        for found, expected in ((theirs, ours), (single, ours), (theirs_together, ours_together))
    )
    return ExportedFold(
        fold=weights.fold,
        sha256=hashlib.sha256(model).hexdigest(),
        weights=weights.sha256,
        difference=difference,
        torch_images_per_s=torch_speed,
        onnx_images_per_s=onnx_speed,
    )


def _timed(
    predict: Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]], images: npt.NDArray[Any], size: int
) -> tuple[npt.NDArray[np.float32], float]:
    """Logits of all images, and images per second after a first batch."""
    predict(images[:size])
    started = time.perf_counter()
    found = [predict(images[start : start + size]) for start in range(0, len(images), size)]
    return np.concatenate(found), len(images) / (time.perf_counter() - started)


@contextlib.contextmanager
def _quiet() -> Any:
    """Keeps the exporter's own report from the terminal; errors are raised all the same."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)
