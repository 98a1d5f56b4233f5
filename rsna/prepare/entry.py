"""What is known of a prepared image beside its pixels, and whether it is still that of its file."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsna.files import fingerprint
from rsna.prepare.geometry import Geometry


@dataclass(frozen=True)
class FileStamp:
    """Where a file was when it was last compared, and its time of change: the same there, it is not opened again."""

    path: str
    mtime_ns: int

    @staticmethod
    def of(path: str) -> "FileStamp":
        """Of a file as it is now.

        Raises:
            OSError: It cannot be looked at.
        """
        return FileStamp(str(Path(path).absolute()), os.stat(path).st_mtime_ns)


@dataclass(frozen=True)
class Entry:
    """What is known of a prepared image beside its pixels."""

    fingerprint: str
    """Of the file that it was made from."""
    geometry: Geometry
    stamp: FileStamp | None = dataclasses.field(default=None, compare=False)
    """In the index alone: the image itself is the same wherever its file lies."""

    def to_json(self, image_id: str) -> str:
        """The description inside the image; ASCII."""
        return _compact({"image_id": image_id, "fingerprint": self.fingerprint, **self.geometry.to_json()})

    def to_line(self, image_id: str) -> str:
        """One line of the index."""
        stamp = dataclasses.asdict(self.stamp) if self.stamp else None
        return _compact({**json.loads(self.to_json(image_id)), "seen": stamp})

    @staticmethod
    def from_json(text: str) -> tuple[str, "Entry"]:
        """(image_id, entry) of a description or a line.

        Raises:
            ValueError, KeyError, TypeError: It is not one.
        """
        values: Mapping[str, Any] = json.loads(text)
        stamp = FileStamp(**values["seen"]) if values.get("seen") else None
        return values["image_id"], Entry(values["fingerprint"], Geometry.from_json(values), stamp)

    def is_unchanged(self, path: str) -> bool:
        """Whether its file was at ``path`` before and has not been changed since; the file is not opened."""
        try:
            return self.stamp == FileStamp.of(path) and os.stat(path).st_size == self._size
        except OSError:
            return False

    def compared(self, path: str) -> "Entry | None":
        """This entry with the stamp of the file at ``path``, or None where that is another file.

        One that was put away since counts as the same.
        """
        if self.is_unchanged(path):
            return self
        try:
            # The size first: it is known without opening the file.
            same = os.stat(path).st_size == self._size and fingerprint(path) == self.fingerprint
            return dataclasses.replace(self, stamp=FileStamp.of(path)) if same else None
        except OSError:
            return self

    @property
    def source_file(self) -> Path | None:
        """The file that it was made from, where there still is one."""
        return Path(self.stamp.path) if self.stamp and Path(self.stamp.path).is_file() else None

    @property
    def _size(self) -> int:
        return int(self.fingerprint.partition("-")[0])


def _compact(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))
