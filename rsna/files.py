"""Files that are either whole or absent: written beside the target, then renamed; and what they hold, as a hash."""

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import stat
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

log = logging.getLogger(__name__)

_LONGEST_NAME = 200
"""Bytes of a file's name, of the 255 that disks take; temporary names and endings come on top."""

_SAMPLES = 3
_SAMPLE_BYTES = 1 << 14
"""How much of a file :func:`fingerprint` reads."""

TEMPORARY = re.compile(r"^\.(.+)\.(\d+)\.(\d+)\.tmp$", re.DOTALL)
"""Names that :func:`temporary_beside` gives: the final name, numbers of the machine and of the process that writes."""
_DAY = 86400.0
_FLAT = 1000
"""Levels of a YAML file at most that libyaml reads."""


class FileError(ValueError):
    """A file that does not hold what its name says; the message names it and where it breaks off."""


class WriteError(OSError):
    """A file that cannot be written; the message names it, why, and the way on.

    Within a folder that is written under a temporary name, it is named as it would lie in the end.
    """

    def __init__(self, path: str | Path, error: OSError) -> None:
        path = Path(*(TEMPORARY.sub(r"\1", part) for part in Path(path).parts))
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        mend = "free space on that disk" if full else "mend its folder"
        super().__init__(
            f"{path}: cannot be written ({error.strerror or first_line(error)}); {mend}, or name another place, and "
            "give the same command again"
        )
        self.errno = error.errno


