"""Which processes a test may kill."""

import contextlib
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
