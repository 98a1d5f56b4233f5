"""What a pack holds: ``pack.json``, written last, and the index that it names, an Arrow table."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsna.prepare.packs.storage import Storage

if TYPE_CHECKING:
    import pyarrow

RECORD = "pack.json"
FORMAT = 1
"""Raised when packs are laid out otherwise."""


class PackError(RuntimeError):
    """There is no pack, or one of other settings or of another set; or it cannot be written."""


@dataclass(frozen=True)
class Place:
    """Where an image lies."""

    shard: str
    """Name of the file."""
    start: int
    """Of its first byte there."""
    length: int
    """Its bytes."""


@dataclass(frozen=True)
class PackRecord:
    """What pack.json says."""

    dataset: str
    """Name of the set."""
    preprocessing_hash: str
    settings: Mapping[str, Any]
    """Those that the images were made with."""
    images: int
    index: str
    """Name of the index, which has the first digits of its checksum."""
    index_sha256: str
    shards: tuple[str, ...]
    """Names of the files, by the number that stands in the index."""

    def to_json(self) -> str:
        """The file."""
        return json.dumps({"format": FORMAT, **vars(self)}, indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def read(storage: Storage) -> "PackRecord | None":
        """The record of what lies there; None where no pack was finished.

        Raises:
            PackError: It is torn, or of another version of this program.
            StorageError: It cannot be reached.
        """
        try:
            content = storage.read(RECORD)
        except FileNotFoundError:
            return None
        try:
            values = json.loads(content)
            written = values.pop("format")
            if written != FORMAT:
                raise PackError(
                    f"{storage.path(RECORD)}: has format {written}, and this program reads {FORMAT}: remove "
                    "it and run `rsna pack` again"
                )
            return PackRecord(**values | {"shards": tuple(values["shards"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PackError(
                f"{storage.path(RECORD)}: is torn ({error}); copy the pack again, or remove it and run "
                "`rsna pack` again"
            ) from error


def key_of(image_id: str) -> int:
    """64 bits by which an image is looked for: a number is found in a fifth of the time of a text."""
    return int.from_bytes(hashlib.blake2b(image_id.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


class Index:
    """Where each image of a pack lies, and what is known of it; mapped into memory where it is a file of this machine.

    Columns: key (see :func:`key_of`, ascending), image_id, shard (a number), start, length (bytes); fingerprint, source
    and mtime_ns of the file that it was made from ("" and 0 where unknown); breast_found, grey_levels.
    """

    def __init__(self, table: "pyarrow.Table", shards: tuple[str, ...]) -> None:
        """A table in that order, and what the numbers of the shards stand for."""
        self.table, self._shards = table, shards
        self._ids = table.column("image_id").chunk(0)  # the index is one batch
        numbers = ("key", "shard", "start", "length")
        self._keys, *self._places = (table.column(name).chunk(0).to_numpy() for name in numbers)

    @staticmethod
    def read(storage: Storage, record: PackRecord) -> "Index":
        """The index that a record names.

        Raises:
            PackError: It is missing, or not as it was written.
        """
        import pyarrow

        path = storage.path(record.index)
        try:
            if storage.is_remote:
                held = pyarrow.py_buffer(storage.read(record.index))
            else:
                held = pyarrow.memory_map(path).read_buffer()
        except OSError as error:
            raise PackError(
                f"{path}: cannot be read ({error}); copy the pack again, or run `rsna pack` again"
            ) from error
        if hashlib.sha256(held).hexdigest() != record.index_sha256:
            raise PackError(
                f"{path}: is damaged (it does not match its checksum); copy the pack again, or run `rsna pack` again"
            )
        return Index(pyarrow.ipc.open_file(held).read_all(), record.shards)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids.to_pylist())

    def find(self, image_id: str) -> Place | None:
        """Where an image lies; None where it does not."""
        key = np.uint64(key_of(image_id))
        row = int(np.searchsorted(self._keys, key))
        while row < len(self._keys) and self._keys[row] == key:
            if self._ids[row].as_py() == image_id:
                shard, start, length = (int(column[row]) for column in self._places)
                return Place(self._shards[shard], start, length)
            row += 1
        return None
