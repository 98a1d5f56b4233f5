"""The values shown as black and white where a file carries no window: a matter of the set, measured once over it.

A scanner's twelve bits in a PNG of sixteen, or under Bits Stored 16 without a window, fill a sixteenth of the range
that the pixel type promises: shown by it, a breast has 17 grey levels. No single image tells how bright another one of
its set may be, so the range is that of a sample of the whole set, and is kept with the settings: training and inference
share it.
"""

import contextlib
import hashlib
import heapq
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from rsna.config.data import PreprocessSettings, ValueRange
from rsna.config.settings import digest
from rsna.files import read_json, write_json
from rsna.parallel.pool import map_tasks
from rsna.parallel.progress import Progress
from rsna.prepare.hashing import PREPROCESSING_VERSION

if TYPE_CHECKING:
    from rsna.dicom.decode import Stored
    from rsna.prepare.source import SourceImage

FEW_LEVELS = 32
"""Grey levels of 256 below which a picture says little: mammograms have 150 and more."""

_OPENED, _DECODED = 96, 24
"""Files of a set that are opened to look for a window, and those without one that are decoded, at most."""
_READERS = 4
_REMEMBERED = "value_range.json"
_STRAY = 8
"""Pixels at either end that do not count, or one in 100,000 of a large image."""
_WORTH_IT = 4
"""How much narrower than the header's range a set's must be to be used: two bits, which leave 64 grey levels."""


@dataclass(frozen=True)
class Measured:
    """What the files without a window hold."""

    n_images: int
    """Images that were decoded."""
    values: ValueRange
    """The least and the greatest stored value among them, those at the very end of the pixel type left out."""
    shown: ValueRange
    """What is black and white."""

    def __str__(self) -> str:
        (least, greatest), (black, white) = self.values, self.shown
        return (
            f"{self.n_images} images without a window hold values from {least:,} to {greatest:,}: {black:,} is shown "
            f"black, {white:,} white (preprocess.value_range=[{black},{white}])"
        )


def shown_by_range(image: "SourceImage", settings: PreprocessSettings) -> bool:
    """Whether an image is displayed by a range of values, since it carries no window or none is wanted."""
    return settings.window is None or not image.has_window


def narrowed(image: "SourceImage", settings: PreprocessSettings) -> "SourceImage":
    """The image as these settings display it: where it is shown by its range, by that of the set within it."""
    if settings.value_range == "auto" or not shown_by_range(image, settings):
        return image
    return image.narrowed(settings.value_range)


@dataclass(frozen=True)
class RangeFound:
    """What a sample of a set was found to need, and which sample: it need not be opened again while it is the same."""

    sample: str
    """Hash over the sample's paths, sizes and times of change; "" where a file cannot be looked at."""
    measured: Measured | None
    """None where the files' own windows and ranges do."""

    @staticmethod
    def read(folder: Path) -> "RangeFound | None":
        """What is remembered beside the caches of a set; None where nothing is, or what was edited."""
        with contextlib.suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
            told = read_json(folder / _REMEMBERED)
            # A changed digit is still a grey value, and shows every image of the set otherwise.
            if told.pop("checksum") == digest(told):
                return _ADAPTER.validate_python(told)
        return None

    def write(self, folder: Path) -> None:
        """Remembers it there; where nothing can be written, the next start measures again."""
        if self.sample and self != RangeFound.read(folder):
            with contextlib.suppress(OSError):
                told = asdict(self)
                write_json(folder / _REMEMBERED, {**told, "checksum": digest(told)})


def measured(settings: PreprocessSettings, paths: Iterable[str]) -> tuple[PreprocessSettings, Measured | None]:
    """Settings with the range of a set, where its files need one, and what was measured; ``value_range`` wins if given.

    Args:
        paths: The files of the whole set, in any order; a sample of them is opened, the same at every start.
    """
    if settings.value_range != "auto":
        return settings, None
    found = _measure(settings, _sample(paths))
    return (replace(settings, value_range=found.shown), found) if found else (settings, None)


