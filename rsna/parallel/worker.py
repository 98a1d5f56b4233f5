"""A worker process of `rsna.parallel.pool`: takes tasks from a socket, one at a time, until the socket ends.

Started by `rsna.parallel.pool` with the number of its end of the socket, as a program of its own: neither torch nor
the caller's main module is imported.
"""

import logging
import pickle
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import cv2

from rsna.parallel.channel import Answer, Channel, Setup
from rsna.parallel.engine import Failure
from rsna.quiet import quieten_pydicom

_GRACE_PERIOD = 5.0
"""Seconds past its time after which a task ends its process by itself, should its parent be gone."""

_MOST_WARNINGS = 10
"""Log records of one task that are passed on."""


class Collector(logging.Handler):
    """Keeps the first records of at least WARNING: logger, level, message."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.records) < _MOST_WARNINGS:
            self.records.append((record.name, record.levelno, record.getMessage()))


def serve(channel: Channel) -> None:
    """Answers tasks until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    cv2.setNumThreads(0)
    setup: Setup = channel.receive()
    quieten_pydicom()  # or it takes the place of what is ours among the few records
    collector = Collector()
    logging.getLogger().addHandler(collector)
    logging.captureWarnings(True)
    function: Callable[[Any], Any] = pickle.loads(setup.function)
    # After the imports, which a small limit would end. RLIMIT_DATA counts private writable pages; RLIMIT_AS would
    # count every library that is mapped, too.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = setup.memory_limit if hard == resource.RLIM_INFINITY else min(setup.memory_limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    channel.send("ready")
    while True:
        try:
            task = channel.receive()
        except EOFError:
            return
        collector.records.clear()
        # Without a handler SIGALRM ends the process even where a decoder hangs in C.
        signal.setitimer(signal.ITIMER_REAL, setup.timeout + _GRACE_PERIOD)
        value, failure = None, None
        try:
            value = function(task)
        except Exception as error:
            failure = _failure(error)
        records = tuple(collector.records)
        try:
            channel.send(Answer(value, failure, records))
        except OSError:
            return  # the parent is gone
        except Exception as error:  # the value cannot be pickled
            channel.send(Answer(None, _failure(error), records))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _failure(error: Exception) -> Failure:
    return Failure(type(error).__name__, str(error))


def main() -> None:
    """Serves the socket that the command line names."""
    serve(Channel(socket.socket(fileno=int(sys.argv[1]))))
