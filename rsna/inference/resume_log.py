"""What was predicted so far, a line an example, so that a second start goes on; its room is for results at the end."""

import contextlib
import errno
import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from rsna.config.settings import differences
from rsna.files import require_regular, stamp, write_atomic
from rsna.parallel.progress import say

log = logging.getLogger(__name__)

Logits = npt.NDArray[np.float32]
"""(passes,) cancer logits, one for every pass that the example had, from the first of the plan's: under a time budget
some have fewer."""
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading a line raises that is not whole."""

T = TypeVar("T")


class SaveError(RuntimeError):
    """The results are not where they were wanted; the message says where they are."""


class ResumeLog:
    """An append-only file of JSON lines; the first says what the predictions were made with.

    Failures are not kept: a file that could not be read, or a device that was gone, is tried again. A log that cannot
    be written, on a full disk for one, costs what it would have saved and nothing else. Every line but the first has
    a checksum of itself: a changed digit is still a number. What is torn or damaged is predicted anew.
    """

    def __init__(self, file: Path, key: Mapping[str, Any], passes: int) -> None:
        """Opens the file; where its first line is not ``key``, it is begun anew.

        Args:
            file: JSON lines.
            key: What the predictions are made with.
            passes: The most that an example can have had.

        Raises:
            OSError: Its name is that of a pipe or a folder.
        """
        self.file, self._passes, self._key = file, passes, dict(key)
        self._known: dict[str, tuple[list[str], list[float]]] = {}
        self._used: dict[str, str] = {}
        self._stream: IO[bytes] | None = None
        self._full = False
        if file.exists():
            require_regular(file)
            self._read(key)
        with self._expecting_no_room():
            self._stream = file.open("ab", buffering=0)  # a kill costs a line at most
            if not self._known:
                self._stream.truncate(0)
        if not self._known:
            self._write(json.dumps(self._key))

    def __len__(self) -> int:
        """Examples that an earlier start predicted, of whatever files."""
        return len(self._known)

    def get(self, example_id: str, paths: Sequence[str]) -> Logits | None:
        """What an earlier start predicted for an example of these very files; None where nothing was."""
        if example_id not in self._known:
            return None
        sources, logits = self._known[example_id]
        with contextlib.suppress(OSError):
            if sources == [stamp(path) for path in paths]:
                self._used.update(zip(paths, sources, strict=True))
                return np.asarray(logits, dtype=np.float32)
        return None

    def take_over(self, files: Iterable[Path], wanted: Collection[str]) -> None:
        """Copies what other logs of the same key know of these examples: a set may have been cut into other shards."""
        for file in files:
            lines: list[str] = []
            with contextlib.suppress(OSError, ValueError, RecursionError):
                require_regular(file)
                first, *lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
                lines = lines if json.loads(first) == self._key else []
            for line in lines:
                with contextlib.suppress(*_DAMAGED):  # also of a shard that is at work
                    example_id, sources, logits = self._from_line(line)
                    if example_id in wanted and example_id not in self._known:
                        self._known[example_id] = sources, logits
                        self._write(line)

    def add(self, example_id: str, paths: Sequence[str], stamps: Sequence[str], logits: Logits | None) -> None:
        """Keeps the logits of an example, and the stamps of its files.

        Args:
            paths: Its files.
            stamps: Of these, from before they were read (:func:`rsna.files.stamp`).
            logits: None where a file failed, or the networks did.
        """
        self._used.update(zip(paths, stamps, strict=True))
        if logits is None:
            return
        values = {"example": example_id, "sources": list(stamps), "logits": [float(v) for v in logits]}
        self._write(json.dumps(values | {"crc32": _checksum(values)}))

    def stamps_of(self, paths: Iterable[str]) -> list[str]:
        """The stamp of each of these files by which it was predicted, by an earlier start or by this one, or by which
        this one failed; "" where there is none."""
        return [self._used.get(path, "") for path in paths]

    def remove(self) -> None:
        """Removes the file: everything is predicted, or its room is needed."""
        self.close()
        self.file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def out_of_the_way(self) -> Iterator[None]:
        """Gives its room to what the block writes; where that fails, it is back for the next start."""
        content = self.file.read_bytes() if self.file.exists() else b""
        self.remove()
        try:
            yield
        except OSError:
            if content:
                with contextlib.suppress(OSError):  # somebody else took the room
                    write_atomic(self.file, content)
            raise

    def close(self) -> None:
        """Closes the file; nothing is kept from here on. One that a full disk left without a line is removed."""
        if self._stream is not None:
            empty = not os.fstat(self._stream.fileno()).st_size
            self._stream.close()
            self._stream = None
            if empty:
                self.file.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        line = f"{text}\n".encode()
        end = self._stream.tell()
        with self._expecting_no_room():
            if self._stream.write(line) == len(line):
                return
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with contextlib.suppress(OSError):  # half a line would end what the next start can read
            self._stream.truncate(end)
            self._stream.seek(end)

    @contextlib.contextmanager
    def _expecting_no_room(self) -> Any:
        try:
            yield
        except OSError as error:
            if not self._full:
                log.warning("%s: progress is not kept while this lasts: %s", self.file, error.strerror or error)
            self._full = True

    def _read(self, key: Mapping[str, Any]) -> None:
        text = self.file.read_bytes().decode(errors="replace")
        first, *lines = text.removesuffix("\n").split("\n")
        try:
            written = json.loads(first)
        except (ValueError, RecursionError):
            return
        if written != dict(key):
            changed = "; ".join(differences(written, key)) if isinstance(written, dict) else first[:40]
            log.warning("%s: is progress of something else and is begun anew (%s)", self.file, changed)
            return
        good = [first]
        for line in lines:
            # Also half of a line, which was being written when the run was killed.
            with contextlib.suppress(*_DAMAGED):
                example_id, sources, logits = self._from_line(line)
                good.append(line)
                before = self._known.get(example_id)
                # The last of an image counts, but no fewer passes than it had.
                if before is None or before[0] != sources or len(before[1]) <= len(logits):
                    self._known[example_id] = sources, logits
        if bad := 1 + len(lines) - len(good):
            log.warning("%s: %d lines are torn or damaged; what they hold is predicted anew", self.file, bad)
        if self._known and text != (whole := "".join(f"{line}\n" for line in good)):
            with self._expecting_no_room():
                write_atomic(self.file, whole)

    def _from_line(self, line: str) -> tuple[str, list[str], list[float]]:
        """Example, stamps and logits of a line; raises what `_read` expects where it is damaged."""
        values = json.loads(line)
        if values.pop("crc32") != _checksum(values):
            raise ValueError("does not match its checksum")
        logits = [float(value) for value in values["logits"]]
        if not 1 <= len(logits) <= self._passes or not np.isfinite(logits).all():
            raise ValueError("holds other logits than the networks give")
        return str(values["example"]), [str(text) for text in values["sources"]], logits


def save_results(write: Callable[[Path], T], out: Path, log: ResumeLog) -> T:
    """Writes results to ``out``; where they have no room there, with the room of the progress.

    Raises:
        SaveError: They are not at ``out``; the message says where they are, or how they come back.
    """
    try:
        return write(out)
    except OSError as error:
        say(f"warning: {error}. The progress is removed to make room")
    spare = _written_elsewhere(write, out.name)  # ahead of that: a kill in between costs nothing
    try:
        with log.out_of_the_way():
            written = write(out)
    except OSError as error:
        if spare:
            raise SaveError(f"{error}; until then the results are in {spare}") from None
        kept = "the progress is kept" if log.file.exists() else "the progress had to make room, too, and is lost"
        raise SaveError(f"{error}; no temporary folder has room for the results, and {kept}") from None
    if spare:
        shutil.rmtree(spare, ignore_errors=True)
    return written


def _written_elsewhere(write: Callable[[Path], T], name: str) -> Path | None:
    """The temporary folder that holds the results; None where they have no room there either."""
    with contextlib.suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="rsna-infer-"))
        try:
            write(folder / name)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return folder
    return None


def _checksum(values: Mapping[str, Any]) -> int:
    """CRC-32 of a line without it."""
    return zlib.crc32(json.dumps(values).encode())
