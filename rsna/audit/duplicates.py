"""Files with equal pixels under different names: copies, or one image that stands for two patients."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rsna.audit.probe import Probe, pixel_hash
from rsna.parallel.pool import map_tasks

_MEAN_TOLERANCE = 0.01
"""How far the means of two thumbnails of one image may differ, as share of their range: a level is not an average."""

_TOLERANCE = 0.1
"""How far any two of their pixels may, likewise."""


def find_duplicates(
    paths: Mapping[int, str], probes: Mapping[int, Probe], workers: int | None, file_timeout: float
) -> list[list[int]]:
    """Groups of places whose files hold equal pixels, each sorted; only likely pairs are decoded at full size.

    Args:
        paths: Place in the table → file.
        probes: Place → what `probe` saw; places without are left out.
        workers: Processes; None for one a core.
        file_timeout: Seconds after which a file is left out.
    """
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, seen in probes.items():
        by_size[seen.rows, seen.columns].append(place)
    likely: set[int] = set()
    for places in by_size.values():
        likely |= _likely(places, np.stack([probes[place].thumbnail for place in places]))
    chosen = sorted(likely)
    groups: dict[str, list[int]] = defaultdict(list)
    tasks = [paths[place] for place in chosen]
    for outcome in map_tasks(pixel_hash, tasks, workers=workers, timeout=file_timeout):
        if outcome.value is not None:
            groups[outcome.value].append(chosen[outcome.index])
    return sorted(group for group in groups.values() if len(group) > 1)


def _likely(places: list[int], thumbnails: npt.NDArray[np.float32]) -> set[int]:
    """Places whose (n, 24, 24) thumbnails have a near neighbour."""
    flat = thumbnails.reshape(len(places), -1)
    means = flat.mean(axis=1)
    order = np.argsort(means, kind="stable")
    flat, means = flat[order], means[order]
    span = np.maximum(np.ptp(flat, axis=1), 1.0)
    found: set[int] = set()
    for at in range(len(order) - 1):
        end = int(np.searchsorted(means, means[at] + _MEAN_TOLERANCE * span[at], side="right"))
        near = np.abs(flat[at + 1 : end] - flat[at]).max(axis=1, initial=0.0) <= _TOLERANCE * span[at]
        if near.any():
            found.add(places[order[at]])
            found.update(places[order[at + 1 + int(i)]] for i in np.flatnonzero(near))
    return found
