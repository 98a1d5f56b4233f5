"""What the shards of a set leave beside its prepared images until they are merged.

The folder ``shards`` of a cache holds ``3-of-8.jsonl``, the index of the images of one shard, and ``3-of-8.csv``, a
list of those that failed. Images of all shards lie in one folder, whose time says nothing of one shard's; whether an
image is still the one that an index tells of, its own time says.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from rsna.config.shard import Shard, counts_in, shard_numbers
from rsna.prepare.cache import Cache, CacheWriteError, Entry, held, read_index, writing_errors

FAILURE_COLUMNS = ["image_id", "path", "class", "message", "stamp"]
"""Columns of failures.csv; the last says which file it was that failed (:func:`rsna.file_stamp.stamp_of_failed`)."""

_FOLDER = "shards"


class CacheShard(Cache):
    """The images of a cache that one shard prepares, with an index and a list of failures of their own."""

    def __init__(self, cache: Cache, shard: Shard, image_ids: Sequence[str]) -> None:
        """Opens the part of a cache that holds these ids, all of the shard's."""
        super().__init__(cache.directory)
        self.shard, self.image_ids = shard, image_ids

    def __iter__(self) -> Iterator[str]:
        """Ids of the shard's prepared images."""
        return (image_id for image_id in self.image_ids if image_id in self)

    def indexed(self) -> dict[str, Entry]:
        """What is known of the shard's images as they are: by its own index, and where it lacks some, by the others.

        The set may have been cut into another number of shards before.
        """
        own = _unchanged(self, self.index_file, set(self.image_ids))
        if len(own) == len(self.image_ids):
            return own
        return known_anywhere(self, set(self.image_ids)) | own

    def index_is_current(self) -> bool:
        """True: :meth:`indexed` tells of no image that has changed since."""
        return True

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the shard against another run of it, and waits for one; other shards write beside it."""
        own = self.index_file.with_name(f".{self.shard.name}.lock")
        with held(self.directory / ".lock", fcntl.LOCK_SH):
            with writing_errors(own):  # what was merged while this one waited has taken the folder with it
                own.parent.mkdir(exist_ok=True)
            with held(own, fcntl.LOCK_EX):
                yield

    @property
    def index_file(self) -> Path:
        """Where the shard's index is, or would be."""
        return self.directory / _FOLDER / f"{self.shard.name}.jsonl"

    @property
    def failures_file(self) -> Path:
        """The list of its images that could not be prepared."""
        return self.directory / _FOLDER / f"{self.shard.name}.csv"


def known_anywhere(cache: Cache, wanted: Collection[str] | None = None) -> dict[str, Entry]:
    """What the indexes of the set and of its shards say of images that have not changed since; of all, or of some."""
    known = dict[str, Entry]()
    for file in _oldest_first([Cache(cache.directory).index_file, *(cache.directory / _FOLDER).glob("*.jsonl")]):
        known |= _unchanged(cache, file, wanted)
    return known


def known_failures(cache: Cache) -> pd.DataFrame:
    """What the set's and the shards' lists say of images that failed, a row an image: ``FAILURE_COLUMNS``.

    Where several tell of one, the latest counts. A list that is damaged tells of none.
    """
    lists = [pd.DataFrame(columns=FAILURE_COLUMNS, dtype=str)]
    for file in _oldest_first([cache.failures_file, *(cache.directory / _FOLDER).glob("*.csv")]):
        with contextlib.suppress(ValueError, KeyError):
            lists.append(pd.read_csv(file, dtype=str, keep_default_na=False)[FAILURE_COLUMNS])
    return pd.concat(lists).drop_duplicates("image_id", keep="last")


def shards_of(cache: Cache, image_ids: Sequence[str]) -> list[Shard]:
    """The shards that these images are in, of as many as the set was last cut into; none where it was not."""
    latest = counts_in(cache.directory / _FOLDER)[:1]
    return [Shard(number, count) for count in latest for number in sorted(set(shard_numbers(image_ids, count)))]


def remove_shards(cache: Cache) -> None:
    """Removes what the shards have left, once none is at work: the set's own index holds all of it."""
    if (folder := cache.directory / _FOLDER).exists():
        with contextlib.suppress(CacheWriteError), cache.writing():
            shutil.rmtree(folder, ignore_errors=True)


def _oldest_first(files: Iterable[Path]) -> list[Path]:
    """Those that are there."""
    written: dict[Path, int] = {}
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # merged meanwhile
            written[file] = file.stat().st_mtime_ns
    return sorted(written, key=lambda file: written[file])


def _unchanged(cache: Cache, index_file: Path, wanted: Collection[str] | None = None) -> dict[str, Entry]:
    """Those of an index's entries whose images nobody has written, moved or renamed since it was written itself."""
    found: dict[str, Entry] = {}
    with contextlib.suppress(FileNotFoundError):
        written = index_file.stat().st_mtime_ns  # ahead of what it says: another may be written meanwhile
        for image_id, entry in read_index(index_file).items():
            if wanted is None or image_id in wanted:
                with contextlib.suppress(FileNotFoundError):
                    if cache.path(image_id).stat().st_ctime_ns <= written:
                        found[image_id] = entry
    return found
