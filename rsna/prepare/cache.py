"""Prepared images on disk: one TIFF file each, whole or absent, with its geometry inside.

Layout: ``<cache_dir>/<dataset>/<preprocessing hash>/`` holds ``images/<image_id>.tif``, ``settings.json`` and
``index.jsonl``. The images are the truth; the index repeats what their headers say, so that they need not be opened.
What several processes prepare a part each of has an index a part, too, until they are merged: ``shards/``.
"""

import contextlib
import fcntl
import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from rsna.config.data import PreprocessSettings
from rsna.config.settings import to_mapping
from rsna.dicom.box import Box
from rsna.files import WriteError, file_name, fingerprint, read_json, sweep, write_atomic, write_json
from rsna.parallel.progress import Progress
from rsna.prepare import tiff
from rsna.prepare.geometry import Geometry
from rsna.prepare.hashing import PREPROCESSING_VERSION, preprocessing_hash

if TYPE_CHECKING:
    from rsna.prepare.image import Prepared

log = logging.getLogger(__name__)

_SUFFIX = ".tif"


@dataclass(frozen=True)
class FileStamp:
    """Where a file was when it was last compared, and its times: the same there, it is not opened again."""

    path: str
    mtime_ns: int
    """When its content was last written."""
    ctime_ns: int
    """When its content, name or rights last changed: files that have exchanged their names keep the other time."""

    @staticmethod
    def of(path: str) -> "FileStamp":
        """Of a file as it is now; raises OSError where it is not."""
        now = os.stat(path)
        return FileStamp(os.path.abspath(path), now.st_mtime_ns, now.st_ctime_ns)


