"""Every file below a folder, each once whatever links lead to it, and what could not be looked at."""

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rsna.files import printable
from rsna.parallel.progress import Progress
from rsna.table_file import TableError

_NO_TEXT = "its name is not UTF-8, so no table can hold it; rename it (convmv -r -f latin1 -t utf8 --notest FOLDER)"

_DICOM_NAME = re.compile(r".*\.(dcm|dicom)|\d+(\.\d+){2,}", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Tree:
    """What lies below a folder."""

    files: list[Path]
    """Regular files, in order; of several names of one file, the first."""
    failures: list[tuple[str, str]]
    """Path below the folder, and why it could not be looked at: folders without permission, links to nowhere."""
    links: list[tuple[str, str]]
    """Path below the folder, and the path that is taken instead: hard and symbolic links to one file or folder."""


def walk_files(folder: Path) -> Tree:
    """Walks a folder. Links are followed, hidden files and folders, pipes and sockets passed over.

    Raises:
        TableError: See :func:`require_text`.
    """
    require_text(folder)
    tree = Tree([], [], [])
    seen: dict[str | tuple[int, int], str] = {os.path.realpath(folder): "."}

    def is_new(path: Path, status: os.stat_result | None = None) -> bool:
        name = os.path.relpath(path, folder)
        # Names of one file have its inode; not every network disk numbers files that have one name.
        linked = status and status.st_nlink > 1 and (status.st_dev, status.st_ino)
        first = seen.setdefault(linked or os.path.realpath(path), name)
        if first != name:
            tree.links.append((name, first))
        return first == name

    def fail(error: OSError) -> None:
        name = printable(os.path.relpath(error.filename, folder))
        tree.failures.append((name, f"{type(error).__name__}: {error.strerror}"))

    with Progress("look for files", unit="files") as progress:
        for parent, folders, names in _walk(str(folder), fail):
            odd = [os.path.relpath(Path(parent, name), folder) for name in folders + names if not is_text(name)]
            tree.failures.extend((printable(name), _NO_TEXT) for name in odd)
            folders[:] = [path.name for path in _ordered(parent, folders) if is_new(path)]
            for path in progress.over(_ordered(parent, names)):
                try:
                    status = path.stat()
                except OSError as error:
                    fail(error)
                    continue
                # Opening a pipe waits for ever.
                if stat.S_ISREG(status.st_mode) and is_new(path, status):
                    tree.files.append(path)
    return tree


def require_text(folder: Path) -> None:
    """Raises a TableError where the name of the folder itself cannot stand in a table."""
    if not is_text(str(folder)):
        raise TableError(f"{printable(str(folder))}: {_NO_TEXT}")


def require_folder(folder: Path, key: str = "") -> None:
    """Raises a TableError where there is no such folder; ``key`` is what the user types it behind."""
    if folder.is_file():
        raise TableError(f"{key}{folder}: is a file, where a folder is needed; name its folder, or unpack it into one")
    if not folder.is_dir():
        raise TableError(f"{key}{folder}: there is no such folder")


def promises_dicom(path: Path) -> bool:
    """Whether a name says that the file is DICOM: by its ending, or because it is a UID."""
    return _DICOM_NAME.fullmatch(path.name) is not None


def _walk(folder: str, fail: Callable[[OSError], None]) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` that follows links, without its recursion: Python 3.11 ends that at some thousand levels."""
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        folders: list[str] = []
        names: list[str] = []
        try:
            with os.scandir(parent) as entries:
                for entry in entries:
                    (folders if _is_folder(entry) else names).append(entry.name)
        except OSError as error:
            fail(error)
        yield parent, folders, names
        waiting += [str(Path(parent, name)) for name in reversed(folders)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, or no permission to look: said when it is looked at as a file
        return False


def is_text(name: str) -> bool:
    """Whether the bytes of a name are UTF-8; Python stands surrogates in for those that are not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ordered(parent: str, names: Sequence[str]) -> list[Path]:
    """What is visible, links last: what has a name of its own goes by it."""
    visible = (Path(parent, name) for name in names if not name.startswith(".") and is_text(name))
    # Not Path.is_symlink, which raises where there is no permission to look.
    return sorted(visible, key=lambda path: (os.path.islink(path), path.name))  # noqa: PTH114
