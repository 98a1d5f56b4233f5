"""A file's header, and the bytes of its one frame: native or encapsulated in fragments (PS3.5 8, A.4, A.5)."""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from rsna.codecs.signature import signature
from rsna.dicom.elements import OVERLAYS, label, shown, values_of
from rsna.dicom.errors import (
    CorruptPixels,
    DicomError,
    MultiFrame,
    NoPixels,
    NotDicom,
    TooLarge,
    Truncated,
    UnsupportedPixels,
    UnsupportedSyntax,
)
from rsna.dicom.syntax import BIG_ENDIAN, COMPRESSED, DEFLATED, EXPLICIT, GE_PRIVATE, IMPLICIT, NATIVE
from rsna.dicom.tags import NEEDED_TAGS
from rsna.files import require_regular

_UNDEFINED = 0xFFFFFFFF
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_FLOAT_PIXELS, _DOUBLE_PIXELS, _PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
# What a header may take beside its pixels when a deflated data set is inflated: bytes.
_HEADER_ALLOWANCE = 1 << 24
# What a character set may be called (PS3.3 C.12.1.1.2), and what pydicom mends. It looks up other names among Python's
# codecs, where a NUL is an error, and some are no character sets.
_CHARACTER_SET, _CHARACTER_SET_NAME = 0x00080005, re.compile(rb"(ISO[^\0]*|UTF-?8|GB[K0-9]+)?")


@dataclass(frozen=True)
class PixelData:
    """Where (7FE0,0010) Pixel Data stands, and how it is written."""

    source: Path | bytes
    """The file, or bytes that hold the value."""
    offset: int
    """Of the value in the source."""
    length: int | None
    """Bytes; None where it is encapsulated."""
    big_endian: bool = False
    as_words: bool = False
    """The VR is OW: big-endian writers swap pairs of 8-bit pixels, too."""
    name: str = ""
    """Of the file, for the log."""

    @property
    def encapsulated(self) -> bool:
        """The value is a sequence of fragments, not bytes of a known length."""
        return self.length is None

    def read(self, limit: int) -> bytes:
        """The native pixels, or the codestream of the one frame.

        Args:
            limit: bytes beyond which the value is not read.

        Raises:
            Truncated, TooLarge, CorruptPixels, MultiFrame
        """
        with io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb") as stream:
            stream.seek(self.offset)
            if self.length is None:
                return _join_fragments(stream, limit)
            value = stream.read(min(self.length, limit))
            if len(value) < min(self.length, limit):
                raise Truncated(f"(7FE0,0010) Pixel Data has {len(value)} of {self.length} bytes")
            return value


def _join_fragments(stream: BinaryIO, limit: int) -> bytes:
    """PS3.5 A.4: an item with the offset table, then fragments up to a delimiter."""
    fragments: list[bytes] = []
    total = 0
    while len(head := stream.read(8)) == 8:
        group, element, length = struct.unpack("<HHI", head)
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM:
            raise CorruptPixels(f"(7FE0,0010) Pixel Data: ({group:04X},{element:04X}) where a fragment should start")
        total += length
        if total > limit:
            raise TooLarge(f"(7FE0,0010) Pixel Data: fragments of more than {limit:,} bytes")
        fragments.append(stream.read(length))
        if len(fragments[-1]) < length:
            missing = length - len(fragments[-1])
            raise Truncated(f"(7FE0,0010) Pixel Data: fragment {len(fragments) - 1} lacks {missing} bytes")
    if len(fragments) < 2:
        raise Truncated("(7FE0,0010) Pixel Data holds no fragment")
    _, first, *others = fragments
    starts = signature(first)
    if starts and (more := sum(fragment.startswith(starts) for fragment in others)):
        # Decoders end with the first, and say nothing of those that follow.
        raise MultiFrame(f"(7FE0,0010) Pixel Data holds {more + 1} codestreams, (0028,0008) Number of Frames says one")
    return b"".join([first, *others]) if others else first


@dataclass(frozen=True)
class Header:
    """The data set up to its pixels."""

    dataset: Dataset
    meta: Dataset
    """PS3.10 7.1; empty where there is none"""
    transfer_syntax: str
    pixels: PixelData
    notes: tuple[str, ...] = ()
    """What had to be passed over."""

    @property
    def big_endian(self) -> bool:
        """Whether the data set is; pixels may be so alone."""
        return self.transfer_syntax == BIG_ENDIAN


