"""Writes a cache into a pack: shards first, each whole or absent, then the index, and last what makes it a pack.

A shard is a zip file of the cache's own files, stored as they are: ``unzip`` makes a cache of it again, and an image is
one read at a known place. Its name follows from what it holds, so that a writer who was killed, or who adds images,
keeps the shards that are there.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import pyarrow

from rsna.files import WriteError, only_writer, read_json
from rsna.parallel.progress import Progress
from rsna.prepare.cache import Cache, Entry
from rsna.prepare.packs.index import RECORD, PackError, PackRecord, key_of
from rsna.prepare.packs.storage import Storage

SHARD_BYTES = 2**30
"""Bytes of a shard: 54,706 images of 1024×512 become nine files, 10^7 of 2048×1024 some 6,000."""

_AHEAD = 64
"""Images that are read at once."""
_READERS = 8
_LOCAL_HEADER = 30
"""Bytes of a zip file in front of a member's name (APPNOTE 4.3.7); the content follows the name."""
_SCHEMA = pyarrow.schema(
    {
        "key": pyarrow.uint64(),
        "image_id": pyarrow.large_string(),
        "shard": pyarrow.int32(),
        "start": pyarrow.int64(),
        "length": pyarrow.int64(),
        "fingerprint": pyarrow.large_string(),
        "source": pyarrow.large_string(),
        "mtime_ns": pyarrow.int64(),
        "breast_found": pyarrow.bool_(),
        "grey_levels": pyarrow.int16(),
    }
)


@dataclass(frozen=True)
class PackReport:
    """What was written."""

    place: str
    images: int
    shards: int
    bytes: int
    """Of all shards."""
    written: int
    """Shards that were not there before."""
    seconds: float

    def __str__(self) -> str:
        return (
            f"pack {self.place}: {self.images:,} images in {self.shards:,} shard(s), {self.bytes / 2**20:,.1f} MiB "
            f"({self.written:,} written now in {self.seconds:.0f} s)"
        )


@dataclass(frozen=True)
class _Shard:
    name: str
    image_ids: tuple[str, ...]


def write_pack(cache: Cache, place: str, shard_bytes: int = SHARD_BYTES) -> PackReport:
    """Writes every image of a cache, checked against its checksums, into a pack.

    An earlier pack of the same set and settings stays readable until the new one is whole; then what only the earlier
    one needs is removed.

    Args:
        cache: Of a set that is prepared.
        place: Folder or URL.
        shard_bytes: Bytes of images after which another shard begins.

    Raises:
        PackError: There is nothing to pack, or the place holds another pack, or cannot be written.
        CacheError: An image is damaged.
        InUseError: Another process writes this pack.
    """
    started, storage = time.monotonic(), Storage(place)
    about = read_json(cache.directory / "settings.json")
    entries = cache.entries()
    if not entries:
        raise PackError(f"{cache.directory}: holds no prepared image; run `rsna prepare` first")
    lock: AbstractContextManager[None] = nullcontext() if storage.is_remote else only_writer(storage.place)
    try:
        with lock:
            earlier = PackRecord.read(storage)
            if earlier and (earlier.dataset, earlier.preprocessing_hash) != (
                about["dataset"],
                about["preprocessing_hash"],
            ):
                raise PackError(
                    f"{place} holds a pack of {earlier.dataset} with preprocessing {earlier.preprocessing_hash}, not "
                    f"of {about['dataset']} with {about['preprocessing_hash']}; choose another place (out=…)"
                )
            return _write(cache, entries, about, storage, shard_bytes, started)
    except WriteError as error:
        raise PackError(f"the pack cannot be written: {error}; finished shards are kept") from error
    except (OSError, pyarrow.ArrowException) as error:
        raise PackError(
            f"the pack cannot be written: {error}; mend that, or name another place (out=…), and give the same command "
            "again: finished shards are kept"
        ) from error