@dataclass(frozen=True)
class Entry:
    """What is known of a prepared image beside its pixels."""

    fingerprint: str
    """Of the file that it was made from."""
    geometry: Geometry
    grey_levels: int = 256
    """How many of 256 it has."""
    stamp: FileStamp | None = field(default=None, compare=False)
    """In the index alone: the image itself is the same wherever its file lies."""
    prepared_ns: int | None = field(default=None, compare=False)
    """When the image was written, where that alone is known, since the index lacks it."""

    def to_json(self, image_id: str) -> str:
        """The description inside the image; ASCII."""
        about = {"image_id": image_id, "fingerprint": self.fingerprint, "grey_levels": self.grey_levels}
        return _compact({**about, **self.geometry.to_json()})

    def to_line(self, image_id: str) -> str:
        """One line of the index, with a checksum of itself."""
        stamp = asdict(self.stamp) if self.stamp else None
        values = {**json.loads(self.to_json(image_id)), "seen": stamp}
        return _compact({**values, "crc32": zlib.crc32(_compact(values).encode())})

    @staticmethod
    def from_line(line: str) -> tuple[str, "Entry"]:
        """(image_id, entry) of a line of the index; raises what `from_json` does, also where the line is damaged."""
        # Of the bytes as they stand: to write each line anew would take a second for 54,706.
        body, _, crc = line.removesuffix("}").rpartition(',"crc32":')
        if crc != str(zlib.crc32(f"{body}}}".encode())):
            raise ValueError("does not match its checksum")
        return Entry.from_json(line)

    @staticmethod
    def from_json(text: str) -> tuple[str, "Entry"]:
        """(image_id, entry) of a description or a line; a ValueError, KeyError or TypeError where it is neither."""
        values: Mapping[str, Any] = json.loads(text)
        stamp = FileStamp(**values["seen"]) if values.get("seen") else None
        return values["image_id"], Entry(
            values["fingerprint"], Geometry.from_json(values), values["grey_levels"], stamp
        )

    def is_unchanged(self, path: str) -> bool:
        """Whether its file was at ``path`` before and has not been changed since; the file is not opened."""
        try:
            now = os.stat(path)
        except OSError:
            return False
        if self.stamp is None or now.st_size != self.size:
            return False
        # Field by field: to make a stamp of each of 54,706 files takes longer than to look at them.
        same = self.stamp.mtime_ns == now.st_mtime_ns and self.stamp.ctime_ns == now.st_ctime_ns
        return same and self.stamp.path == os.path.abspath(path)

    def compared(self, path: str) -> "Entry | None":
        """This entry with the stamp of the file at ``path``, or None where that is another file or was written since.

        One that was put away since counts as the same.
        """
        if self.is_unchanged(path):
            return self
        try:
            now = FileStamp.of(path)  # before the bytes: what is written meanwhile is compared again
            # Size and time first: they are known without opening the file.
            same = (
                os.stat(path).st_size == self.size and not self._is_older(now) and fingerprint(path) == self.fingerprint
            )
            return replace(self, stamp=now, prepared_ns=None) if same else None
        except OSError:
            return self

    def _is_older(self, now: FileStamp) -> bool:
        """Whether the file was surely written since, whatever its samples say: they are not all of its bytes."""
        if self.stamp is None:
            return self.prepared_ns is not None and self.prepared_ns < now.mtime_ns
        return self.stamp.path == now.path and self.stamp.mtime_ns != now.mtime_ns

    @property
    def source_file(self) -> Path | None:
        """The file that it was made from, where there still is one."""
        return Path(self.stamp.path) if self.stamp and Path(self.stamp.path).is_file() else None

    @property
    def size(self) -> int:
        """Bytes of the file that it was made from."""
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
        cache = cls(cache_folder(cache_dir, dataset) / digest)
        about = {
            "dataset": dataset,
            "preprocessing_hash": digest,
            "preprocessing_version": PREPROCESSING_VERSION,
            "settings": to_mapping(settings),
        }
        with writing_errors(cache.directory, ". Choose another cache_dir"):
            cache._images.mkdir(parents=True, exist_ok=True)
            described = None
            with contextlib.suppress(OSError, ValueError):
                described = read_json(cache.directory / "settings.json")
            if described != about:  # not there, cut off or edited: all of it follows from the settings
                write_json(cache.directory / "settings.json", about)
        return cache

    @property
    def preprocessing_hash(self) -> str:
        """Hash of the settings that the images were made with: the folder's name."""
        return self.directory.name

    def path(self, image_id: str) -> Path:
        """Where an image is, or would be."""
        return self._images / (file_name(image_id) + _SUFFIX)

    def read(self, image_id: str) -> "Prepared":
        """(H, W) uint8 or uint16 pixels, a fresh array."""
        try:
            content = self.path(image_id).read_bytes()
            _require_id(image_id, json.loads(tiff.description(content))["image_id"])
            return tiff.decode(content)
        except FileNotFoundError:
            raise self._missing(image_id) from None
        except (ValueError, KeyError, TypeError) as error:
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
                if file.name.endswith(_SUFFIX) and (image_id := _id_of(file)):
                    yield image_id

    def image_names(self) -> list[str]:
        """Names of the prepared images' files, in no order."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._images) as files:
            return [file.name for file in files if file.name.endswith(_SUFFIX)]
        return []

    def write(self, image_id: str, pixels: "Prepared", entry: Entry) -> None:
        """Adds an image; a reader sees all of it or nothing."""
        with writing_errors(self.path(image_id)):
            write_atomic(self.path(image_id), tiff.encode(pixels, entry.to_json(image_id)))

    def discard(self, image_id: str) -> None:
        """Removes an image."""
        with writing_errors(self.path(image_id)):
            self.path(image_id).unlink(missing_ok=True)

    def indexed(self) -> dict[str, Entry]:
        """What the index says, up to where it is damaged: without it, images are opened, and nothing is lost."""
        return read_index(self.index_file)

    def entries(
        self, indexed: Mapping[str, Entry] | None = None, certain: Mapping[str, Entry] | None = None
    ) -> dict[str, Entry]:
        """What is known of every prepared image: what is ``indexed``, or in the image where that may not fit it.

        Args:
            indexed: Of the index; read where it is None.
            certain: What fits the images as they are, whatever the index says.
        """
        indexed = self.indexed() if indexed is None else indexed
        trusted, certain, known = self.index_is_current(), certain or {}, dict[str, Entry]()
        for image_id in self:
            told = certain.get(image_id) or indexed.get(image_id)
            with contextlib.suppress(CacheError):  # a damaged image is prepared again
                if told is None or not (trusted or image_id in certain):
                    found = self._entry(image_id)
                    told = told if told == found else found
                known[image_id] = told
        return known

    def index_is_current(self) -> bool:
        """Whether no image came, went or took another's name since the index was written: one look at the folder."""
        try:
            return self._images.stat().st_mtime_ns <= self.index_file.stat().st_mtime_ns
        except OSError:
            return False

    def write_index(self, entries: Mapping[str, Entry]) -> None:
        """Writes ``index.jsonl``, sorted by image_id."""
        with writing_errors(self.index_file):
            write_atomic(self.index_file, _lines(entries))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the cache against other runs that would write it, and waits for one that does."""
        with held(self.directory / ".lock", fcntl.LOCK_EX):
            sweep(self._images)
            yield

    @property
    def _images(self) -> Path:
        return self.directory / "images"

    @property
    def index_file(self) -> Path:
        """Where the index is, or would be."""
        return self.directory / "index.jsonl"

    @property
    def failures_file(self) -> Path:
        """The list of images that could not be prepared."""
        return self.directory / "failures.csv"

    def _entry(self, image_id: str) -> Entry:
        try:
            with self.path(image_id).open("rb") as file:
                held, entry = Entry.from_json(tiff.read_description(file))
                _require_id(image_id, held)
                return replace(entry, prepared_ns=os.fstat(file.fileno()).st_mtime_ns)
        except FileNotFoundError:
            raise self._missing(image_id) from None
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(image_id, error) from error

    def _missing(self, image_id: str) -> CacheError:
        return CacheError(f"image {image_id} is not in {self.directory}; run `rsna prepare` with the same settings")

    def _damaged(self, image_id: str, error: Exception) -> CacheError:
        return CacheError(f"{self.path(image_id)} is damaged: {error}; remove it and run `rsna prepare` again")


def read_index(file: Path) -> dict[str, Entry]:
    """What an index says, up to where it is damaged."""
    indexed: dict[str, Entry] = {}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        for line in file.read_text(encoding="utf-8").splitlines():
            image_id, entry = Entry.from_line(line)
            indexed[image_id] = entry
    return indexed


@contextlib.contextmanager
def held(file: Path, kind: int) -> Iterator[None]:
    """Has the lock of a file (``fcntl.LOCK_EX`` or ``LOCK_SH``), and waits for whoever has it.

    Where a disk has no locks, a warning is all: what two runs do twice is the same.
    """
    with writing_errors(file.parent):
        lock = file.open("a+b")  # NFS shares a lock only of a file that is open for reading, too
    with lock:  # released when the file closes, however this process ends
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("waiting for another run that prepares into %s", file.parent)
            with Progress("wait for the other run"):
                fcntl.flock(lock, kind)
        except OSError as error:
            log.warning("%s: this disk has no locks (%s); two runs may prepare the same", file, error.strerror)
        yield


def cache_folder(cache_dir: str | Path, dataset: str) -> Path:
    """The folder of a set's caches, one for each preprocessing hash."""
    return Path(cache_dir).expanduser() / file_name(dataset)


