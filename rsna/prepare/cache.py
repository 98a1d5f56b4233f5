"""Prepared images on disk: one TIFF file each, whole or absent, with its geometry inside.

Layout: ``<cache_dir>/<dataset>/<preprocessing hash>/`` holds ``images/<image_id>.tif``, ``settings.json`` and
``index.jsonl``. The images are the truth; the index repeats what their headers say, so that they need not be opened.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from rsna.config.data import PreprocessSettings
from rsna.config.settings import to_mapping
from rsna.dicom.box import Box
from rsna.files import fingerprint, read_json, write_atomic, write_json
from rsna.prepare import tiff
from rsna.prepare.geometry import Geometry
from rsna.prepare.image import PREPROCESSING_VERSION, Prepared, prepare_image, preprocessing_hash

log = logging.getLogger(__name__)

_SUFFIX = ".tif"
_LONGEST_NAME = 200
"""Characters of a file's name, of the 255 that disks take; temporary names are longer."""

_LEFTOVER = re.compile(r"\..*\.\d+\.tmp")
"""Temporary names of `rsna.files.atomic_path`, left where a process was killed."""


@dataclass(frozen=True)
class FileStamp:
    """Where a file was when it was last compared, and its time of change: the same there, it is not opened again."""

    path: str
    mtime_ns: int

    @staticmethod
    def of(path: str) -> "FileStamp":
        """Of a file as it is now."""
        return FileStamp(str(Path(path).absolute()), os.stat(path).st_mtime_ns)


@dataclass(frozen=True)
class Entry:
    """What is known of a prepared image beside its pixels."""

    fingerprint: str
    """Of the file that it was made from."""
    geometry: Geometry
    stamp: FileStamp | None = field(default=None, compare=False)
    """In the index alone: the image itself is the same wherever its file lies."""

    def to_json(self, image_id: str) -> str:
        """The description inside the image; ASCII."""
        return _compact({"image_id": image_id, "fingerprint": self.fingerprint, **self.geometry.to_json()})

    def to_line(self, image_id: str) -> str:
        """One line of the index."""
        stamp = asdict(self.stamp) if self.stamp else None
        return _compact({**json.loads(self.to_json(image_id)), "seen": stamp})

    @staticmethod
    def from_json(text: str) -> tuple[str, "Entry"]:
        """(image_id, entry) of a description or a line; a ValueError, KeyError or TypeError where it is neither."""
        values: Mapping[str, Any] = json.loads(text)
        stamp = FileStamp(**values["seen"]) if values.get("seen") else None
        return values["image_id"], Entry(values["fingerprint"], Geometry.from_json(values), stamp)

    def is_unchanged(self, path: str) -> bool:
        """Whether its file was at ``path`` before and has not been changed since; the file is not opened."""
        try:
            return self.stamp == FileStamp.of(path) and os.stat(path).st_size == self._size
        except OSError:
            return False

    def compared(self, path: str) -> "Entry | None":
        """This entry with the stamp of the file at ``path``, or None where that is another file.

        One that was put away since counts as the same.
        """
        if self.is_unchanged(path):
            return self
        try:
            # The size first: it is known without opening the file.
            same = os.stat(path).st_size == self._size and fingerprint(path) == self.fingerprint
            return replace(self, stamp=FileStamp.of(path)) if same else None
        except OSError:
            return self

    @property
    def source_file(self) -> Path | None:
        """The file that it was made from, where there still is one."""
        return Path(self.stamp.path) if self.stamp and Path(self.stamp.path).is_file() else None

    @property
    def _size(self) -> int:
        return int(self.fingerprint.partition("-")[0])


class CacheError(RuntimeError):
    """An image that is not in the cache or cannot be read from it; the message says how to mend it."""


class CacheWriteError(CacheError):
    """The cache cannot be written, a full disk for one: no image's fault."""


