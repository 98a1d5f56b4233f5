"""torchrun that tells its ranks to stop when it is told so: ``python -m rsna.training.torchrun OPTION … SCRIPT …``.

torchrun itself dies of SIGUSR1 and says nothing to the ranks, which have sessions of their own; and whatever code they
end with, its own is 1. Here the exit code is :data:`rsna.training.stopping.AGAIN` where they were asked to stop.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from rsna.training.stopping import AGAIN


def main() -> None:
    """Runs torchrun on this process's arguments."""
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        _tell_ranks()

    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, pass_on)
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.run import main as torchrun

    try:
        torchrun()
    except SignalException as error:  # SIGTERM, which it has passed on by itself
        if error.sigval != signal.SIGTERM:
            raise
        asked.append(error.sigval)
    except BaseException:
        if not asked:
            raise
    if asked:
        sys.exit(AGAIN)


def _tell_ranks() -> None:
    """Has the processes that torchrun has started as ranks stop."""
    children = [file.read_text(encoding="ascii") for file in Path("/proc/self/task").glob("*/children")]
    for child in " ".join(children).split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if b"LOCAL_RANK=" in Path("/proc", child, "environ").read_bytes():
                os.kill(int(child), signal.SIGUSR1)


if __name__ == "__main__":
    main()