def find_range(settings: PreprocessSettings, paths: Iterable[str], folder: Path) -> RangeFound:
    """What :func:`measured` finds, or found when it was remembered in ``folder``; without a range that is given."""
    sample = _sample(paths)
    try:
        looked = [(path, os.stat(path)) for path in sample]
        seen = [(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns) for path, found in looked]
        state = digest(PREPROCESSING_VERSION, settings.window, seen)
    except OSError:  # said where it is prepared
        return RangeFound("", _measure(settings, sample))
    told = RangeFound.read(folder)
    return told if told and told.sample == state else RangeFound(state, _measure(settings, sample))


_ADAPTER = TypeAdapter(RangeFound)


def _sample(paths: Iterable[str]) -> list[str]:
    # By a hash of the name: spread over folders and machines, the same sample wherever the set lies.
    names = ((path.rpartition(os.sep)[2].encode(errors="surrogateescape"), path) for path in paths)
    return [path for _, path in heapq.nsmallest(_OPENED, ((hashlib.sha256(n).digest(), path) for n, path in names))]


def _measure(settings: PreprocessSettings, sample: list[str]) -> Measured | None:
    with Progress("look for windows", len(sample), "files") as progress, ThreadPoolExecutor(_READERS) as pool:
        found_ranges = progress.over(pool.map(partial(_range_shown_by, settings), sample))
        ranges = dict(zip(sample, found_ranges, strict=True))
    wanted = [path for path in sample if ranges[path] is not None][:_DECODED]
    if not wanted:
        return None
    # In worker processes, as everything that decodes: a file may crash or hang whoever reads it.
    with Progress("measure grey values", len(wanted)) as progress:
        outcomes = progress.over(map_tasks(_extremes_of, wanted))
        extremes = [found for outcome in outcomes if (found := outcome.value) is not None]
    if not extremes:
        return None
    least, greatest = min(low for low, _ in extremes), max(high for _, high in extremes)
    shown = _rounded(least, greatest)
    if not any(_span(full) >= _WORTH_IT * _span(shown) for path in wanted if (full := ranges[path])):
        return None
    return Measured(len(extremes), (least, greatest), shown)


def grey_levels(pixels: np.ndarray[Any, Any]) -> int:
    """How many of 256 grey levels a picture uses: (H, W) float in [0, 1], uint8 or uint16."""
    if pixels.dtype.kind == "f":
        pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    elif pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return int(np.count_nonzero(np.bincount(pixels.ravel(), minlength=256)))


def value_extremes(stored: "Stored", full: ValueRange) -> ValueRange | None:
    """The least and the greatest value of an image, or None where there is nothing between the ends of its range.

    Both ends are left out: 0 is air or padding, and what was burnt in is written at full scale. So are the outermost
    few pixels, which a broken element of the detector may be.
    """
    inner = stored[(stored > full[0]) & (stored < full[1])]
    few = max(_STRAY, inner.size // 100_000)
    if inner.size <= 2 * few:
        return (int(inner.min()), int(inner.max())) if inner.size else None
    ordered = np.partition(inner, (few, inner.size - 1 - few))
    return int(ordered[few]), int(ordered[-1 - few])


def _range_shown_by(settings: PreprocessSettings, path: str) -> ValueRange | None:
    """The full range of a file of more than 8 bits that is shown by it; only the header is read."""
    from rsna.dicom.errors import DicomError
    from rsna.prepare.source import PictureError, open_image

    try:
        image = open_image(path)
    except (DicomError, PictureError, OSError):  # said where it is prepared
        return None
    return image.full_range if shown_by_range(image, settings) and _span(image.full_range) > 256 else None


def _extremes_of(path: str) -> ValueRange | None:
    """`value_extremes` of a file, padding left out; what a worker does."""
    from rsna.dicom.file import Mammogram
    from rsna.prepare.source import open_image

    image = open_image(path)
    stored = image.decode()
    padding = image.grayscale.padding if isinstance(image, Mammogram) else None
    if padding is not None:
        stored = stored[(stored < padding[0]) | (stored > padding[1])]
    return value_extremes(stored, image.full_range)


def _span(ends: ValueRange) -> int:
    return ends[1] - ends[0] + 1


def _rounded(least: int, greatest: int) -> ValueRange:
    """Ends that another sample would give, too: whole bits where values start near 0, else quarters of their span."""
    if 0 <= least <= greatest // 2:
        return 0, (1 << greatest.bit_length()) - 1
    step = max(1, 1 << (_span((least, greatest)) - 1).bit_length() >> 2)
    return least // step * step, (greatest // step + 1) * step - 1
