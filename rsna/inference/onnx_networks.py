"""Exported networks, run by onnxruntime on the CPU."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from rsna.inference.pass_plan import PassPlan
from rsna.parallel.pool import available_cores
from rsna.runs.errors import RunError
from rsna.runs.schema import ExportRecord, read_bytes, read_record
from rsna.runs.trained_model import TrainedModel

FOLDER, INDEX = "onnx", "export.json"
"""Where exports lie below a run or a bundle, and what says of which weights they are."""


class OnnxNetworks:
    """The folds of a trained model; as :class:`rsna.inference.networks.TorchNetworks`, without torch."""

    def __init__(self, trained: TrainedModel) -> None:
        """Opens every fold's export.

        Raises:
            RunError: What :func:`read_exports` refuses, or a file that was changed.
        """
        self._sessions = []
        for file, sha256 in read_exports(trained).items():
            content = read_bytes(file)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise RunError(f"{file}: its SHA-256 is not the recorded one")
            self._sessions.append(open_session(content))

    def logits(
        self, images: npt.NDArray[Any], plan: PassPlan | None = None, example: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """See :meth:`rsna.inference.networks.Networks.logits`."""
        plan = plan or PassPlan(len(self._sessions), False)
        batch = to_unit(images)
        predicted = []
        for view in (batch, np.ascontiguousarray(batch[..., ::-1])) if plan.flip else (batch,):
            predicted += [run_session(session, view, example) for session in self._sessions[: plan.networks]]
        return np.stack(predicted)


def read_exports(trained: TrainedModel) -> dict[Path, str]:
    """File of each fold's network → the SHA-256 that it must have.

    Raises:
        RunError: Not exported, or exported from other weights.
    """
    folder = trained.source / FOLDER
    if not (folder / INDEX).is_file():
        raise RunError(f"{folder}: there is no export; write one with rsna export run={trained.source}")
    index = read_record(ExportRecord, folder / INDEX).folds
    files = {}
    for weights in trained.weights:
        entry = index.get(weights.fold)
        if entry is None or entry.weights != weights.sha256:
            raise RunError(f"{folder}: is not of these weights of fold {weights.fold}; write it again with rsna export")
        files[folder / f"fold{weights.fold}.onnx"] = entry.sha256
    return files


def open_session(model: bytes | Path) -> Any:
    """An onnxruntime session on the CPU that keeps to the cores of this process."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    # Threads that wait by spinning would take the cores from the processes that prepare.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


def run_session(
    session: Any, images: npt.NDArray[np.float32], example: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.float32]:
    """(N, 1, H, W) float32 in [0, 1], and (N,) their examples where they are not one each → (B, outputs) logits."""
    if example is None:
        example = np.arange(len(images), dtype=np.int64)
    logits: npt.NDArray[np.float32] = session.run(None, {"images": images, "example": example})[0]
    return logits[: example[-1] + 1]


def to_unit(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(N, H, W) uint8 or uint16 → (N, 1, H, W) float32 in [0, 1], in the arithmetic that torch uses."""
    return images[:, None].astype(np.float32) / np.float32(np.iinfo(images.dtype).max)
