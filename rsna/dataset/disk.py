"""Looks at the files that a table names: which are there, and how large they are.

Of 10^7 files each costs a system call, and on a network disk a round trip of half a millisecond: more than an hour, one
after the other. So folders are listed where that tells of many files at once, and what is left is asked for by many
threads, which wait side by side.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rsna.dataset.walk import is_text
from rsna.parallel.progress import Progress

READERS = 16
"""Threads that look at files at once."""

_AT_ONCE = 1024
"""Files that a thread looks at in one go: to hand over each by itself would cost more than to look."""

_WORTH_LISTING = 16
"""Files of one folder from which on it is listed."""

_BESIDE = 1024
"""Other entries beside four times as many as are wanted, after which listing a folder is given up."""


def are_files(paths: pd.Series) -> npt.NDArray[np.bool_]:
    """(n,) whether each of the whole paths leads to a file, through links if need be; False where nobody may look."""
    there = np.zeros(len(paths), dtype=np.bool_)
    whole = _as_text(paths)
    asked = []
    with Progress("look for files", len(paths), "files") as progress:
        for folder, rows in _by_folder(whole):
            if len(rows) >= _WORTH_LISTING and (names := _listed(folder, len(rows))) is not None:
                found = pa.array(names, pa.large_string())
                there[rows] = pc.is_in(_names(whole.take(rows)), found).to_numpy(zero_copy_only=False)
                progress.step(int(there[rows].sum()))
                rows = rows[~there[rows]]  # on a disk that takes A for a, another spelling is there, too
            asked.append(rows)
        rows = np.concatenate(asked) if asked else np.zeros(0, dtype=np.int64)

        def look(part: tuple[int, pa.LargeStringArray]) -> int:
            start, names = part
            # Not Path.is_file, which raises where there is no permission to look.
            there[rows[start : start + len(names)]] = [os.path.isfile(path) for path in names.to_pylist()]  # noqa: PTH113
            return len(names)

        with ThreadPoolExecutor(READERS) as pool:
            for looked in pool.map(look, _parts(whole.take(rows))):
                progress.step(looked)
    return there


def file_sizes(paths: pd.Series) -> npt.NDArray[np.int64]:
    """(n,) bytes of the files.

    Raises:
        OSError: One cannot be looked at: the first such.
    """
    sizes = np.zeros(len(paths), dtype=np.int64)
    parts = _parts(_as_text(paths))

    def look(part: tuple[int, pa.LargeStringArray]) -> None:
        start, names = part
        sizes[start : start + len(names)] = [os.stat(path).st_size for path in names.to_pylist()]

    with ThreadPoolExecutor(READERS) as pool:
        for _ in pool.map(look, parts):
            pass
    return sizes


def _as_text(paths: pd.Series) -> pa.LargeStringArray:
    text = pa.array(paths, pa.large_string())
    return text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text


def _parts(paths: pa.LargeStringArray) -> Iterator[tuple[int, pa.LargeStringArray]]:
    """Some paths, and the place of the first of them."""
    return ((start, paths.slice(start, _AT_ONCE)) for start in range(0, len(paths), _AT_ONCE))


def _by_folder(paths: pa.LargeStringArray) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Folder, and the places of its paths, in the order in which folders come."""
    if not len(paths):
        return
    folders = pc.replace_substring_regex(paths, "/[^/]*$", "").dictionary_encode()
    codes = folders.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(folders.dictionary)))
    for folder, start, end in zip(folders.dictionary, [0, *ends[:-1]], ends, strict=True):
        yield cast(str, folder.as_py()), order[start:end]


def _names(paths: pa.LargeStringArray) -> pa.LargeStringArray:
    return pc.replace_substring_regex(paths, "^.*/", "")


def _listed(folder: str, wanted: int) -> list[str] | None:
    """Names of the files in a folder; None where it cannot be listed, or holds far more than is wanted."""
    names = []
    try:
        with os.scandir(folder or "/") as entries:
            for number, entry in enumerate(entries):
                if number > 4 * wanted + _BESIDE:
                    return None
                if entry.is_file() and is_text(entry.name):
                    names.append(entry.name)
    except OSError:
        return None
    return names
