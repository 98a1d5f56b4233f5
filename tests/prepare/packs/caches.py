"""Caches of small noise, without a file that they were made from unless one is given."""

import multiprocessing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rsna.config.data import PreprocessSettings
from rsna.files import fingerprint
from rsna.prepare.cache import Cache, Entry, FileStamp
from rsna.prepare.geometry import Geometry
from rsna.prepare.packs.pack import Pack

SETTINGS = PreprocessSettings(size=(32, 16))
GEOMETRY = Geometry((100, 90), (5, 6, 70, 80), True, (32, 16), (0, 0), (32, 16))


def pixels_of(image_id: str) -> np.ndarray:
    """(32, 16) uint8."""
    seed = np.frombuffer(image_id.encode(), np.uint8)
    return np.random.default_rng(seed).integers(0, 256, (32, 16), np.uint8)


def write_cache(
    folder: Path,
    image_ids: Iterable[str],
    files: Mapping[str, Path] | None = None,
    settings: PreprocessSettings = SETTINGS,
) -> Cache:
    """A cache of the set "set" with these images; an image's place is its height in the original, so they differ."""
    cache = Cache.create(folder, "set", settings)
    entries = {}
    for number, image_id in enumerate(image_ids):
        file = (files or {}).get(image_id)
        geometry = replace(GEOMETRY, source=(100 + number, 90), breast_found=number != 0)
        entries[image_id] = Entry(f"{number}-0", geometry, 256 - number)
        if file:
            entries[image_id] = replace(entries[image_id], fingerprint=fingerprint(file), stamp=FileStamp.of(str(file)))
        cache.write(image_id, pixels_of(image_id), entries[image_id])
    cache.write_index(entries)
    return cache


def read_by_forks(pack: Pack, ids: Sequence[str]) -> list[npt.NDArray[np.generic]]:
    """Images, read by two processes that are forked from this one. They end by themselves, of no signal: whatever else
    was tested in this process may have left a handler, and threads that a fork takes for its own."""
    pool = multiprocessing.get_context("fork").Pool(2)
    try:
        return pool.map(pack.read, ids)
    finally:
        pool.close()
        pool.join()
