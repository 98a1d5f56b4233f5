"""Where a pack lies: a folder, on a disk of one's own or of others, or a URL that fsspec reads (``s3://…``)."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from rsna.files import atomic_path

_OPEN = 128
"""Files that are held open at once: a process may have some 1,000."""


class StorageError(OSError):
    """It cannot be read or written; the message says where and why."""


class Storage:
    """Files of a folder or a URL, read from any place in them; cheap to pickle, safe in threads and forks.

    Whatever it cannot do is a StorageError, or a FileNotFoundError where a file is not there.
    """

    def __init__(self, place: str) -> None:
        """``place``: a folder, ``~`` as home; or a URL such as s3://bucket/pack."""
        scheme, remote, rest = place.partition("://")
        self.is_remote = bool(remote)
        self.place = f"{scheme}://{rest.rstrip('/')}" if remote else str(Path(place).expanduser())
        self._opened = lru_cache(_OPEN)(_Opened)

    def __reduce__(self) -> tuple[Any, ...]:
        return Storage, (self.place,)

    def path(self, name: str) -> str:
        """A file in words, and for whatever opens files."""
        return f"{self.place}/{name}"

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """``length`` bytes from ``start``, fewer where the file ends; all of it without a length."""
        if self.is_remote:
            with self._errors(name):
                end = None if length is None else start + length
                return bytes(_file_system(self.place).cat_file(self.path(name), start=start or None, end=end))
        if length is None:
            return Path(self.path(name)).read_bytes()
        file = self._opened(self.path(name))  # held, since another thread may open one too many
        # At a place, since processes that a fork made share the position of a file.
        content = os.pread(file.number, length, start)
        while len(content) < length and (more := os.pread(file.number, length - len(content), start + len(content))):
            content += more  # disks of others may give less at once
        return content

    def binary(self, name: str) -> BinaryIO:
        """A file to seek and read in."""
        with self._errors(name):
            opens: Any = _file_system(self.place).open if self.is_remote else open
            return cast("BinaryIO", opens(self.path(name), "rb"))

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[Path]:
        """Yields a temporary path; its content stands under ``name``, whole, once the block has ended without error."""
        if not self.is_remote:
            with atomic_path(self.path(name)) as temporary:
                yield temporary
            return
        with tempfile.TemporaryDirectory() as folder:
            yield (temporary := Path(folder) / "file")
            with self._errors(name):
                # An object is there once all of it has been sent.
                _file_system(self.place).put_file(str(temporary), self.path(name))

    def names(self) -> list[str]:
        """Names of the files; none where there is no such folder."""
        with contextlib.suppress(FileNotFoundError), self._errors(""):
            if not self.is_remote:
                return [file.name for file in os.scandir(self.place) if file.is_file()]
            found = _file_system(self.place).ls(self.place, detail=False, refresh=True)
            return [str(name).rstrip("/").rpartition("/")[2] for name in found]
        return []

    def remove(self, name: str) -> None:
        """Removes a file."""
        with self._errors(name):
            if self.is_remote:
                _file_system(self.place).rm_file(self.path(name))
            else:
                Path(self.path(name)).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, StorageError):
            raise
        # Of whichever library is behind the URL: botocore's and aiohttp's have no class in common.
        except Exception as error:
            raise StorageError(f"{self.path(name)}: {type(error).__name__}: {error}") from error


class _Opened:
    """A file that is open until nobody reads it any more."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


def _file_system(url: str) -> Any:
    """fsspec's own, of this process: those of a process that was forked from are of no use."""
    scheme, _, rest = url.partition("://")
    if not rest:
        raise StorageError(f"{url}: names no bucket; write {scheme}://bucket/folder")
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)[0]
    except (ImportError, ValueError) as error:
        raise StorageError(
            f"{url}: {scheme}:// cannot be read here ({error}); pip install 'rsna-mammography[remote]' brings s3://"
        ) from error
