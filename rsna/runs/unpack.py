"""Archives that come from anywhere, unpacked without trust: what was asked for and nothing else, piece by piece.

tarfile's own data filter is no help here: it makes absolute names relative and follows links within the folder, where
a bundle has neither, and zip files have no such filter.
"""

import bz2
import errno
import gzip
import lzma
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rsna.runs.errors import RunError

MAX_BYTES = 20 << 30
"""Bytes that an archive may unpack to."""

MAX_FILES = 10_000

_LARGEST_RATIO, _SLACK = 20, 64 << 20
"""How many times its own size an archive may unpack to, beyond so many bytes: weights and wheels hardly shrink."""

_PIECE = 1 << 20
_LONGEST_HEADER = 16 << 20
"""Bytes of one header: tarfile keeps it in memory, whatever length it claims."""

_COMPRESSED: Mapping[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""How a compressed .tar begins."""


def list_files(archive: Path) -> tuple[dict[PurePosixPath, int], dict[PurePosixPath, str]]:
    """Lists a .zip or .tar (gzip, bzip2, xz); nothing is written.

    Returns:
        Path → bytes that it says to have, of every plain file; and path → why it must not be unpacked, of the others:
        a name that leads out of a folder, or twice the same one on some disk; a link or a device. Archives are packed
        of folders in which people keep other things, too.

    Raises:
        RunError: Not such an archive, or too much of it.
    """
    found: dict[PurePosixPath, int] = {}
    refused: dict[PurePosixPath, str] = {}
    alike: dict[str, PurePosixPath] = {}
    files, length = 0, 0
    with _errors(archive):
        for path, size, why, _ in _members(archive):
            files, length = files + 1, length + size
            if files > MAX_FILES or length > MAX_BYTES:
                raise RunError(f"{archive}: holds more than {MAX_FILES:,} files or {MAX_BYTES >> 30} GiB")
            # Other disks know no upper and lower case, and write accents in another way.
            folded = unicodedata.normalize("NFC", str(path)).casefold()
            if why:
                refused[path] = why
            if folded in alike:
                refused[path] = refused[alike[folded]] = f"holds {str(path)!r} twice; pack the bundle again"
            alike[folded] = path
            found[path] = size
    return {path: size for path, size in found.items() if path not in refused}, refused


def unpack(archive: Path, folder: Path, wanted: Mapping[PurePosixPath, int]) -> None:
    """Writes some files of an archive into ``folder``, by their last names.

    Args:
        wanted: Path in the archive, of those that :func:`list_files` found plain → bytes that it must have.

    Raises:
        RunError: A file of another length, no room, a damaged archive, or one that unpacks to far more than it is.
    """
    if sum(wanted.values()) > _LARGEST_RATIO * archive.stat().st_size + _SLACK:
        raise RunError(f"{archive}: would unpack to {sum(wanted.values()):,} bytes; no bundle shrinks so much")
    with _errors(archive, folder):
        for path, size, _, opened in _members(archive):
            if path not in wanted:
                continue
            left = wanted[path]
            if size != left:
                raise RunError(f"{archive}: {path} has {size:,} bytes, not {left:,} as recorded; copy it again")
            with opened() as content, (folder / path.name).open("xb") as file:
                while left > 0 and (piece := content.read(min(left, _PIECE))):
                    file.write(piece)
                    left -= len(piece)
                if left or content.read(1):  # a small size is a lie by which a disk is filled
                    raise RunError(f"{archive}: {path} is shorter or longer than it says; copy it again")


@contextmanager
def _errors(archive: Path, folder: Path | None = None) -> Iterator[None]:
    try:
        yield
    except (
        zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError,
        RuntimeError,
    ) as error:  # fmt: skip
        if isinstance(error, RunError):
            raise
        # RuntimeError: zipfile's, where a member is encrypted.
        raise RunError(f"{archive}: cannot be unpacked: {error}. Copy it again") from error
    except OSError as error:
        if folder and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RunError(
                f"{archive}: cannot be unpacked: {error.strerror} on the disk of {folder.parent}. Free space there, "
                "set TMPDIR to a folder on a disk with room, or unpack it yourself and name its folder"
            ) from error
        raise RunError(f"{archive}: cannot be unpacked: {error}. Copy it again") from error


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, int, str, Callable[[], IO[bytes] | Any]]]:
    """(path, bytes that it says to have, why it must not be unpacked, what opens it) of all but folders."""
    with archive.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        # By its first bytes: zipfile would find a stored wheel within a .tar, too.
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            with zipfile.ZipFile(file) as zipped:
                for info in zipped.infolist():
                    kind = stat.S_IFMT(info.external_attr >> 16)  # 0: packed where there are no modes
                    if not info.is_dir():
                        path, why = _checked(info.filename, kind in (0, stat.S_IFREG))
                        yield path, info.file_size, why, partial(zipped.open, info)
            return
        plain = next((opened(file) for magic, opened in _COMPRESSED.items() if start.startswith(magic)), file)
        try:
            tar = tarfile.TarFile(fileobj=_Pieces(plain))  # type: ignore[arg-type]
        except tarfile.ReadError:
            raise RunError(f"{archive}: is neither a folder, nor a .zip or .tar archive of a bundle") from None
        with tar:
            for member in tar:
                if not member.isdir():
                    path, why = _checked(member.name, member.isreg() and not member.issparse())
                    yield path, member.size, why, partial(tar.extractfile, member)


def _checked(name: str, plain: bool) -> tuple[PurePosixPath, str]:
    path = PurePosixPath(name.replace("\\", "/"))  # some packers of Windows write its own separator
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name or not path.parts:
        return path, f"{name!r} leads out of the folder"
    return path, "" if plain else f"{name!r} is a link or a device, not a plain file"


class _Pieces:
    """A stream that is read in pieces alone."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return bytes(self._stream.read(size))
