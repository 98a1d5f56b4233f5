"""What files are, without preparing them: facts of their headers, and which of them hold equal pixels."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.uid import UID

from rsna.dicom.file import Mammogram
from rsna.parallel.pool import map_tasks
from rsna.prepare.image import read_overview
from rsna.prepare.source import open_image

_THUMBNAIL = 24
"""Pixels along both sides of a thumbnail, whatever the image's aspect."""

_MEAN_TOLERANCE = 0.01
"""How far the means of two thumbnails of one image may differ, as share of their range: a level is not an average."""

_TOLERANCE = 0.1
"""How far any two of their pixels may, likewise."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A file that can be read."""

    facts: dict[str, str]
    """What its header says, by columns of `rsna.audit.audit.AuditReport.images`; a picture says almost nothing."""
    size: tuple[int, int]
    """(rows, columns)."""
    thumbnail: npt.NDArray[np.float32]
    """(24, 24) stored values, averaged."""


def probe(path: str) -> Probe:
    """Reads the header and a small level of the pixels; what a worker does."""
    image = open_image(path)
    stored = read_overview(image)
    thumbnail = cv2.resize(stored.astype(np.float32), (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    facts = {"size": f"{image.size[0]}×{image.size[1]}"}
    if isinstance(image, Mammogram):
        tags, grayscale = image.tags, image.grayscale
        windows = grayscale.luts or grayscale.windows
        facts |= {
            "header_patient_id": tags.patient_id,
            "header_laterality": tags.laterality,
            "header_view": tags.view,
            "modality": tags.modality,
            "presentation_intent": tags.presentation_intent,
            "syntax": UID(tags.transfer_syntax).name,
            "photometric": tags.photometric,
            "window_function": "LUT" if grayscale.luts else grayscale.function if windows else "none",
            "bits_stored": str(tags.bits_stored),
            "windows": str(len(windows)),
            "machine": f"{tags.manufacturer} {tags.model}".strip(),
        }
    else:
        kind = Path(path).suffix.lower().lstrip(".").replace("jpeg", "jpg").upper()
        facts |= {"syntax": kind, "photometric": "MONOCHROME2", "window_function": "none", "windows": "0"}
        facts["bits_stored"] = str(8 * stored.itemsize)
    return Probe(facts, image.size, thumbnail)


def pixel_hash(path: str) -> str:
    """SHA-256 of the stored values at full size: equal for equal pixels in whatever syntax; what a worker does."""
    stored = open_image(path).decode()
    values = np.ascontiguousarray(stored, dtype=np.int32 if stored.dtype.kind == "i" else np.uint16)
    return hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()


def find_duplicates(
    paths: Mapping[int, str], probes: Mapping[int, Probe], workers: int | None, file_timeout: float
) -> list[list[int]]:
    """Groups of places whose files hold equal pixels, each sorted; only likely pairs are decoded at full size.

    Args:
        paths: Place in the table → file.
        probes: Place → what `probe` saw; places without are left out, as are files past ``file_timeout`` seconds.
    """
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, seen in probes.items():
        by_size[seen.size].append(place)
    likely: set[int] = set()
    for places in by_size.values():
        thumbnails = np.stack([probes[place].thumbnail.ravel() for place in places])  # (n, 576)
        means = thumbnails.mean(axis=1)
        # In the order of their means near neighbours lie side by side: n windows instead of n² pairs.
        order = np.argsort(means, kind="stable")
        thumbnails, means = thumbnails[order], means[order]
        span = np.maximum(np.ptp(thumbnails, axis=1), 1.0)
        for at in range(len(order) - 1):
            end = int(np.searchsorted(means, means[at] + _MEAN_TOLERANCE * span[at], side="right"))
            near = np.abs(thumbnails[at + 1 : end] - thumbnails[at]).max(axis=1, initial=0.0) <= _TOLERANCE * span[at]
            if near.any():
                likely.update(places[order[at + offset]] for offset in (0, *(1 + np.flatnonzero(near))))
    chosen = sorted(likely)
    groups: dict[str, list[int]] = defaultdict(list)
    for outcome in map_tasks(pixel_hash, [paths[i] for i in chosen], workers=workers, timeout=file_timeout):
        if outcome.value is not None:
            groups[outcome.value].append(chosen[outcome.index])
    return sorted(group for group in groups.values() if len(group) > 1)
