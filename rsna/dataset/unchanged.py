"""Whether a set of which every image is prepared is just as it was then, told without reading its table.

``table.json`` beside the prepared images holds what was read: image and file of every row, the lines that were said,
and the times of the table and of all folders in which images were looked for. While these are the same, so is what
would be read; the files themselves are looked at one by one, as always (:mod:`rsna.prepare.complete`). That saves most
of the time in which nothing is done: pandas, the table, and a listing of 11,913 folders.

It is kept of sets in the competition's layout alone, whose table and folders are known.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsna.config.schema import Config
from rsna.config.settings import digest
from rsna.files import FileError, code_hash, read_json, write_json
from rsna.prepare.cache import Cache, cache_folder
from rsna.prepare.complete import recall_complete, summary
from rsna.prepare.hashing import preprocessing_hash
from rsna.prepare.value_range import RangeFound

if TYPE_CHECKING:
    from rsna.dataset.table import ImageTable

_FILE = "table.json"

_SETTLED_NS = 2 * 10**9
"""A folder that changed shortly before it was listed may have changed once more at the same time, as disks count it."""


def recall_set(config: Config) -> list[str] | None:
    """What `rsna prepare` says of a set of which everything is prepared, and of which nothing has changed since.

    Returns:
        Lines; None where anything is another, or nothing is known.
    """
    folder, preprocess = cache_folder(config.cache_dir, config.data_name), config.preprocess
    # Missing, cut off or edited: everything is read.
    with contextlib.suppress(OSError, FileError, KeyError, TypeError, ValueError):
        if preprocess.value_range == "auto":
            found = RangeFound.read(folder)
            if found is None:
                return None
            if found.measured:
                preprocess = replace(preprocess, value_range=found.measured.shown)
        cache = Cache(folder / preprocessing_hash(preprocess))
        told = read_json(cache.directory / _FILE)
        if told["key"] != _key(config) or told["seen"] != _seen(told["seen"]):
            return None
        complete = recall_complete(cache, zip(told["image_ids"], told["paths"], strict=True))
        if complete is not None:
            return [*told["notes"], summary(cache, len(told["paths"])), *complete.lines(preprocess.crop)]
    return None


def remember_set(config: Config, table: "ImageTable", cache: Cache, since_ns: int) -> None:
    """Keeps what :func:`recall_set` needs of a set of which every image was prepared without a failure.

    Args:
        config: As it was given, with its range of values as it was asked for.
        table: The set.
        cache: Its cache.
        since_ns: time.time_ns() before the table was read. What has changed since, or just before, is not kept.
    """
    from rsna.dataset.adapters import competition, find_adapter

    adapter: object = find_adapter(table.root, "train")
    if config.data.extra or adapter is not competition:
        return
    images = table.root / "train_images"
    looked = [table.root, competition.table_of(table.root, "train")]
    with contextlib.suppress(OSError):  # a full disk, or one for reading alone: the next start reads everything, too
        if images.is_dir():
            looked += [images, *(Path(entry.path) for entry in os.scandir(images) if entry.is_dir())]
        seen = _seen(map(str, looked))
        if max(max(mtime, ctime) for mtime, ctime, _ in seen.values()) > since_ns - _SETTLED_NS:
            return
        told = {
            "key": _key(config),
            "notes": list(table.notes),
            "seen": seen,
            "image_ids": table.images["image_id"].tolist(),
            "paths": table.images["path"].tolist(),
        }
        file = cache.directory / _FILE
        if not file.exists() or read_json(file) != told:
            write_json(file, told)


def _key(config: Config) -> str:
    """12 hexadecimal characters over what is asked for, and the code that reads it."""
    here = Path(__file__).parent
    code = code_hash(here, here.with_name("table_file"))
    root = str(Path(config.data.root).expanduser().resolve())
    return digest(config.data, root, config.preprocess.value_range, code)


def _seen(paths: Iterable[str]) -> dict[str, list[Any]]:
    """Path → when it was changed (mtime and ctime, ns), and its size."""
    looked = ((path, os.stat(path)) for path in paths)
    return {path: [now.st_mtime_ns, now.st_ctime_ns, now.st_size] for path, now in looked}
