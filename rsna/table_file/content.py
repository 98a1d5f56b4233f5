"""A file → the text of a table, however it is packed and encoded; or what it is instead."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path

from rsna.files import first_line, require_regular
from rsna.table_file.errors import TableError
from rsna.table_file.workbook import is_workbook

_BOMS = {
    b"\xef\xbb\xbf": "utf-8", b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}  # fmt: skip
"""Byte order marks (Unicode 15, 23.8); the longer ones stand before their own beginnings."""

_STRANGERS = {
    b"PK": "a ZIP archive", b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)", b"%PDF": "a PDF",
    b"<": "an HTML or XML page", b"{": "JSON", b"[": "JSON",
    b"version https://git-lfs": "a pointer of Git LFS, not the file",
}  # fmt: skip
"""First bytes of what is named .csv by mistake; workbooks and pages that ask for a password are the usual ones."""


def unpacked(file: str | Path, said: list[str]) -> bytes:
    """The table's own bytes."""
    try:
        require_regular(file)
        raw = Path(file).read_bytes()
    except FileNotFoundError:
        raise TableError(f"{file}: there is no such file") from None
    except OSError as error:
        raise TableError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        if raw[:2] == b"\x1f\x8b":
            return gzip.decompress(raw)
        if raw[:3] == b"BZh":
            return bz2.decompress(raw)
        if raw[:6] == b"\xfd7zXZ\0":
            return lzma.decompress(raw)
        if raw[:4] == b"PK\3\4" and not is_workbook(raw):
            return _only_member(raw, file, said)
    except (EOFError, OSError, RuntimeError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"{file}: is cut off or damaged ({first_line(error)}); copy it again") from error
    return raw


def _only_member(raw: bytes, file: str | Path, said: list[str]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        files = [item for item in archive.infolist() if not item.is_dir() and not item.filename.startswith("__MACOSX/")]
        if len(files) != 1 or files[0].flag_bits & 1:
            what = "a password" if len(files) == 1 else f"{len(files)} files"
            raise TableError(f"{file}: is a ZIP archive with {what}; unpack it and name the table in it")
        said.append(f"{files[0].filename} of the ZIP archive is read")
        return archive.read(files[0])


def decoded(raw: bytes, file: str | Path, said: list[str]) -> str:
    """Bytes as text. UTF-8 is not spoken of; anything else is a guess."""
    for start, what in _STRANGERS.items():
        if raw.lstrip()[: len(start)] == start:
            raise TableError(f"{file}: is {what}; a table is wanted: CSV with a header, .xlsx or Parquet")
    mark = next((mark for mark in _BOMS if raw.startswith(mark)), b"")
    encoding = _BOMS.get(mark, "utf-8")
    if not mark:
        # Two bytes a character: of Latin letters one is zero.
        zeros = [raw[start:4096:2].count(0) / max(len(raw[start:4096:2]), 1) for start in (0, 1)]
        encoding = "utf-16-le" if zeros[1] > 0.4 > zeros[0] else "utf-16-be" if zeros[0] > 0.4 > zeros[1] else encoding
    try:
        text = raw.decode(encoding).removeprefix("\ufeff").rstrip("\x1a")  # how CP/M and old DOS ended a text
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        # Letters that are UTF-8 beside a byte that is not: another encoding would spoil them without a word.
        if mark or encoding != "utf-8" or not raw.decode(errors="ignore").isascii():
            raise TableError(f"{file}, line {line}: is not {encoding.upper()}, as the rest of the file is") from error
        said.append(f"is not UTF-8 (line {line}) and is read as Windows-1252")
        text = raw.decode("cp1252", errors="replace")
    if not text.strip("\0 \t\r\n"):
        raise TableError(f"{file}: is empty" + (f" ({len(raw):,} bytes without a letter)" if raw else ""))
    if "\0" in text:
        line = len(text[: text.index("\0")].splitlines())
        raise TableError(f"{file}, line {max(line, 1)}: holds NUL bytes, so it is damaged or no table; copy it again")
    if encoding != "utf-8":
        said.append(f"is {encoding.upper()}")
    return text
