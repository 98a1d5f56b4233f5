"""Archives that come from anywhere, unpacked without trust: nothing is written outside the folder, nothing endless.

tarfile's own data filter is no help here: it makes absolute names relative and follows links within the folder, where
a bundle has neither, and zip files have no such filter.
"""

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rsna.runs.errors import RunError

MAX_BYTES = 20 << 30
"""Bytes that an archive may unpack to."""

MAX_FILES = 10_000


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a .zip or .tar (gzip, bzip2, xz) of plain files into ``folder``.

    Raises:
        RunError: Not such an archive; a name that leads out of the folder, a link or a device; too much of it.
    """
    written, seen = 0, set[PurePosixPath]()
    try:
        for name, size, plain, opened in _members(archive):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
                raise RunError(f"{archive}: {name!r} leads out of the folder")
            if not plain:
                raise RunError(f"{archive}: {name} is a link or a device, not a plain file")
            written += size
            if path in seen or len(seen) >= MAX_FILES or written > MAX_BYTES:
                raise RunError(f"{archive}: holds {name} twice, or more than {MAX_FILES:,} files or 20 GiB")
            seen.add(path)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with opened() as content, (folder / path).open("xb") as file:
                while size > 0 and (piece := content.read(min(size, 1 << 20))):
                    file.write(piece)
                    size -= len(piece)
                if content.read(1):  # a small size is a lie by which a disk is filled
                    raise RunError(f"{archive}: {name} is longer than it says")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, NotImplementedError) as error:
        raise RunError(f"{archive}: cannot be unpacked: {error}. Copy it again") from error


def _members(archive: Path) -> Iterator[tuple[str, int, bool, Callable[[], IO[bytes] | Any]]]:
    """(name, bytes that it says to have, whether it is a plain file, what opens it) of all but folders."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)  # 0: packed where there are no modes
                if not info.is_dir():
                    yield info.filename, info.file_size, plain, partial(zipped.open, info)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                if not member.isdir():
                    yield member.name, member.size, member.isreg(), partial(tar.extractfile, member)
    else:
        raise RunError(f"{archive}: is neither a folder, nor a .zip or .tar archive of a bundle")
