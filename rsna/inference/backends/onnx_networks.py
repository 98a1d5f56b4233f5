"""Networks as ONNX, run by onnxruntime on the CPU."""

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from rsna.config.training import Precision
from rsna.cores import thread_count
from rsna.files import sha256
from rsna.inference.batch import Batch, trial_inputs
from rsna.inference.pass_plan import PassPlan
from rsna.model.network import MammogramNet
from rsna.runs.errors import RunError
from rsna.runs.record_file import read_record
from rsna.runs.schema import ExportRecord
from rsna.runs.trained_model import TrainedModel

INDEX = "export.json"
"""What says of which weights exports are."""


class OnnxNetworks:
    """The folds of a run: the counterpart of :class:`rsna.inference.networks.TorchNetworks`, without torch."""

    batch_invariant = False
    precision: Precision = "32"

    def __init__(self, models: Sequence[bytes | Path]) -> None:
        """Opens the network of every fold, in memory or in a file."""
        self._sessions = [open_session(model) for model in models]

    def logits(self, batch: Batch, plan: PassPlan | None = None) -> npt.NDArray[np.float32]:
        """See :meth:`rsna.inference.networks.Networks.logits`."""
        plan = plan or PassPlan(len(self._sessions), False)
        images = batch.as_unit()
        views = (images, np.ascontiguousarray(images[..., ::-1])) if plan.flip else (images,)
        return np.stack([_run(session, view, batch) for view in views for session in self._sessions[: plan.networks]])


def find_exports(trained: TrainedModel) -> list[Path]:
    """The files that ``rsna export`` wrote of these very weights, one a fold; none where it did not.

    Raises:
        RunError: A file of them was changed.
    """
    folder = trained.exports
    if not (folder / INDEX).is_file():
        return []
    index = read_record(ExportRecord, folder / INDEX).folds
    entries = [index[weights.own] for weights in trained.weights if weights.own in index]
    if [entry.weights for entry in entries] != [weights.sha256 for weights in trained.weights]:
        return []
    files = [folder / f"fold{entry.fold}.onnx" for entry in entries]
    for file, entry in zip(files, entries, strict=True):
        if not file.is_file() or sha256(file) != entry.sha256:
            raise RunError(f"{file}: its SHA-256 is not the recorded one; write it again with rsna export")
    return files


def open_session(model: bytes | Path) -> Any:
    """An onnxruntime session on the CPU that keeps to the cores of this process."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    # Threads that wait by spinning would take the cores from the processes that prepare.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


def _run(session: Any, images: npt.NDArray[np.float32], batch: Batch) -> npt.NDArray[np.float32]:
    """(B, outputs) logits of a network that :func:`to_onnx` made: (N, 1, H, W) images of a batch, perhaps mirrored."""
    given: dict[str, npt.NDArray[Any]] = {"images": images, "example": batch.numbers}
    for wanted in session.get_inputs():
        if wanted.name == "table":
            given["table"] = batch.table_of(wanted.shape[1])
        elif wanted.name == "other":
            given["other"] = batch.others
    logits: npt.NDArray[np.float32] = session.run(None, given)[0]
    return logits[: len(batch)]


def to_onnx(network: MammogramNet, size: tuple[int, int]) -> bytes:
    """A network as ONNX.

    Its inputs are ``images`` (N, 1, H, W) float32 in [0, 1] with any N, and ``example`` (N,) int64, the number of the
    example that each image belongs to, 0 to B - 1. A network that is told more of images than their pixels takes
    ``table`` (N, inputs) float32, NaN where unknown; one that compares breasts ``other`` (N,) bool. Its output is
    ``logits`` (N, outputs) float32, of which row b is example b, and rows from B on mean nothing.
    """
    network = network.cpu().eval()
    given = trial_inputs(network.spec, size)
    any_number = torch.export.Dim("images")
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")  # the exporter warns of its own workings, dozens of times
        program = torch.onnx.export(
            network,
            tuple(given.values()),
            input_names=[name for name, value in given.items() if value is not None],
            output_names=["logits"],
            dynamic_shapes=tuple(None if value is None else {0: any_number} for value in given.values()),
            dynamo=True,
        )
    assert program is not None  # it is where no file is named
    return bytes(program.model_proto.SerializeToString())


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
