"""A shard: one of n parts of a set, each of which any process on any machine may do at any time.

Which part an id is in follows from the id and n alone, neither from the other ids nor from their order: what is added
to a table, or leaves it, moves nothing else.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from rsna.config.settings import ConfigError

_MOST = 1_000_000
"""Shards at most: more than there are images in most archives."""


@dataclass(frozen=True)
class Shard:
    """One of ``count`` parts."""

    number: int
    """1 to ``count``."""
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that ``3/8`` names; raises ConfigError where the text names none."""
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise ConfigError(f"shard: {text!r} is not like 3/8, the third of eight")
        number, count = int(found[1]), int(found[2])
        if not 1 <= count <= _MOST:
            raise ConfigError(f"shard: {text} has {count:,} shards; there are 1 to {_MOST:,}")
        if not 1 <= number <= count:
            raise ConfigError(f"shard: {text} is none of 1/{count} to {count}/{count}; the first is 1, not 0")
        return cls(number, count)

    @classmethod
    def asked(cls, text: str) -> "Shard | None":
        """The shard of a key ``shard``; None where it is empty, and everything is meant."""
        return cls.parse(text) if text else None

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """``3-of-8``, as files are called: names in order are shards in order."""
        return f"{self.number:0{len(str(self.count))}}-of-{self.count}"

    def holds(self, ids: Iterable[str]) -> list[bool]:
        """Which of the ids are in this shard."""
        return [number == self.number for number in shard_numbers(ids, self.count)]


def shard_numbers(ids: Iterable[str], count: int) -> list[int]:
    """The number, 1 to ``count``, of the shard that each id is in: a hash of the id, the same everywhere."""
    # Some 2 µs an id. File names that are no UTF-8 are ids, too.
    hashes = (blake2b(one.encode(errors="surrogateescape"), digest_size=8).digest() for one in ids)
    return [int.from_bytes(found) % count + 1 for found in hashes]


def counts_in(folder: Path) -> list[int]:
    """Numbers of shards that there were, by the names of what they left in a folder: the latest number first."""
    latest: dict[int, int] = {}
    for file in folder.glob("*-of-*"):
        if name := re.fullmatch(r"\.?\d+-of-(\d+)(_.*)?", file.stem):
            with suppress(FileNotFoundError):  # removed meanwhile
                latest[int(name[1])] = max(latest.get(int(name[1]), 0), file.stat().st_mtime_ns)
    return sorted(latest, key=lambda count: (latest[count], count), reverse=True)


class IncompleteError(RuntimeError):
    """What cannot be merged yet, since something is missing."""

    def __init__(self, message: str, shards: Sequence[Shard]) -> None:
        """``shards`` are those to run, none where no process has left a shard."""
        super().__init__(message)
        self.shards = tuple(shards)