def read_header(source: Path | bytes, max_pixels: int) -> Header:
    """Read a file's header and find its pixels, which stay unread.

    Raises:
        NotDicom, NoPixels, Truncated, TooLarge, UnsupportedPixels, UnsupportedSyntax, OSError
    """
    if isinstance(source, Path):
        require_regular(source)
    syntax, begin = "", 0
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        try:
            meta = _read_meta(stream)
            begin = stream.tell()
            syntax = _label(meta) or _guess_syntax(stream)
            if syntax == DEFLATED:
                source = _inflate(stream.read(), 4 * max_pixels + _HEADER_ALLOWANCE)
                return _read_main(io.BytesIO(source), source, syntax, meta)
            return _read_main(stream, source, syntax, meta)
        except Exception as error:
            known = not syntax or syntax in NATIVE | COMPRESSED or isinstance(error, OSError)
            if not known and stream.seek(begin) == begin and stream.read(1):  # Nobody knows how its header is written.
                raise UnsupportedSyntax(f"(0002,0010) Transfer Syntax UID is {syntax}") from error
            if isinstance(error, EOFError | struct.error):
                raise Truncated("the file ends inside its header") from None
            raise


def may_be_dicom(start: bytes) -> bool:
    """Whether a file with these first 132 bytes is read: PS3.10 7.1, or a data set without preamble."""
    return start[128:132] == b"DICM" or start[:2] in (b"\x02\0", b"\x08\0", b"\0\x08")


def _read_meta(stream: BinaryIO) -> Dataset:
    """PS3.10 7.1; files without preamble, as old archives hold them, start with their first element."""
    start = stream.read(132)
    if not may_be_dicom(start):
        raise NotDicom("no DICM at byte 128, and no data set at byte 0" if start else "the file is empty")
    if start[128:] != b"DICM":
        stream.seek(0)
    return read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)


def _label(meta: Dataset) -> str:
    """(0002,0010) Transfer Syntax UID, "" where it is missing or empty; some pad it with spaces, or in front."""
    return str(meta.get("TransferSyntaxUID") or "").strip("\0 ")


def _guess_syntax(stream: BinaryIO) -> str:
    """Tell the three native encodings apart by the first element of a data set that does not name its own."""
    position = stream.tell()
    start = stream.read(6)
    stream.seek(position)
    if not (start[4:6].isalpha() and start[4:6].isupper()):
        return IMPLICIT
    return BIG_ENDIAN if start[:1] == b"\0" else EXPLICIT


