"""Whether a file is still the one that something was made of, or that could not be read: by its stamp."""

import os
from contextlib import suppress
from pathlib import Path

from rsna.files import fingerprint

Look = tuple[int, int] | None
"""Size and time of the last change of a file, None where there was none: a look that opens nothing."""

NO_FILE = "0--0"
"""Stamp of what was not there, could not be opened, or was changed while it was read: no file has it."""


def look(path: str | Path) -> Look:
    """A file as it is now; what may fail is looked at ahead of being read."""
    with suppress(OSError):
        now = os.stat(path)
        return now.st_size, now.st_mtime_ns
    return None


def stamp_of_failed(path: str | Path, before: Look, opens: bool = True) -> str:
    """What :func:`rsna.files.stamp` would have said of a file ahead of the reading that failed.

    Args:
        before: The look at it from then.
        opens: Whether it may be opened: whoever opens one that was given up may wait, too. Its stamp has no hash.
    """
    with suppress(OSError):
        if before and look(path) == before:
            size, written = before
            return f"{fingerprint(path) if opens else f'{size}-'}-{written}"
    return NO_FILE


def is_stamped(path: str | Path, known: str) -> bool:
    """Whether a file is the one that a stamp is of: by size and time, else, since a copy on another disk has a time of
    its own, by its fingerprint. One that is not there, or cannot be opened, counts as the same."""
    with suppress(OSError):
        now = os.stat(path)
        if known.split("-", 2)[::2] != [str(now.st_size), str(now.st_mtime_ns)]:
            return known.startswith(f"{fingerprint(path)}-")
    return True
