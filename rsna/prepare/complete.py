"""Whether a cache holds a whole set and nothing has changed since, told without reading what it knows of each image.

``complete.json`` beside the images holds a hash over every source file's path, size and times, the names of the
prepared images, and the index. Where it still fits, no line of the index is parsed: with 54,706 images that is most of
the time in which nothing is done. Where it does not fit, or is not there, or the images' folder has changed since the
index was written, everything is compared.
"""

import contextlib
import hashlib
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rsna.files import FileError, first_few, read_json, write_json
from rsna.prepare.cache import Cache, Entry
from rsna.prepare.value_range import FEW_LEVELS

_FILE = "complete.json"


@dataclass(frozen=True)
class Complete:
    """What is said of a set of which every image is prepared."""

    no_breast: tuple[str, ...]
    """Images in which no breast was found."""
    few_levels: tuple[str, ...]
    """Images with fewer than `FEW_LEVELS` grey levels."""

    def lines(self, crop: str) -> list[str]:
        """What is said of them; ``crop`` is that of the settings."""
        said = []
        if self.no_breast and crop == "breast":
            said.append(
                f"no breast found in {len(self.no_breast):,} images, which are kept whole (first: "
                f"{first_few(self.no_breast)}); `rsna audit` draws them"
            )
        if self.few_levels:
            said.append(
                f"fewer than {FEW_LEVELS} of 256 grey levels in {len(self.few_levels):,} images (first: "
                f"{first_few(self.few_levels)}); `rsna audit` says why, preprocess.window and value_range change it"
            )
        return said

    @staticmethod
    def of(entries: Mapping[str, Entry]) -> "Complete":
        """Of these images."""
        return Complete(
            tuple(image_id for image_id, entry in entries.items() if not entry.geometry.breast_found),
            tuple(image_id for image_id, entry in entries.items() if entry.grey_levels < FEW_LEVELS),
        )


def summary(cache: Cache, prepared: int, now: int = 0, seconds: float = 0.0, failed: int = 0) -> str:
    """The line on a cache: how many images are prepared, and how many of them were in this run."""
    return f"cache {cache.directory}: {prepared:,} prepared images ({now:,} now in {seconds:.0f} s), {failed:,} failed"


def recall_complete(cache: Cache, files: Iterable[tuple[str, str]]) -> Complete | None:
    """What was recorded, where it is of just these images and nothing has changed; each file is looked at once.

    Args:
        files: image_id and path of each image of the set.
    """
    # Unreadable or edited: everything is compared.
    with contextlib.suppress(OSError, FileError, KeyError, TypeError):
        if not cache.index_is_current():  # images may have exchanged their names, which are the same as before
            return None
        told = read_json(cache.directory / _FILE)
        seen = []
        for image_id, path in files:
            now = os.stat(path)
            # A plain path is its own absolute one, of which 54,706 take longer than to look at the files.
            whole = path if path[:1] == "/" and "/." not in path and "//" not in path else os.path.abspath(path)
            seen.append((image_id, whole, now.st_mtime_ns, now.st_ctime_ns, now.st_size))
        if told["state"] == _state(cache, seen):
            return Complete(tuple(told["no_breast"]), tuple(told["few_levels"]))
    return None


def record_complete(cache: Cache, entries: Mapping[str, Entry], complete: Complete) -> None:
    """Records what the next start needs; the files count as they were when each was compared, not as they are now.

    Where the disk is full or read only, nothing is recorded, which costs time alone.
    """
    stamped = [(image_id, entry.stamp, entry.size) for image_id, entry in entries.items()]
    seen = [(image_id, at.path, at.mtime_ns, at.ctime_ns, size) for image_id, at, size in stamped if at]
    if len(seen) < len(entries):
        return
    told = {"state": "", "no_breast": complete.no_breast, "few_levels": complete.few_levels}
    with contextlib.suppress(OSError):
        write_json(cache.directory / _FILE, told | {"state": _state(cache, seen)})


def _state(cache: Cache, seen: Iterable[tuple[str, str, int, int, int]]) -> str:
    files = sorted([f"{image_id}\0{path}\0{mtime}\0{ctime}\0{size}" for image_id, path, mtime, ctime, size in seen])
    lines = (*files, *sorted(cache.image_names()), str(zlib.crc32(cache.index_file.read_bytes())))
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
