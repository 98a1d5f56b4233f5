"""Objects over a socket between two processes of this program; arrays travel beside the pickle, without a copy."""

import contextlib
import pickle
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from rsna.parallel.engine import Failure

_COUNT = struct.Struct("<I")


@dataclass(frozen=True)
class Setup:
    """What a worker is told before its first task."""

    function: bytes
    """Pickled callable of one argument."""
    timeout: float
    """Seconds a task may take."""
    memory_limit: int
    """Bytes of private memory that the process may hold; a task that asks for more gets a MemoryError."""


@dataclass(frozen=True)
class Answer:
    """What became of one task."""

    value: Any = None
    failure: Failure | None = None
    records: tuple[tuple[str, int, str], ...] = ()
    """Log records of at least WARNING: logger, level, message."""


class Channel:
    """One end of a socket pair. Both ends are trusted: they unpickle what they get."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, value: Any) -> None:
        """Sends ``value``; blocks while the other end does not read.

        Raises:
            OSError: The other end is gone.
            Exception: Whatever pickling raises; nothing was sent then.
        """
        buffers: list[pickle.PickleBuffer] = []
        body = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        parts = [memoryview(body), *(buffer.raw() for buffer in buffers)]
        lengths = struct.pack(f"<I{len(parts)}Q", len(parts), *(part.nbytes for part in parts))
        self._end.settimeout(None)  # receive may have left one
        self._end.sendall(lengths)
        for part in parts:
            self._end.sendall(part)

    def receive(self, timeout: float | None = None) -> Any:
        """Waits up to ``timeout`` seconds, or for ever, until a whole value is here; its arrays are writable.

        Raises:
            TimeoutError: It was not.
            EOFError: The other end is gone.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        (count,) = _COUNT.unpack(self._receive_exactly(_COUNT.size, deadline))
        lengths = struct.unpack(f"<{count}Q", self._receive_exactly(8 * count, deadline))
        body, *buffers = [self._receive_exactly(length, deadline) for length in lengths]
        return pickle.loads(body, buffers=buffers)

    def close(self) -> None:
        """Ends the talk; the other end reads an end of file."""
        with contextlib.suppress(OSError):  # the other end may have been faster
            self._end.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in receive
        self._end.close()

    def _receive_exactly(self, length: int, deadline: float | None) -> bytearray:
        content = bytearray(length)
        view = memoryview(content)
        while view:
            self._end.settimeout(None if deadline is None else max(1e-3, deadline - time.monotonic()))
            try:
                got = self._end.recv_into(view)
            except ConnectionError:
                got = 0
            if got == 0:
                raise EOFError("the other end of the channel is gone")
            view = view[got:]
        return content
