"""Stops training when the system asks for it, at the next step that it can go on from.

A cluster that takes a machine back says so by a signal, some time before it kills: SLURM by SIGTERM, or by that of
``sbatch --signal``; submitit by SIGUSR2; Kubernetes by SIGTERM.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from rsna.files import first_line
from rsna.training import ranks

AGAIN = 75
"""Exit code of a training that was asked to stop: EX_TEMPFAIL of sysexits.h, the same command later goes on."""

_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)


class Stopped(SystemExit):
    """Training was asked to stop, and did; the process ends with :data:`AGAIN`.

    Below torchrun it ends with 0, since any other code looks to torchrun like a rank that failed.
    """

    def __init__(self) -> None:
        super().__init__(0 if "TORCHELASTIC_RUN_ID" in os.environ else AGAIN)


class _Request:
    """What this process was asked for, and what it does about it: there is one, as there is one set of handlers."""

    def __init__(self) -> None:
        self.received: int | None = None
        """The signal."""
        self.ours: set[int] = set()
        """Signals that are handled."""
        self.waits = 0
        """Blocks of :func:`finishing_the_step` that are open."""
        self.processes: list[subprocess.Popen[Any]] = []
        """Those that are told, and whose end is awaited."""
        self.before: dict[int, Any] = {}
        """Handlers that somebody else had set, such as submitit's, which gives the job back to the queue."""


_request = _Request()


@contextmanager
def stoppable() -> Iterator[None]:
    """For as long as the block lasts, SIGTERM, SIGUSR1 and SIGUSR2 end it by :class:`Stopped`, cleaning up included.

    What is ignored stays so, and so does SIGTERM where somebody else handles it. In another thread than the first,
    which may set no handlers, the block does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _request.received = None
    there = {number: signal.getsignal(number) for number in _SIGNALS}
    _request.before = {number: handler for number, handler in there.items() if callable(handler)}
    _request.ours = {
        number
        for number, handler in there.items()
        if handler == signal.SIG_DFL or (number in _request.before and number != signal.SIGTERM)
    }
    handle_again()
    try:
        yield
    except Exception as error:
        if _request.received is None:
            raise
        # The signal may have reached loader processes, or a rank that had no step to finish, which ended sooner. What
        # else is wrong comes again when the command does.
        stop(f"the last checkpoint, before {type(error).__name__} ({first_line(error)})")
    finally:
        _request.ours = set()
        for number, handler in there.items():
            signal.signal(number, handler)


@contextmanager
def finishing_the_step() -> Iterator[None]:
    """Within this block a signal ends nothing: whoever trains looks at :func:`is_asked` after each step."""
    _request.waits += 1
    try:
        yield
    finally:
        _request.waits -= 1
    if _request.received is not None and not _request.waits:
        stop()


def handle_again() -> None:
    """Sets the handlers of :func:`stoppable` once more, after Lightning has set its own."""
    for number in _request.ours:
        signal.signal(number, _take)


@contextmanager
def passing_on(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """Within this block a signal is passed on to a process, whose end says whether it stopped."""
    _request.processes.append(process)
    try:
        if _request.received is not None:  # between the start of the process and now
            process.send_signal(signal.SIGUSR1)
        with finishing_the_step():
            yield
    finally:
        _request.processes.remove(process)


def is_asked() -> bool:
    """Whether any rank was asked to stop; where there are several, all of them call this at the same step."""
    return ranks.any_rank(_request.received is not None)


def stop(where: str = "") -> NoReturn:
    """Says where training stops, unless that is said elsewhere, and gives the signal to whoever handled it before.

    Raises:
        Stopped: Always.
    """
    received = _request.received
    if where and ranks.is_first_rank():
        name = signal.Signals(received).name if received else "a signal"  # which another rank got
        print(f"{where}: stopped by {name}; the same command goes on from there", flush=True)
    if received in _request.before:
        _request.before[received](received, None)
    raise Stopped


def _take(number: int, frame: FrameType | None) -> None:
    first, _request.received = _request.received is None, number
    for process in _request.processes:
        process.send_signal(signal.SIGUSR1)
    if first and not _request.waits:
        stop("outside of training steps")
