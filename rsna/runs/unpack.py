"""Archives that come from anywhere, unpacked without trust: nothing is written outside the folder, nothing endless."""

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from rsna.runs.errors import RunError

MAX_BYTES = 20 << 30
"""Bytes that an archive may unpack to."""

MAX_FILES = 10_000


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a .zip or .tar (gzip, bzip2, xz) of plain files into ``folder``.

    Raises:
        RunError: Not such an archive; a name that leads out of the folder, a link or a device; too much of it.
    """
    written = 0
    seen: set[PurePosixPath] = set()
    try:
        with _members(archive) as members:
            for name, size, content in members:
                inside = _inside(archive, name)
                written += size
                if inside in seen or len(seen) >= MAX_FILES or written > MAX_BYTES:
                    raise RunError(f"{archive}: holds {name} twice, or more than {MAX_FILES:,} files or 20 GiB")
                seen.add(inside)
                target = folder / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("xb") as file:
                    _copy(archive, content, file, size)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, NotImplementedError) as error:
        raise RunError(f"{archive}: cannot be unpacked: {error}. Copy it again") from error


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[tuple[str, int, IO[bytes]]]]:
    """(name, bytes, content) of every plain file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _of_zip(archive, opened)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield _of_tar(archive, tar)
    else:
        raise RunError(f"{archive}: is neither a folder, nor a .zip or .tar archive of a bundle")


def _of_zip(archive: Path, opened: zipfile.ZipFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    for info in opened.infolist():
        if info.is_dir():
            continue
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise RunError(f"{archive}: {info.filename} is a link or a device, not a plain file")
        yield info.filename, info.file_size, opened.open(info)


def _of_tar(archive: Path, opened: tarfile.TarFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    for info in opened:
        if info.isdir():
            continue
        content = opened.extractfile(info) if info.isreg() else None
        if content is None:
            raise RunError(f"{archive}: {info.name} is a link or a device, not a plain file")
        yield info.name, info.size, content


def _inside(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
        raise RunError(f"{archive}: {name!r} leads out of the folder")
    return path


def _copy(archive: Path, content: IO[bytes], file: IO[bytes], size: int) -> None:
    """Copies as many bytes as were announced; more of them is a lie."""
    shutil.copyfileobj(_Limited(content, size), file, 1 << 20)
    if content.read(1):
        raise RunError(f"{archive}: a file is longer than it says")


class _Limited:
    """The first bytes of a stream."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes."""
        content = self._stream.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(content)
        return content
