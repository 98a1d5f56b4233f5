"""Runs a module for as long as the process that started it lives: ``python -m rsna.training.child MODULE ARGUMENT …``.

Standard input is a pipe that the launching process never writes to; it ends when that process does, however that comes
about. It is watched before anything else is imported: ranks whose launcher was killed while they imported torch
otherwise trained on for 20 s.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that this process gets when the one that started it ends."""


def end_with_parent() -> None:
    """From now on this process ends when the one that started it does, and when standard input ends."""
    threading.Thread(target=_wait, daemon=True).start()
    if sys.platform == "linux":  # at once, also while a library that holds Python's lock is being loaded
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    end_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
