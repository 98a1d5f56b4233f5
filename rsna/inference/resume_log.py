"""What was predicted so far, a line an example, so that a second start goes on."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsna.files import fingerprint, write_atomic

Logits = npt.NDArray[np.float32]
"""(passes,) cancer logits, one for every pass that the example had: under a time budget some have fewer."""


class ResumeLog:
    """An append-only file of JSON lines; the first says what the predictions were made with.

    Failures are not kept: a file that could not be read, or a device that was gone, is tried again.
    """

    def __init__(self, file: Path, key: Mapping[str, Any]) -> None:
        """Opens the file; where its first line is not ``key``, it is begun anew."""
        self.file = file
        self._known = self._read(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._stream = file.open("a" if self._known else "w", buffering=1)  # line by line: a kill costs one at most
        if not self._known:
            self._write(dict(key))

    def get(self, example_id: str, paths: Sequence[str]) -> Logits | None:
        """What was predicted for an example of these very files; None where nothing was."""
        sources, logits = self._known.get(example_id, ([], []))
        if not logits or sources != [_fingerprint(path) for path in paths]:
            return None
        return np.asarray(logits, dtype=np.float32)

    def add(self, example_id: str, paths: Sequence[str], logits: Logits) -> None:
        """Keeps the logits of an example, all of whose files were used."""
        sources = [_fingerprint(path) for path in paths]
        self._write({"example": example_id, "sources": sources, "logits": [float(v) for v in logits]})

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()

    def _write(self, value: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(value) + "\n")

    def _read(self, key: Mapping[str, Any]) -> dict[str, tuple[list[str], list[float]]]:
        known: dict[str, tuple[list[str], list[float]]] = {}
        lines = self.file.read_text(errors="replace").splitlines() if self.file.is_file() else []
        good = 1
        # A line that was being written when the run was killed ends what can be read.
        with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
            if json.loads(lines[0]) == dict(key):
                for line in lines[1:]:
                    one = json.loads(line)
                    known[one["example"]] = (list(one["sources"]), list(one["logits"]))
                    good += 1
        if known and good < len(lines):
            write_atomic(self.file, "".join(f"{line}\n" for line in lines[:good]))
        return known


def _fingerprint(path: str) -> str:
    try:
        return fingerprint(path)
    except OSError:
        return "gone"
