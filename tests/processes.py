"""Which processes a test may kill, and when they are gone."""

import contextlib
import os
import signal
import time
from pathlib import Path


def workers_of(process: int) -> list[int]:
    """The worker processes that a process has started, and no other child of it: a test's own has daemons, too."""
    found = []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, children.read_text(encoding="ascii").split()):
            with contextlib.suppress(OSError):  # it has ended since
                if b"rsna.parallel.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(child)
    return found


def kill_group(leader: int) -> None:
    """Kills all processes of a group, and waits until none of them runs: each ends in its own time, not by the signal.

    One that nobody waits for stays a zombie, and counts as gone.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while running := [process for process in map(int, _numbers()) if _group(process) == leader]:
        assert time.monotonic() < deadline, f"{running} outlive a SIGKILL"
        time.sleep(0.001)


def _numbers() -> list[str]:
    return [path.name for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _group(process: int) -> int | None:
    """The group of a process; None where it has ended."""
    try:
        state, _, group, *_ = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if state in (b"Z", b"X") else int(group)
