"""A network's weights on disk: safetensors, whose header holds a checksum of every tensor.

One flipped bit of an exponent makes every breast a cancer, and no reader of safetensors would notice.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rsna.files import first_line, require_regular, write_atomic
from rsna.runs.errors import RunError

_CHECKSUM = "checksum"
_MEND = "copy it again, or remove it: training makes it again of its checkpoints"


def write_weights(state: Mapping[str, Tensor], file: Path) -> None:
    """Writes a network's weights with their checksum.

    Raises:
        WriteError: The disk is full, or the folder may not be written.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    # Through memory: safetensors' own writing leaves a file of a random name where it is killed, and hides errors.
    write_atomic(file, save(state, {_CHECKSUM: _checksum(state)}))


def read_weights(file: Path) -> dict[str, Tensor]:
    """Reads what :func:`write_weights` wrote.

    Raises:
        RunError: It is missing, torn, or not what was written.
    """
    try:
        require_regular(file)
        with safe_open(file, "pt") as stored:
            state = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118  # no mapping
            recorded = (stored.metadata() or {}).get(_CHECKSUM)
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{file}: cannot be loaded: {first_line(error)}; {_MEND}") from error
    if recorded != _checksum(state):
        raise RunError(f"{file}: its weights are not those that were written; {_MEND}")
    return state


def _checksum(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, in the order of their names."""
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
