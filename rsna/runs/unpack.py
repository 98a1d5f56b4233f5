"""Archives that come from anywhere, unpacked without trust: nothing is written outside the folder, nothing endless.

tarfile's own data filter is no help here: it makes absolute names relative and follows links within the folder, where
a bundle has neither, and zip files have no such filter.
"""

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable
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
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                infos = [(i, stat.S_IFMT(i.external_attr >> 16)) for i in zipped.infolist() if not i.is_dir()]
                plain = (0, stat.S_IFREG)
                _write(
                    archive,
                    folder,
                    ((i.filename, i.file_size, kind in plain, partial(zipped.open, i)) for i, kind in infos),
                )
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                _write(
                    archive,
                    folder,
                    ((i.name, i.size, i.isreg(), partial(tar.extractfile, i)) for i in tar if not i.isdir()),
                )
        else:
            raise RunError(f"{archive}: is neither a folder, nor a .zip or .tar archive of a bundle")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, NotImplementedError) as error:
        raise RunError(f"{archive}: cannot be unpacked: {error}. Copy it again") from error


def _write(
    archive: Path, folder: Path, members: Iterable[tuple[str, int, bool, Callable[[], IO[bytes] | Any]]]
) -> None:
    """Writes (name, bytes, whether it is a plain file, what opens it) one after the other."""
    written, seen = 0, set[PurePosixPath]()
    for name, size, plain, opened in members:
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
