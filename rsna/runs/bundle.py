"""A bundle on disk: what inference needs and nothing else. Nothing in it is believed before its hash is checked.

A folder with ``bundle.json``, one safetensors file a fold, and wheels. The same as an archive (.zip, .tar) is unpacked
into a temporary folder.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rsna.config.training import WantedPrecision
from rsna.evaluation.breasts import Aggregate
from rsna.files import read_json, sha256
from rsna.runs.errors import RunError
from rsna.runs.unpack import unpack

BUNDLE_FILE = "bundle.json"
BUNDLE_FORMAT = 2
"""Raised whenever an older version could not read what a newer one writes."""

_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str, "preprocess": dict, "model": dict, "targets": list, "aggregate": str, "weights": dict,
    "threshold": (int, float), "recalled": (int, float), "prevalence": (int, float), "calibration": dict,
    "flip": bool, "arithmetic": str, "hashes": dict, "files": dict, "versions": dict, "metrics": dict,
    "target": dict,
}  # fmt: skip
"""What bundle.json must hold, and of which type."""


def _is_share(value: float) -> bool:
    return not isinstance(value, bool) and 0 <= value <= 1


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _all_text(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "targets": (_all_text, "a list of names"),
    "aggregate": (lambda value: value in get_args(Aggregate), f"one of {', '.join(get_args(Aggregate))}"),
    "weights": (
        lambda folds: all(fold.isdecimal() for fold in folds) and _all_text(folds.values()),
        "numbers of folds, each with the name of its file",
    ),
    "threshold": (_is_share, "a number in [0, 1]"),
    "recalled": (_is_share, "a number in [0, 1]"),
    "prevalence": (_is_share, "a number in [0, 1]"),
    "calibration": (
        lambda line: _is_finite(line.get("slope")) and line["slope"] > 0 and _is_finite(line.get("intercept")),
        "a slope above 0 and an intercept",
    ),
    "arithmetic": (lambda value: value in get_args(WantedPrecision), f"one of {', '.join(get_args(WantedPrecision))}"),
    "hashes": (lambda hashes: isinstance(hashes.get("preprocessing"), str), "hashes with that of preprocessing"),
    "target": (lambda target: _all_text([target.get("python"), target.get("platform")]), "a Python and a platform"),
    "files": (lambda files: _all_text(files.values()), "names of files, each with its SHA-256"),
}
"""What the values must be, and how an error puts it."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; its files are checked one by one, when they are used."""

    folder: Path
    about: dict[str, Any]
    """bundle.json."""

    def file(self, name: str) -> Path:
        """A file of the bundle.

        Raises:
            RunError: The name leads out of the folder, is not recorded, or is not there.
        """
        path = self.folder / name
        if Path(name).name != name or path.is_symlink():
            raise RunError(f"{self.folder}: {name!r} is no plain file of this folder")
        if name not in self.about["files"]:
            raise RunError(f"{self.folder}: {name} is not recorded in {BUNDLE_FILE}")
        if not path.is_file():
            raise RunError(f"{path}: is missing; copy the bundle again")
        return path

    def sha256(self, name: str) -> str:
        """What a file's SHA-256 must be."""
        return str(self.about["files"][name])

    def check_files(self) -> None:
        """Compares every recorded file with its SHA-256.

        Raises:
            RunError: Names the first that differs.
        """
        for name in self.about["files"]:
            if sha256(self.file(name)) != self.sha256(name):
                raise RunError(f"{self.folder / name}: its SHA-256 is not the recorded one; copy it again")


def open_bundle(path: Path) -> Bundle:
    """Reads ``bundle.json`` and checks that this version understands it.

    Args:
        path: A bundle's folder, or its archive, which is unpacked for as long as the program runs.

    Raises:
        RunError: No bundle, one of a newer format, one that lacks what it must have, or a value out of range.
    """
    if path.is_file():
        folder = Path(tempfile.mkdtemp(prefix="rsna-bundle-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        unpack(path, folder)
        inner = [file.parent for file in (folder / BUNDLE_FILE, *folder.glob(f"*/{BUNDLE_FILE}")) if file.is_file()]
        if not inner:
            raise RunError(f"{path}: there is no {BUNDLE_FILE} in this archive")
        path = inner[0]
    try:
        about = read_json(path / BUNDLE_FILE)
    except ValueError as error:
        raise RunError(str(error)) from error
    _check(path, about)
    return Bundle(path, about)


def _check(folder: Path, about: Any) -> None:
    if not isinstance(about, dict) or not isinstance(about.get("format"), int):
        raise RunError(f"{folder / BUNDLE_FILE}: says no format, so it is no bundle of this project")
    if about["format"] > BUNDLE_FORMAT:
        raise RunError(
            f"{folder}: is of format {about['format']}, this version reads up to {BUNDLE_FORMAT}; it was made by "
            f"version {about.get('versions', {}).get('rsna-mammography', '(not said)')}, install that one"
        )
    wrong = [key for key, kind in _KEYS.items() if not isinstance(about.get(key), kind)]
    if wrong:
        raise RunError(f"{folder / BUNDLE_FILE}: lacks {', '.join(wrong)}, or has something else in that place")
    for key, (allowed, what) in _VALUES.items():
        if not allowed(about[key]):
            raise RunError(
                f"{folder / BUNDLE_FILE}: {key}: {about[key]!r} is not {what}; the file was changed, copy it again"
            )
