"""Files that are either whole or absent: written beside the target, then renamed; and what they hold, as a hash."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

_SAMPLES = 3
_SAMPLE_BYTES = 1 << 14
"""How much of a file :func:`fingerprint` reads."""


class FileError(ValueError):
    """A file that does not hold what its name says; the message names it and where it breaks off."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; it takes the final name when the block ends without an error.

    The parent folder is created. On an error (a full disk, an interrupt) nothing stays under either name.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Writes bytes, or text as UTF-8, so that a reader sees the old file or the new one, never half."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: str | Path, value: Any) -> None:
    """Writes ``value`` as indented JSON, atomically. NaN is not JSON: pass None."""
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file.

    Raises:
        FileError: The file is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is not JSON: {error}. Remove it and run again to have it written anew") from error


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a YAML file of keys and values.

    Raises:
        FileError: The file is not YAML, or holds something else.
    """
    try:
        value = yaml.safe_load(Path(path).read_text())
    except yaml.MarkedYAMLError as error:
        at = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise FileError(f"{path}{at}: is not YAML: {error.problem}; mend the file or copy it again") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: is not YAML: {first_line(error)}; copy the file again") from error
    if not isinstance(value, dict):
        raise FileError(f"{path}: holds no keys with values, so it was cut off or replaced; copy the file again")
    return value


def fingerprint(path: str | Path) -> str:
    """``<bytes>-<16 hexadecimal characters>``: a file's size, and a hash over samples spread from its start to its end.

    Files of an archive have the same size easily, all uncompressed ones of a machine for example; their headers and
    pixels differ.

    Raises:
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as content:
        size = os.fstat(content.fileno()).st_size
        digest = hashlib.sha256()
        for number in range(_SAMPLES):
            content.seek(max(size - _SAMPLE_BYTES, 0) * number // (_SAMPLES - 1))
            digest.update(content.read(_SAMPLE_BYTES))
    return f"{size}-{digest.hexdigest()[:16]}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).splitlines()), "no message")


def sha256(path: str | Path) -> str:
    """64 hexadecimal characters over a file's content, which is read in pieces.

    Raises:
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def first_few(items: Iterable[object], shown: int = 3) -> str:
    """``a, b, c and 15 more``: what a message lists of many files or rows before it only counts."""
    texts = [str(item) for item in items]
    return ", ".join(texts[:shown]) + (f" and {len(texts) - shown:,} more" if len(texts) > shown else "")
