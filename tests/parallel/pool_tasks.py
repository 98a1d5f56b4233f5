"""What the workers of the pool's tests do; a module of its own, since workers import it by name."""

import ctypes
import logging
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def square(number: int) -> int:
    return number * number


def slow_square(number: int) -> int:
    time.sleep(0.02 if number % 3 else 0.1)
    return number * number


def array(rows: int) -> dict[str, npt.NDArray[Any]]:
    return {"bytes": np.full((rows, 1024), rows % 251, np.uint8), "words": np.full((rows, 3), rows, np.uint16)}


def obey(order: str) -> str:
    """Does what a hostile file makes a decoder do."""
    match order:
        case "abort":
            os.abort()
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            sys.exit(3)
        case "hang":
            time.sleep(600)
        case "deaf hang":  # in C, with the interpreter locked: no Python signal handler would run
            ctypes.PyDLL(None).usleep(600_000_000)
        case "eat":
            return str(np.ones(4 << 30, np.uint8).sum())
        case "raise":
            raise KeyError("what is missing")
        case "unpicklable":
            return lambda: order  # type: ignore[return-value]
        case "warn":
            warnings.warn("from a warning", stacklevel=1)
            logging.getLogger("decoder").warning("from %s", "a log")
    return order


def pid(_: Any) -> int:
    return os.getpid()


def path(_: Any) -> list[str]:
    return sys.path


def killed_once(mark: Path) -> str:
    """Ends as a worker does that the system kills for its memory: the first time."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def killed(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_parent_once(mark: Path) -> str:
    """Takes along the process that the worker is of, as the system does that is short of memory: the first time."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
    return "done"


def kill_parent(order: str) -> str:
    if order == "kill":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    return order


def node_slowly(number: int) -> str:
    """Which Ray node does it."""
    time.sleep(0.1)
    return os.environ["RAY_RAYLET_PID"]


def imported(_: Any) -> list[str]:
    return sorted(sys.modules)


def touch(task: tuple[str, float]) -> None:
    path, seconds = task
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)


class StartFails:
    """A function on whose arrival a worker dies, as often as there are files to take away in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, number: int) -> int:
        return number * number

    def __setstate__(self, state: dict[str, Path]) -> None:
        for file in state["folder"].iterdir():
            try:
                file.unlink()
            except FileNotFoundError:  # another worker was faster
                continue
            os._exit(9)
        self.__dict__.update(state)


class StartHangs:
    """A function that a worker never gets to."""

    def __call__(self, number: int) -> int:
        return number

    def __setstate__(self, state: object) -> None:
        time.sleep(600)

    def __getstate__(self) -> str:
        return "a state, or it would not be set"
