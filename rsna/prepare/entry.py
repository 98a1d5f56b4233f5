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
class Seen:
    """Where a file was when it was last compared, and its time of change: the same there, it is not opened again."""

    path: str
    mtime_ns: int

    @staticmethod
    def of(path: str) -> "Seen":
        """Of a file as it is now.

        Raises:
            OSError: It cannot be looked at.
        """
        return Seen(str(Path(path).absolute()), os.stat(path).st_mtime_ns)


@dataclass(frozen=True)
class Entry:
    """What is known of a prepared image beside its pixels."""

    fingerprint: str
    """Of the file that it was made from."""
    geometry: Geometry
    seen: Seen | None = dataclasses.field(default=None, compare=False)
    """In the index alone: the image itself is the same wherever its file lies."""

    def to_json(self, image_id: str) -> str:
        """The description inside the image; ASCII."""
        return _compact({"image_id": image_id, "fingerprint": self.fingerprint, **self.geometry.to_json()})

    def to_line(self, image_id: str) -> str:
        """One line of the index."""
        seen = dataclasses.asdict(self.seen) if self.seen else None
        return _compact({**json.loads(self.to_json(image_id)), "seen": seen})

    @staticmethod
    def from_json(text: str) -> tuple[str, "Entry"]:
        """(image_id, entry) of a description or a line.

        Raises:
            ValueError, KeyError, TypeError: It is not one.
        """
        values: Mapping[str, Any] = json.loads(text)
        seen = Seen(**values["seen"]) if values.get("seen") else None
        return values["image_id"], Entry(values["fingerprint"], Geometry.from_json(values), seen)

    def lies_at(self, path: str) -> bool:
        """Whether its file was seen at ``path`` and has not been changed since; the file is not opened."""
        try:
            return self.seen == Seen.of(path) and os.stat(path).st_size == self._size
        except OSError:
            return False

    def at(self, path: str) -> "Entry | None":
        """This entry, known to be that of the file at ``path``; None where another file is there.

        One that was put away since counts as the same.
        """
        if self.lies_at(path):
            return self
        try:
            # The size first: it is known without opening the file.
            same = os.stat(path).st_size == self._size and fingerprint(path) == self.fingerprint
            return dataclasses.replace(self, seen=Seen.of(path)) if same else None
        except OSError:
            return self

    @property
    def elsewhere(self) -> Path | None:
        """The file that it was made from, where there still is one."""
        return Path(self.seen.path) if self.seen and Path(self.seen.path).is_file() else None

    @property
    def _size(self) -> int:
        return int(self.fingerprint.partition("-")[0])


def _compact(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))
