"""Networks that were converted from torch, kept in the user's cache for the next start.

Not beside the run or the bundle: what lies there may be anyone's, and many such a disk takes no files.
"""

import contextlib
import hashlib
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import rsna
from rsna.config.settings import digest
from rsna.config.training import Precision
from rsna.files import FileError, read_json, sha256, temporary_beside, write_json
from rsna.runs.trained_model import TrainedModel

KEPT = 8
"""Conversions in the cache, the last used; one of EfficientNet-B3 in four folds takes 170 MB."""

_FILES = "files.json"
"""SHA-256 of every file of a conversion."""

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Conversion:
    """A folder with the converted networks of a model, and how far they were found to be from torch's."""

    folder: Path
    _temporary: tempfile.TemporaryDirectory[str] | None = None
    """Where it is not in the cache: removed with the last that uses it."""

    def difference(self, precision: Precision) -> float | None:
        """Largest difference of a probability that was found on a processor like this one; None where none looked."""
        with contextlib.suppress(FileError, OSError, KeyError, TypeError, ValueError):
            difference = float(read_json(self._verdict(precision))["difference"])
            return difference if 0 <= difference < math.inf else None
        return None

    def keep_difference(self, precision: Precision, difference: float) -> None:
        """Keeps what was found; where that cannot be written, the next start looks again."""
        with contextlib.suppress(OSError):
            write_json(self._verdict(precision), {"difference": difference})

    def _verdict(self, precision: Precision) -> Path:
        return self.folder / f"parity-{precision}-{digest(_processor())}.json"


def find_conversion(trained: TrainedModel, backend: str) -> Conversion | None:
    """What an earlier start converted of these weights, with these versions; None where none did, or it is damaged."""
    if (cache := cache_folder()) is None:
        return None
    folder = cache / _key(trained, backend)
    try:
        recorded = read_json(folder / _FILES)
        there = {file.name for file in folder.iterdir() if file.suffix != ".json"}
        if recorded.keys() != there or any(sha256(folder / name) != recorded[name] for name in there):
            return None
        os.utime(folder)
    except (FileError, OSError, AttributeError):
        return None
    return Conversion(folder)


def convert(trained: TrainedModel, backend: str, write: Callable[[Path], None]) -> Conversion:
    """Has ``write`` write converted networks into a folder: in the cache, or a temporary one where that cannot be."""
    if cache := cache_folder():
        folder = cache / _key(trained, backend)
        with contextlib.suppress(OSError), temporary_beside(folder) as temporary:
            temporary.mkdir()
            write(temporary)
            write_json(temporary / _FILES, {file.name: sha256(file) for file in temporary.iterdir()})
            shutil.rmtree(folder, ignore_errors=True)  # it was damaged, or another process was faster
            temporary.rename(folder)
            _prune(cache)
            return Conversion(folder)
    elsewhere = tempfile.TemporaryDirectory(prefix="rsna-networks-")
    write(Path(elsewhere.name))
    return Conversion(Path(elsewhere.name), elsewhere)


def cache_folder() -> Path | None:
    """``$XDG_CACHE_HOME/rsna-mammography/networks``, or below ``~/.cache``; None for a user without a home."""
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(cache) / "rsna-mammography" / "networks"


def _prune(cache: Path) -> None:
    folders = sorted(cache.glob("[!.]*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)


def _key(trained: TrainedModel, backend: str) -> str:
    """Of all that a conversion depends on: weights, settings, versions, and the code of networks and conversions."""
    code, package = hashlib.sha256(), Path(rsna.__file__).parent
    for file in sorted([*(package / "model").glob("*.py"), *Path(__file__).parent.glob("*.py")]):
        code.update(file.read_bytes())
    versions = {name: version(name) for name in ("torch", "timm", backend)}
    weights = [weights.sha256 for weights in trained.weights]
    spec = asdict(trained.spec)  # a mean and a maximum of images have the same weights
    return digest(backend, versions, code.hexdigest(), weights, trained.model, trained.preprocess.size, spec)


def _processor() -> list[str]:
    """What arithmetic depends on: the processor's name, and the instructions that it has."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return [platform.machine(), platform.processor()]
    return sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