@dataclass(frozen=True)
class PrepareTask:
    """One image to prepare."""

    image_id: str
    path: str
    box: Box | None = None
    """The crop, for crop=boxes."""


def fill(cache: Cache, settings: PreprocessSettings, task: PrepareTask) -> Entry:
    """Prepares one image into the cache; what a worker does. Raises what :func:`prepare_image` and the cache raise."""
    # Decoders and pydicom, which nobody needs who finds everything prepared.
    from rsna.prepare.image import prepare_image
    from rsna.prepare.value_range import grey_levels

    # Before the pixels: a file that is replaced meanwhile is compared again by the next run.
    stamp, source = FileStamp.of(task.path), fingerprint(task.path)
    pixels, geometry = prepare_image(task.path, settings, task.box)
    entry = Entry(source, geometry, grey_levels(pixels), stamp)
    cache.write(task.image_id, pixels, entry)
    return entry


@contextlib.contextmanager
def writing_errors(path: Path, remedy: str = "") -> Iterator[None]:
    """Makes an OSError a CacheWriteError that names the file."""
    try:
        yield
    except WriteError as error:  # which says all of that itself
        raise CacheWriteError(f"{error}{remedy}") from error
    except OSError as error:
        raise CacheWriteError(f"{path}: {error.strerror or error}{remedy}") from error


def _require_id(image_id: str, held: object) -> None:
    if held != image_id:
        raise ValueError(f"it holds the image {held}")


def _lines(entries: Mapping[str, Entry]) -> str:
    return "".join(f"{entries[image_id].to_line(image_id)}\n" for image_id in sorted(entries))


def _id_of(file: os.DirEntry[str]) -> str:
    """The id of the image in a file; "" where its name was cut and the image is damaged."""
    stem = file.name.removesuffix(_SUFFIX)
    if "=" not in stem:
        return unquote(stem) if "%" in stem else stem
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), Path(file.path).open("rb") as image:
        return Entry.from_json(tiff.read_description(image))[0]
    return ""


def _compact(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))
