"""Every file below a folder, each once whatever links lead to it, and what could not be looked at."""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_DICOM_NAME = re.compile(r".*\.(dcm|dicom)|\d+(\.\d+){2,}", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Tree:
    """What lies below a folder."""

    files: list[Path]
    """Regular files, in order; of several names of one file, the first."""
    failures: list[tuple[str, str]]
    """Path below the folder, and why it could not be looked at: folders without permission, links to nowhere."""


def walk_files(folder: Path) -> Tree:
    """Walks a folder. Links are followed, hidden files and folders, pipes and sockets passed over."""
    tree = Tree([], [])
    seen = {os.path.realpath(folder)}

    def is_new(path: Path) -> bool:
        before = len(seen)
        seen.add(os.path.realpath(path))
        return len(seen) > before

    def fail(error: OSError) -> None:
        tree.failures.append((os.path.relpath(error.filename, folder), f"{type(error).__name__}: {error.strerror}"))

    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        folders[:] = [path.name for path in _ordered(parent, folders) if is_new(path)]
        for path in _ordered(parent, names):
            try:
                regular = stat.S_ISREG(path.stat().st_mode)
            except OSError as error:
                fail(error)
                continue
            # Opening a pipe waits for ever.
            if regular and is_new(path):
                tree.files.append(path)
    return tree


def promises_dicom(path: Path) -> bool:
    """Whether a name says that the file is DICOM: by its ending, or because it is a UID."""
    return _DICOM_NAME.fullmatch(path.name) is not None


def _ordered(parent: str, names: Sequence[str]) -> list[Path]:
    """What is visible, links last: what has a name of its own goes by it."""
    visible = (Path(parent, name) for name in names if not name.startswith("."))
    return sorted(visible, key=lambda path: (path.is_symlink(), path.name))