@contextmanager
def temporary_beside(path: str | Path) -> Iterator[Path]:
    """Yields a temporary name beside ``path``, for a file or a folder; whatever still has it at the end is removed.

    The parent folder is created, and what killed processes left in it is removed, once in the life of this process.

    Raises:
        IsADirectoryError: ``path`` has no name that could be put beside: it is ``.``, ``..`` or ``/``.
    """
    final = Path(path)
    if final.name in ("", ".."):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(final.parent.absolute())
    temporary = final.with_name(f".{final.name}.{_machine()}.{os.getpid()}.tmp")
    _remove(temporary)
    try:
        yield temporary
    finally:
        _remove(temporary)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; it takes the final name when the block ends without an error.

    On an error (a full disk, an interrupt) nothing stays under either name.

    Raises:
        WriteError: The disk is full, or the folder may not be written; ``path`` is a pipe or a device, as /dev/null is.
    """
    try:
        # Its place a file would take, for every other program, too.
        if Path(path).exists() and _is_special(os.stat(path).st_mode):
            raise OSError(errno.EINVAL, "is a pipe, a socket or a device")
        with temporary_beside(path) as temporary:
            temporary.touch()
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            # Some libraries write through a file of their own, which only its owner may read; this has the umask's.
            temporary.chmod(mode)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    except OSError as error:
        if error.errno is None or isinstance(error, WriteError):  # the former says more itself
            raise
        raise WriteError(path, error) from error


def sweep(folder: Path) -> None:
    """Removes from a folder what killed processes of this machine, or of any a day ago, left under temporary names."""
    for path in folder.glob(".*.tmp"):
        if not (found := TEMPORARY.fullmatch(path.name)):
            continue
        with suppress(OSError):  # it is another's, or gone by now
            # What a process of this machine still uses may be older than a day: an unpacked bundle that predicts.
            ours, old = int(found[2]) == _machine(), time.time() - path.stat().st_mtime > _DAY
            if not _runs(int(found[3])) if ours else old:
                _remove(path)


_sweep_once = cache(sweep)


@cache
def _machine() -> int:
    """Processes have the same number on several machines that share a disk, and in several containers of a machine."""
    space = ""
    with suppress(OSError):  # not on Linux
        space = str(Path("/proc/self/ns/pid").readlink())
    return zlib.crc32(f"{socket.gethostname()}{space}".encode())


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        if error.errno != errno.EPERM:  # it is another user's
            return False
    # One that has ended keeps its number until somebody waits for it: in a container without an init, for good.
    with suppress(OSError):  # not on Linux
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class InUseError(RuntimeError):
    """Another process writes there; the message names it."""


@contextmanager
def only_writer(target: str | Path, name: str = "", waits: bool = False) -> Iterator[None]:
    """Keeps every other process out that would write the same file or folder.

    The system forgets the lock when this process ends, however it ends. Where a disk has no locks, a warning is all.

    Args:
        target: What is to be written.
        name: What it shares with other targets of its folder that are written with it; its own name where empty.
        waits: Whether another one is waited for.

    Raises:
        InUseError: Another one is at it, and is not waited for.
        WriteError: Nothing can be written there.
    """
    target = Path(target)
    whole = Path(os.path.abspath(target))  # "." has no name of its own
    file = whole.with_name(f".{name or whole.name}.lock") if whole.name else whole / ".lock"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = _locked(file, target, waits)
    except OSError as error:  # which names the lock: nobody asked for one
        raise WriteError(target, error) from error
    try:
        with suppress(OSError):  # a full disk keeps the lock, if not the name
            lock.truncate(0)
            lock.write(f"{os.getpid()} on {socket.gethostname()}")
            lock.flush()
        yield
    finally:
        file.unlink(missing_ok=True)
        with suppress(OSError):
            lock.close()


def _locked(file: Path, target: Path, waits: bool) -> TextIO:
    while True:
        lock = file.open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            with lock:
                lock.seek(0)
                holder = lock.read().strip() or "another"
            raise InUseError(
                f"{target}: is being written by process {holder}; wait for its end, stop it, or name another place"
            ) from None
        except OSError as error:
            log.warning("%s: this disk has no locks (%s): start nothing else that writes here", file, error.strerror)
            return lock
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(file)):
                return lock
        lock.close()  # who had it before has removed it: nobody else would see this one


def require_regular(path: str | Path) -> None:
    """Refuses what is no file of a known length: to open a pipe is to wait, perhaps for ever, for whoever writes.

    Raises:
        OSError: It is a pipe, a socket or a device; it is not there, or may not be looked at.
    """
    if _is_special(os.stat(path).st_mode):  # folders have an error of their own
        raise OSError(errno.EINVAL, "is a pipe, a socket or a device, and only files are read", str(path))


def _is_special(mode: int) -> bool:
    """Whether it is that of neither a file nor a folder."""
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def stamp(path: str | Path) -> str:
    """:func:`fingerprint` and the time of the last change: what is read between two equal stamps is the same.

    Raises:
        OSError: The file cannot be read.
    """
    return f"{fingerprint(path)}-{os.stat(path).st_mtime_ns}"


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
        OSError: It cannot be read, or is a pipe or a device.
    """
    require_regular(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also for numbers of 5,000 digits, and brackets within brackets
        raise FileError(f"{path} is not JSON: {first_line(error)}; mend the file or copy it again") from error


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a YAML file of keys and values.

    Raises:
        FileError: The file is not YAML, or holds something else.
        OSError: It cannot be read, or is a pipe or a device.
    """
    import yaml

    require_regular(path)
    try:
        text, value = Path(path).read_text(encoding="utf-8"), None
        # libyaml, where PyYAML was built with it, is ten times as fast. It ends the process where the nesting is deep,
        # of which each level takes one of these characters, and says less of errors.
        if len(re.findall(r"[\[{?:-]", text)) < _FLAT:
            with suppress(yaml.YAMLError):
                value = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if value is None:
            value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        at = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise FileError(f"{path}{at}: is not YAML: {error.problem}; mend the file or copy it again") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, a date of month 13
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
    require_regular(path)
    with Path(path).open("rb") as content:
        size = os.fstat(content.fileno()).st_size
        digest = hashlib.sha256()
        for number in range(_SAMPLES):
            content.seek(max(size - _SAMPLE_BYTES, 0) * number // (_SAMPLES - 1))
            digest.update(content.read(_SAMPLE_BYTES))
    return f"{size}-{digest.hexdigest()[:16]}"


def file_name(name: str) -> str:
    """Any text as a file's name, ASCII: nothing in it climbs out of a folder or hides, and none is too long.

    What is too long (25 Chinese characters are 225 bytes when quoted) is cut, and ends in ``=`` and a hash of all of
    it; ``=`` itself is quoted, so no two texts have one name.
    """
    quoted = re.sub(r"^\.", "%2E", quote(name, safe=" "))
    if len(quoted) > _LONGEST_NAME:
        return f"{quoted[: _LONGEST_NAME - 33]}={hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return quoted


def printable(name: str) -> str:
    """A name for a line of text: line ends, other control characters and bytes that are no UTF-8 as escapes."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).splitlines()), "no message")


def sha256(path: str | Path) -> str:
    """64 hexadecimal characters over a file's content, which is read in pieces.

    Raises:
        OSError: The file cannot be read.
    """
    require_regular(path)
    with Path(path).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def code_hash(*folders: Path) -> str:
    """64 hexadecimal characters over the Python source in folders and below, by which what it once computed is known.

    Unlike a number that is raised by hand it is never forgotten; a comment that changes costs time alone.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def first_few(items: Iterable[object], shown: int = 3) -> str:
    """``a, b, c and 15 more``: what a message lists of many files or rows before it only counts."""
    texts = [str(item) for item in items]
    return ", ".join(texts[:shown]) + (f" and {len(texts) - shown:,} more" if len(texts) > shown else "")