class Cache:
    """The prepared images of one set under one preprocessing hash; cheap to make and to pickle.

    Whatever reads an image raises CacheError where it was never prepared or is damaged; whatever writes,
    CacheWriteError where the disk is full or may not be written.
    """

    def __init__(self, directory: str | Path) -> None:
        """Opens the cache in ``directory``, which `Cache.create` has made once."""
        self.directory = Path(directory)

    @classmethod
    def create(cls, cache_dir: str | Path, dataset: str, settings: PreprocessSettings) -> "Cache":
        """The cache of the set named ``dataset`` under these settings; its folder is made where it is not there."""
        digest = preprocessing_hash(settings)
        cache = cls(Path(cache_dir).expanduser() / _file_name(dataset) / digest)
        about = {
            "dataset": dataset,
            "preprocessing_hash": digest,
            "preprocessing_version": PREPROCESSING_VERSION,
            "settings": to_mapping(settings),
        }
        with _write_errors(cache.directory, ". Choose another cache_dir"):
            cache._images.mkdir(parents=True, exist_ok=True)
            if not (cache.directory / "settings.json").exists():
                write_json(cache.directory / "settings.json", about)
        return cache

    @property
    def preprocessing_hash(self) -> str:
        """Hash of the settings that the images were made with."""
        return str(read_json(self.directory / "settings.json")["preprocessing_hash"])

    def path(self, image_id: str) -> Path:
        """Where an image is, or would be."""
        return self._images / (_file_name(image_id) + _SUFFIX)

    def read(self, image_id: str) -> Prepared:
        """(H, W) uint8 or uint16 pixels, a fresh array."""
        try:
            return tiff.decode(self.path(image_id).read_bytes())
        except FileNotFoundError:
            raise self._missing(image_id) from None
        except tiff.TiffError as error:
            raise self._damaged(image_id, error) from error

    def geometry(self, image_id: str) -> Geometry:
        """How the prepared image lies in its file."""
        return self._entry(image_id).geometry

    def __contains__(self, image_id: object) -> bool:
        return isinstance(image_id, str) and self.path(image_id).exists()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[str]:
        """Ids of the prepared images, in no order."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._images) as files:
            for file in files:
                if file.name.endswith(_SUFFIX):
                    yield unquote(file.name.removesuffix(_SUFFIX))

    def write(self, image_id: str, pixels: Prepared, entry: Entry) -> None:
        """Adds an image; a reader sees all of it or nothing."""
        with _write_errors(self.path(image_id)):
            write_atomic(self.path(image_id), tiff.encode(pixels, entry.to_json(image_id)))

    def discard(self, image_id: str) -> None:
        """Removes an image."""
        with _write_errors(self.path(image_id)):
            self.path(image_id).unlink(missing_ok=True)

    def entries(self) -> dict[str, Entry]:
        """What is known of every prepared image, from the index, and from the image where the index lacks it."""
        indexed: dict[str, Entry] = {}
        # A damaged or missing index costs time, nothing else.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            for line in self._index.read_text().splitlines():
                image_id, entry = Entry.from_json(line)
                indexed[image_id] = entry
        known: dict[str, Entry] = {}
        for image_id in self:
            with contextlib.suppress(CacheError):  # a damaged image is prepared again
                known[image_id] = indexed.get(image_id) or self._entry(image_id)
        return known

    def write_index(self, entries: Mapping[str, Entry]) -> None:
        """Writes ``index.jsonl``, sorted by image_id."""
        with _write_errors(self._index):
            write_atomic(self._index, _lines(entries))

    def is_indexed(self, entries: Mapping[str, Entry]) -> bool:
        """Whether ``index.jsonl`` says just this."""
        with contextlib.suppress(OSError, ValueError):
            return self._index.read_text() == _lines(entries)
        return False

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the cache against other runs that would write it, and waits for one that does."""
        with _write_errors(self.directory):
            lock = (self.directory / ".lock").open("w")
        with lock:  # released when the file closes, however this process ends
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("waiting for another run that prepares into %s", self.directory)
                fcntl.flock(lock, fcntl.LOCK_EX)
            for file in self._images.iterdir():
                if _LEFTOVER.fullmatch(file.name):
                    file.unlink(missing_ok=True)
            yield

    @property
    def _images(self) -> Path:
        return self.directory / "images"

    @property
    def _index(self) -> Path:
        return self.directory / "index.jsonl"

    def _entry(self, image_id: str) -> Entry:
        try:
            with self.path(image_id).open("rb") as file:
                return Entry.from_json(tiff.read_description(file))[1]
        except FileNotFoundError:
            raise self._missing(image_id) from None
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(image_id, error) from error

    def _missing(self, image_id: str) -> CacheError:
        return CacheError(f"image {image_id} is not in {self.directory}; run `rsna prepare` with the same settings")

    def _damaged(self, image_id: str, error: Exception) -> CacheError:
        return CacheError(f"{self.path(image_id)} is damaged: {error}; remove it and run `rsna prepare` again")


@dataclass(frozen=True)
class PrepareTask:
    """One image to prepare."""

    image_id: str
    path: str
    box: Box | None = None
    """The crop, for crop=boxes."""


def fill(cache: Cache, settings: PreprocessSettings, task: PrepareTask) -> Entry:
    """Prepares one image into the cache; what a worker does. Raises what :func:`prepare_image` and the cache raise."""
    # Before the pixels: a file that is replaced meanwhile is compared again by the next run.
    stamp, source = FileStamp.of(task.path), fingerprint(task.path)
    pixels, geometry = prepare_image(task.path, settings, task.box)
    entry = Entry(source, geometry, stamp)
    cache.write(task.image_id, pixels, entry)
    return entry


@contextlib.contextmanager
def _write_errors(path: Path, remedy: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheWriteError(f"{path}: {error.strerror or error}{remedy}") from error


def _lines(entries: Mapping[str, Entry]) -> str:
    return "".join(f"{entries[image_id].to_line(image_id)}\n" for image_id in sorted(entries))


def _file_name(name: str) -> str:
    """``name`` as a file's name: nothing in it climbs out of a folder or hides."""
    quoted = quote(name, safe=" ")
    if len(quoted) > _LONGEST_NAME:
        raise ValueError(f"{name[:40]!r}… is too long for a file's name ({len(quoted)} characters)")
    return quoted if not quoted.startswith(".") else f"%2E{quoted[1:]}"


def _compact(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))
