"""Reads a bundle: what inference needs and nothing else. Nothing in it is believed before its hash is checked.

A folder with ``bundle.json``, one safetensors file a fold, and wheels. The same as an archive (.zip, .tar) is unpacked
into a temporary folder.
"""

import atexit
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rsna.files import sha256
from rsna.runs.errors import RunError
from rsna.runs.schema import BUNDLE, BUNDLE_FORMAT, CONFIG, BundleRecord, read_record
from rsna.runs.unpack import unpack


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
            if Path(name).name != name or path.is_symlink():
                raise RunError(f"{self.folder}: {name!r} is no plain file of this folder")
            if name not in self.record.files:
                raise RunError(f"{self.folder}: {name} is not recorded in {BUNDLE}")
            if not path.is_file():
                raise RunError(f"{path}: is missing; copy the bundle again")
            if sha256(path) != self.record.files[name]:
                raise RunError(f"{path}: its SHA-256 is not the recorded one; copy it again")


def one_path(source: str | Path) -> Path:
    """The path of one trained model, as it is typed; a list of several is refused."""
    path = Path(source).expanduser()
    if str(source).startswith("[") and not path.exists():
        raise RunError(f"run={source}: this takes one trained model; rsna ensemble run={source} joins several")
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
        folder = Path(tempfile.mkdtemp(prefix=f"{path.stem}-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        unpack(path, folder)
        inner = [file.parent for file in (folder / BUNDLE, *folder.glob(f"*/{BUNDLE}")) if file.is_file()]
        if not inner:
            raise RunError(f"{path}: there is no {BUNDLE} in this archive")
        path = inner[0]
    elif not (path / BUNDLE).is_file():
        found = "is a run folder; rsna bundle make packs it" if (path / CONFIG).is_file() else f"holds no {BUNDLE}"
        raise RunError(f"run={path}: is no bundle: it {found}")
    return Bundle(path, read_record(BundleRecord, path / BUNDLE, BUNDLE_FORMAT))
