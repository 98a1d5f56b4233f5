"""One image at several places: which files are copies, and which only say that they are."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from rsna.dataset.table import image_id_of
from rsna.files import fingerprint, first_few, sha256
from rsna.parallel.pool import map_tasks
from rsna.parallel.progress import Progress
from rsna.prepare.source import open_image

_MOST_COPIES = 8
"""Files of one UID and different bytes that are still compared: more have it from a tool that gives every file one."""

Copies = list[tuple[str, str]]
"""(path, why it is not taken), with the path that is."""


def pixel_hash(path: str) -> str:
    """SHA-256 of the stored values at full size: equal for equal pixels in whatever syntax; what a worker does."""
    stored = open_image(path).decode()
    values = np.ascontiguousarray(stored, dtype=np.int32 if stored.dtype.kind == "i" else np.uint16)
    return hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()


def find_copies(
    folder: Path, paths: Sequence[str], uids: Sequence[str], labelled: Collection[str] = ()
) -> tuple[Copies, list[str]]:
    """Copies of images: files of equal bytes, or of one SOP Instance UID and equal pixels.

    Of several, the original is one that labels name, and then the one with the shortest path: `1 (2).dcm` and `copy of
    x/1.dcm` have longer ones.
    Files are read in full where a UID comes twice, or where one without is like another in samples of its bytes.

    Args:
        folder: Where the paths start.
        uids: SOP Instance UID (0008,0018) of each, "" where unsaid.
        labelled: image_ids of labels.

    Returns:
        The copies, and lines on files of one UID whose pixels differ, or cannot be compared: all are taken.
    """
    said = {uid for uid in uids if uid}
    groups: dict[str, list[str]] = defaultdict(list)
    files = sorted(
        zip(paths, uids, strict=True), key=lambda file: (image_id_of(file[0]) not in labelled, len(file[0]), file)
    )
    with Progress("look for copies", len(files), "files") as progress:
        for path, uid in progress.over(files):
            groups[uid or _hash(folder / path, fingerprint)].append(path)
    copies: Copies = []
    originals: list[list[str]] = []
    several = {key: group for key, group in groups.items() if len(group) > 1}
    with Progress("compare files", sum(map(len, several.values())), "files") as progress:
        for key, group in several.items():
            pairs = _pairs(group, (_hash(folder / path, sha256) for path in progress.over(group)))
            copies += [(path, f"Copy: the same bytes as {first}") for path, first in pairs if first != path]
            if key in said:
                originals.append([path for path, first in pairs if first == path])
    suspects = [path for group in originals if 1 < len(group) <= _MOST_COPIES for path in group]
    with Progress("compare pixels", len(suspects), "files") as progress:
        outcomes = progress.over(map_tasks(pixel_hash, [str(folder / path) for path in suspects]))
        hashes = {path: outcome.value for path, outcome in zip(suspects, outcomes, strict=True) if outcome.value}
    conflicts, unknown = list[str](), list[str]()
    for group in originals:
        pairs = _pairs(group, (hashes.get(path, path) for path in group))
        reason = "Copy: the same SOP Instance UID (0008,0018) and pixels as "
        copies += [(path, reason + first) for path, first in pairs if first != path]
        apart = [path for path, first in pairs if first == path]
        if len(apart) > 1:
            read = [path for path in apart if path in hashes]
            few = len(group) <= _MOST_COPIES
            (unknown if few and len(read) < 2 else conflicts).append(
                " and ".join((read if len(read) > 1 else apart)[:2])
            )
    what = "SOP Instance UIDs (0008,0018) stand in several files"
    return copies, [
        f"{len(found):,} {what} {of} (first: {first_few(found)})"
        for found, of in (
            (conflicts, "of different pixels, which are all used"),
            (unknown, "of which one at most can be decoded: the others may be copies of it that were cut off"),
        )
        if found
    ]


def _hash(path: Path, how: Callable[[Path], str]) -> str:
    try:
        return how(path)
    except OSError:
        return str(path)  # equal to no other


def _pairs(paths: Iterable[str], hashes: Iterable[str]) -> list[tuple[str, str]]:
    """(path, first path of the same hash)."""
    first: dict[str, str] = {}
    return [(path, first.setdefault(found, path)) for path, found in zip(paths, hashes, strict=True)]
