"""What files are, without preparing them: facts of their headers, and which of them hold equal pixels."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.uid import UID

from rsna.archive.copies import pixel_hash
from rsna.config.data import PreprocessSettings
from rsna.dicom import Tags
from rsna.dicom.file import Mammogram
from rsna.parallel.pool import map_tasks
from rsna.parallel.progress import Progress
from rsna.prepare.crop import find_breast
from rsna.prepare.image import read_overview, unwindowed
from rsna.prepare.source import open_image
from rsna.prepare.value_range import grey_levels, narrowed, shown_by_range, value_extremes

if TYPE_CHECKING:
    from rsna.parallel.cluster import Cluster

_THUMBNAIL = 24
"""Pixels along both sides of a thumbnail, whatever the image's aspect."""

_MEAN_TOLERANCE = 0.01
"""How far the means of two thumbnails of one image may differ, as share of their range: a level is not an average."""

_TOLERANCE = 0.1
"""How far any two of their pixels may, likewise."""


_UNUSED = 8
"""Share of its range, one in so many, that an image leaves unused if it is said: three bits."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A file that can be read."""

    facts: dict[str, str]
    """What its header says, by columns of `rsna.audit.audit.AuditReport.images`; a picture says almost nothing."""
    size: tuple[int, int]
    """(rows, columns)."""
    thumbnail: npt.NDArray[np.float32]
    """(24, 24) stored values, averaged."""
    unused: str
    """Where values fill an eighth of the range that they are shown by, or less: which, of how many; "" otherwise."""
    grey_levels: int
    """How many of 256 the displayed image has."""
    breast_found: bool
    """Whether anything on it looks like a breast."""
    tags: Tags | None
    """None of a picture."""


def probe(path: str, settings: PreprocessSettings) -> Probe:
    """Reads the header and a small level of the pixels, displayed by ``settings``; what a worker does."""
    image = open_image(path)
    stored = read_overview(image)
    shown = narrowed(image, settings)
    levels = grey_levels(shown.display(stored, window=settings.window))
    found = find_breast(unwindowed(shown, stored)).found
    (least, greatest), values = image.full_range, value_extremes(stored, image.full_range)
    unused = ""
    if values and shown_by_range(image, settings) and (values[1] - values[0]) * _UNUSED < greatest - least > 255:
        unused = f"{values[0]:,} to {values[1]:,}, where {least:,} to {greatest:,} are possible, and no window"
    thumbnail = cv2.resize(stored.astype(np.float32), (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    facts = {"size": f"{image.size[0]}×{image.size[1]}"}
    if isinstance(image, Mammogram):
        tags, grayscale = image.tags, image.grayscale
        windows = [choice for choice in grayscale.choices if not choice.unusable]
        function = grayscale.function if windows and windows[0] in grayscale.windows else "LUT" if windows else "none"
        facts |= {
            "header_patient_id": tags.patient_id,
            "header_laterality": tags.laterality,
            "header_view": tags.view,
            "header_exam_id": tags.study_instance_uid,
            "header_image_uid": tags.sop_instance_uid,
            "kind": tags.kind,
            "header_notes": "; ".join(image.notes),
            "modality": tags.modality,
            "presentation_intent": tags.presentation_intent,
            "syntax": UID(tags.transfer_syntax).name,
            "photometric": tags.photometric,
            "window_function": function,
            "bits_stored": str(tags.bits_stored),
            "windows": str(len(windows)),
            "machine": tags.machine,
        }
    else:
        kind = Path(path).suffix.lower().lstrip(".").replace("jpeg", "jpg").upper()
        facts |= {"syntax": kind, "photometric": "MONOCHROME2", "window_function": "none", "windows": "0"}
        facts["bits_stored"] = str(8 * stored.itemsize)
    header = image.tags if isinstance(image, Mammogram) else None
    return Probe(facts, image.size, thumbnail, unused, levels, found, header)


def find_duplicates(
    paths: Mapping[int, str],
    probes: Mapping[int, Probe],
    workers: int | None,
    file_timeout: float,
    cluster: "Cluster | None" = None,
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
    with Progress("compare pixels", len(chosen), "files") as progress:
        files = [paths[i] for i in chosen]
        for outcome in map_tasks(pixel_hash, files, workers=workers, timeout=file_timeout, cluster=cluster):
            if outcome.value is not None:
                groups[outcome.value].append(chosen[outcome.index])
            progress.step(failed=outcome.value is None)
    return sorted(group for group in groups.values() if len(group) > 1)
