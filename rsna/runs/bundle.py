"""Reads a bundle: what inference needs and nothing else. Nothing in it is believed before its hash is checked.

A folder with ``bundle.json``, one safetensors file a fold, and wheels. Of the same as an archive (.zip, .tar), what
``bundle.json`` records is unpacked into a temporary folder.
"""

import atexit
import itertools
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rsna.files import sha256, temporary_beside
from rsna.runs.errors import RunError
from rsna.runs.record_file import read_record
from rsna.runs.schema import BUNDLE, BUNDLE_FORMAT, CONFIG, BundleRecord
from rsna.runs.unpack import list_files, unpack

_LARGEST_RECORD = 16 << 20
"""Bytes of a bundle.json within an archive."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; its files are checked one by one, when they are used."""

    folder: Path
    record: BundleRecord

    def check_files(self, names: Iterable[str] = ()) -> None:
        """Compares some files, or else every recorded one, with their SHA-256.

        Raises:
            RunError: Names the first that leads out of the folder, is not recorded, is missing, or differs.
        """
        for name in names or self.record.files:
            path = self.folder / name
            if Path(name).name != name:
                raise RunError(f"{self.folder}: {name!r} is no plain file of this folder")
            if name not in self.record.files:
                raise RunError(f"{self.folder}: {name} is not recorded in {BUNDLE}")
            if not path.is_file():  # a link into a cache of files is one: what counts is the hash of what is read
                raise RunError(f"{path}: is missing; copy the bundle again")
            if sha256(path) != self.record.files[name]:
                raise RunError(f"{path}: its SHA-256 is not the recorded one; copy it again")


def one_path(source: str | Path) -> Path:
    """The path of one trained model, as it is typed; a list of several is refused."""
    path = Path(source).expanduser()
    if str(source).startswith("[") and not path.exists():
        raise RunError(f"run={source}: this takes one bundle, not a list")
    return path


def open_bundle(path: str | Path) -> Bundle:
    """Reads ``bundle.json`` and checks that this version understands it.

    Args:
        path: A bundle's folder, or its archive, which is unpacked for as long as the program runs.

    Raises:
        RunError: It is not there, is no bundle, is of another format, or bundle.json was torn or changed.
    """
    path = one_path(path)
    if not path.exists():
        raise RunError(f"run={path}: there is no such bundle, neither a folder nor an archive")
    if path.is_file():
        return _open_archive(path)
    if not (path / BUNDLE).is_file():
        found = "is a run folder; rsna bundle make packs it" if (path / CONFIG).is_file() else f"holds no {BUNDLE}"
        raise RunError(f"run={path}: is no bundle: it {found}")
    return Bundle(path, read_record(BundleRecord, path / BUNDLE, BUNDLE_FORMAT))


_NUMBERS = itertools.count()
_UNPACKED = ExitStack()
"""Unpacked archives of this process, gone with it; those of a killed one are swept by the next that unpacks."""
atexit.register(_UNPACKED.close)


def _open_archive(archive: Path) -> Bundle:
    """``bundle.json`` first; then what it records, if it has the recorded size."""
    found, refused = list_files(archive)
    records = sorted((path for path in found if path.name == BUNDLE), key=lambda path: len(path.parts))
    for path, why in refused.items():
        if not records and path.name == BUNDLE:
            raise RunError(f"{archive}: {why}")
    if not records:
        raise RunError(f"{archive}: there is no {BUNDLE} in this archive")
    if len(records) > 1 and len(records[0].parts) == len(records[1].parts):
        raise RunError(f"{archive}: holds several bundles ({records[0]}, {records[1]}); pack one by itself")
    if found[records[0]] > _LARGEST_RECORD:
        raise RunError(f"{archive}: {records[0]} has {found[records[0]]:,} bytes and is none of a bundle")
    # Not beside the archive, which often lies where nothing can be written.
    wanted = Path(tempfile.gettempdir(), f"rsna-bundle-{next(_NUMBERS)}")
    folder = _UNPACKED.enter_context(temporary_beside(wanted))
    folder.mkdir(mode=0o700)
    unpack(archive, folder, {records[0]: found[records[0]]})
    record = read_record(BundleRecord, folder / BUNDLE, BUNDLE_FORMAT)
    # What is missing, or no plain name, is said when it is used.
    recorded = {name: size for name, size in record.sizes.items() if name in record.files and Path(name).name == name}
    inside = {records[0].parent / name: size for name, size in recorded.items() if name != BUNDLE}
    for path in inside:
        if path in refused:
            raise RunError(f"{archive}: {refused[path]}")
    unpack(archive, folder, {path: size for path, size in inside.items() if path in found})
    return Bundle(folder, record)