def _inflate(deflated: bytes, limit: int) -> bytes:
    """PS3.5 A.5, with a bound: a few kilobytes can promise gigabytes."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = engine.decompress(deflated, limit)
    if engine.unconsumed_tail:
        raise TooLarge(f"the deflated data set holds more than {limit:,} bytes")
    if not engine.eof:
        raise Truncated("the deflated data set ends too early")
    return inflated


class _UnknownCharacterSet(Exception):
    """The value of (0008,0005)."""


def _read_main(
    stream: BinaryIO, source: Path | bytes, syntax: str, meta: Dataset, notes: tuple[str, ...] = ()
) -> Header:
    begin = stream.tell()
    found: list[tuple[int, str | None, int]] = []
    places: dict[int, int] = {}
    repeated: list[str] = []

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        # The first element may be looked at ahead of being read, a few bytes before.
        if stream.tell() - places.setdefault(tag, stream.tell()) >= 8 and tag in NEEDED_TAGS:
            repeated.append(f"{label(keyword_for_tag(tag))} stands there twice: the latter is read")
        if tag == _CHARACTER_SET:
            _check_character_set(stream, vr, length)
        if _FLOAT_PIXELS <= tag <= _PIXELS:
            found.append((int(tag), vr, length))
            return True
        return False

    try:
        dataset = read_dataset(
            stream,
            is_implicit_VR=syntax in (IMPLICIT, GE_PRIVATE),
            is_little_endian=syntax != BIG_ENDIAN,
            stop_when=at_pixels,
            specific_tags=NEEDED_TAGS,
        )
    except (_UnknownCharacterSet, LookupError, ValueError) as error:
        stream.seek(0)
        content = stream.read()
        # Under another tag it is stepped over, and so are those that items of sequences have for themselves.
        old, new = (struct.pack(">HH" if syntax == BIG_ENDIAN else "<HH", 0x0008, element) for element in (5, 6))
        if old not in content:
            raise
        stream = io.BytesIO(content.replace(old, new))
        stream.seek(begin)
        note = f"(0008,0005) Specific Character Set cannot be used ({error}): text is read as Latin-1"
        return _read_main(stream, source, syntax, meta, (note,))
    offset = stream.tell()
    if not found:
        if offset > stream.seek(0, io.SEEK_END):
            raise Truncated("the file ends inside its header")
        raise _without_pixels(dataset, meta)
    tag, vr, length = found[-1]
    _refuse_pixels(tag, vr, syntax)
    for group in OVERLAYS:  # stepped over, as the data of some is large: that they stand there is enough
        if group << 16 | 0x0102 in places and group << 16 | 0x3000 not in places:
            dataset.add_new((group, 0x0102), "US", 0)
    return Header(
        dataset=dataset,
        meta=meta,
        transfer_syntax=syntax,
        pixels=PixelData(
            source=source,
            offset=offset + (12 if vr in EXPLICIT_VR_LENGTH_32 else 8),
            length=None if length == _UNDEFINED else length,
            big_endian=syntax in (BIG_ENDIAN, GE_PRIVATE),
            as_words=vr == "OW",
        ),
        notes=(*notes, *repeated),
    )


def _refuse_pixels(tag: int, vr: str | None, syntax: str) -> None:
    if syntax == GE_PRIVATE and vr is not None:
        raise UnsupportedSyntax(
            f"(0002,0010) Transfer Syntax UID is {syntax}, whose VR is implicit; it is explicit here"
        )
    if tag in (_FLOAT_PIXELS, _DOUBLE_PIXELS):
        raise UnsupportedPixels("the pixels are floating-point numbers")


def _check_character_set(stream: BinaryIO, vr: str | None, length: int) -> None:
    if length == 0:  # or looked at ahead of being read, with no length yet
        return
    offset = stream.tell()
    value = stream.read(min(length, 1 << 10))
    stream.seek(offset)
    names = value.rstrip(b"\0 ").upper().split(b"\\")
    if vr not in (None, "CS") or not all(_CHARACTER_SET_NAME.fullmatch(name.strip()) for name in names):
        raise _UnknownCharacterSet(shown([value.decode("latin-1")]))


def _without_pixels(dataset: Dataset, meta: Dataset) -> DicomError:
    """A file may end between two elements of its header, whole by its looks: its SOP class tells what should follow."""
    said = values_of(meta, "MediaStorageSOPClassUID") or values_of(dataset, "SOPClassUID") or [""]
    sop_class = UID(str(said[0]))
    cut_in_meta = len(meta) > 0 and "TransferSyntaxUID" not in meta
    if cut_in_meta or not sop_class or "Image Storage" in sop_class.name:
        return Truncated(f"(7FE0,0010) Pixel Data is missing; (0008,0016) SOP Class is {sop_class.name or 'missing'}")
    return NoPixels("(7FE0,0010) Pixel Data is missing")


def header_of(dataset: Dataset) -> Header:
    """The same of a data set that is already in memory; it is not changed.

    Raises:
        NoPixels, UnsupportedPixels
    """
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise UnsupportedPixels("the pixels are floating-point numbers")
    value = dataset.get("PixelData")
    if not value:
        raise NoPixels("(7FE0,0010) Pixel Data is missing")
    meta: Dataset = getattr(dataset, "file_meta", None) or FileMetaDataset()
    implicit, little = dataset.original_encoding
    syntax = _label(meta) or (BIG_ENDIAN if little is False else IMPLICIT if implicit else EXPLICIT)
    encapsulated = dataset["PixelData"].is_undefined_length or value[:4] == b"\xfe\xff\x00\xe0"
    pixels = PixelData(
        source=bytes(value),
        offset=0,
        length=None if encapsulated else len(value),
        big_endian=syntax in (BIG_ENDIAN, GE_PRIVATE),
        as_words=dataset["PixelData"].VR == "OW",
    )
    return Header(dataset, meta, syntax, pixels)