def _write(
    cache: Cache,
    entries: dict[str, Entry],
    about: dict[str, object],
    storage: Storage,
    shard_bytes: int,
    started: float,
) -> PackReport:
    made_with = str(about["preprocessing_hash"])
    shards = list(_plan(cache, entries, made_with, shard_bytes))
    there, written, total = set(storage.names()), 0, 0
    columns: dict[str, list[object]] = {name: [] for name in _SCHEMA.names}
    with Progress("pack", len(entries)) as progress:
        for number, shard in enumerate(shards):
            places = _places(cache, storage, shard) if shard.name in there else None
            if places is None:
                written += 1
                places = _write_shard(cache, storage, shard)
            for image_id, (start, length) in zip(shard.image_ids, places, strict=True):
                _add(columns, image_id, entries[image_id], (number, start, length))
                total += length
                progress.step()
    content = _index(columns)
    checksum = hashlib.sha256(content).hexdigest()
    record = PackRecord(
        dataset=str(about["dataset"]),
        preprocessing_hash=made_with,
        settings=about["settings"],  # type: ignore[arg-type]
        images=len(entries),
        index=f"index-{checksum[:12]}.arrow",
        index_sha256=checksum,
        shards=tuple(shard.name for shard in shards),
    )
    if record.index not in there or storage.read(record.index) != content:
        with storage.write(record.index) as path:
            path.write_bytes(content)
    if PackRecord.read(storage) != record:
        with storage.write(RECORD) as path:  # last: its presence says that the pack is whole
            path.write_text(record.to_json(), encoding="utf-8")
    for name in there - {RECORD, record.index, *record.shards}:
        if name.endswith((".zip", ".arrow")):
            storage.remove(name)
    return PackReport(storage.place, len(entries), len(shards), total, written, time.monotonic() - started)


def _plan(cache: Cache, entries: dict[str, Entry], made_with: str, shard_bytes: int) -> Iterator[_Shard]:
    """Images sorted by id, cut into shards; the name of each is a hash over the files that they were made from."""
    image_ids: list[str] = []
    size = 0

    def shard() -> _Shard:
        digest = hashlib.sha256(made_with.encode())
        for image_id in image_ids:
            entry = entries[image_id]
            mtime = entry.stamp.mtime_ns if entry.stamp else 0
            digest.update(f"{image_id}\0{entry.fingerprint}\0{mtime}\n".encode(errors="surrogateescape"))
        return _Shard(f"shard-{digest.hexdigest()[:16]}.zip", tuple(image_ids))

    for image_id in sorted(entries):
        image_ids.append(image_id)
        size += cache.path(image_id).stat().st_size
        if size >= shard_bytes:
            yield shard()
            image_ids, size = [], 0
    if image_ids:
        yield shard()


def _write_shard(cache: Cache, storage: Storage, shard: _Shard) -> list[tuple[int, int]]:
    """(start, length) of each image in the shard, which is there when this returns."""
    places = []
    with storage.write(shard.name) as path, ZipFile(path, "w", ZIP_STORED) as archive:
        for image_id, content in _contents(cache, shard.image_ids):
            member = ZipInfo(_member(cache, image_id))  # of 1980, so that the same images make the same bytes
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)
            places.append(_place(member))
    return places


def _contents(cache: Cache, image_ids: Sequence[str]) -> Iterable[tuple[str, bytes]]:
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(image_ids), _AHEAD):
            part = image_ids[start : start + _AHEAD]
            yield from zip(part, pool.map(partial(_content, cache), part), strict=True)


def _content(cache: Cache, image_id: str) -> bytes:
    """The file of an image, once it was read without a complaint."""
    cache.read(image_id)
    return cache.path(image_id).read_bytes()


def _places(cache: Cache, storage: Storage, shard: _Shard) -> list[tuple[int, int]] | None:
    """Where the images of a shard lie that was written before; None where it is not what it should be."""
    try:
        with storage.binary(shard.name) as file, ZipFile(file) as archive:
            found = {member.filename: member for member in archive.infolist()}
    except (BadZipFile, OSError):
        return None
    members = [member for image_id in shard.image_ids if (member := found.get(_member(cache, image_id)))]
    return [_place(member) for member in members] if len(members) == len(shard.image_ids) else None


def _member(cache: Cache, image_id: str) -> str:
    """An image's name in a shard: that of its file in the cache, ASCII."""
    return f"images/{cache.path(image_id).name}"


def _place(member: ZipInfo) -> tuple[int, int]:
    """(start, length) of a member's content."""
    return member.header_offset + _LOCAL_HEADER + len(member.filename), member.file_size


def _add(columns: dict[str, list[object]], image_id: str, entry: Entry, place: tuple[int, int, int]) -> None:
    """Adds a row of the index."""
    source, mtime_ns = (entry.stamp.path, entry.stamp.mtime_ns) if entry.stamp else ("", 0)
    known = (entry.fingerprint, source, mtime_ns, entry.geometry.breast_found, entry.grey_levels)
    for column, value in zip(columns.values(), (key_of(image_id), image_id, *place, *known), strict=True):
        column.append(value)


def _index(columns: dict[str, list[object]]) -> bytes:
    """The index as a file of Arrow, in one batch."""
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_table(pyarrow.table(columns, schema=_SCHEMA).sort_by("key").combine_chunks())
    return bytes(sink.getvalue())
