"""Reads and writes the records of :mod:`rsna.runs.schema`, each with a checksum of itself, and files by their hash."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rsna.files import first_line, require_regular, write_json
from rsna.runs.errors import RunError
from rsna.runs.set_schema import Record

_CHECKSUM = "checksum"
"""In every record's file, beside its own keys."""

T = TypeVar("T", bound=Record)


def read_record(cls: type[T], file: Path, expected: int | None = None) -> T:
    """Reads a JSON file as the record that it must hold.

    Args:
        cls: The record.
        file: The file.
        expected: Number that its ``format`` must have.

    Raises:
        RunError: It is missing, torn, of another format, or holds something else; in one line that names the file.
    """
    content = read_bytes(file)
    try:
        values = TypeAdapter(Any).validate_json(content)
        if expected is not None:
            _check_format(values, file, expected)
        own = _CHECKSUM in cls.model_fields or not isinstance(values, dict)  # whoever counts on metrics looks at theirs
        recorded = None if own else values.pop(_CHECKSUM, None)
        record = cls.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise RunError(f"{file}: {_first(error)}; the file was cut off or changed, copy it again") from error
    except (RecursionError, ValueError) as error:  # brackets within brackets; a number of 5,000 digits
        raise RunError(
            f"{file}: is no JSON of ours: {first_line(error)}; the file was changed, copy it again"
        ) from error
    if not own and recorded != checksum(values):
        raise RunError(f"{file}: is not what was written, by its own checksum; it was changed, copy it again")
    return record


def write_record(file: Path, values: Mapping[str, Any]) -> None:
    """Writes the values of a record as JSON, with a checksum: a threshold of which one digit is another is one, too."""
    values = json.loads(json.dumps(values))
    write_json(file, {**values, _CHECKSUM: checksum(values)})


def check_file(file: Path, recorded: Mapping[str, str]) -> None:
    """Whether a file is the one whose SHA-256 was recorded.

    Raises:
        RunError: It is not, or is missing.
    """
    if hashlib.sha256(read_bytes(file)).hexdigest() != recorded.get(file.name):
        # Of a text that was cut off the rest mostly reads well; of numbers that were changed, all.
        raise RunError(f"{file}: is not the file that was recorded: cut off, or changed; copy it again")


def checksum(values: Mapping[str, Any]) -> str:
    """SHA-256 of a record's values, as it stands beside them."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_bytes(file: Path) -> bytes:
    """A file of a run or a bundle.

    Raises:
        RunError: It is missing, or cannot be read.
    """
    try:
        require_regular(file)
        return file.read_bytes()
    except FileNotFoundError as error:
        raise RunError(f"{file}: is missing; copy it again, or train again") from error
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror}") from error


def _check_format(content: Any, file: Path, expected: int) -> None:
    said = content.get("format") if isinstance(content, dict) else None
    if said == expected and not isinstance(said, bool):
        return
    versions = content.get("versions") if isinstance(content, dict) else None
    maker = versions.get("rsna-mammography") if isinstance(versions, dict) else None
    which = "says no format" if said is None else f"is of format {said!r}"
    raise RunError(
        f"{file}: {which}, this version reads format {expected}; "
        + (f"it was written by version {maker}: use that one, or " if maker else "use the version that wrote it, or ")
        + "train again"
    )


def _first(error: ValidationError) -> str:
    """What is wrong first, in a line: key, reason, value."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"is not JSON: {first['ctx']['error']}"
    key = ".".join(str(part) for part in first["loc"])
    value = repr(first["input"])
    shown = "" if first["type"] == "missing" else f", not {value if len(value) <= 60 else value[:57] + '…'}"
    return f"{key}: {first['msg']}{shown}".removeprefix(": ")
