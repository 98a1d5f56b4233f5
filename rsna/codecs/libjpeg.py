"""libjpeg-turbo: the decoder of JPEG, heard.

Where bytes of a scan are missing, or left over, libjpeg goes on with zeros, or steps over them, and says so by a
warning alone (JWRN_HIT_MARKER, JWRN_EXTRANEOUS_DATA and others of jerror.h). imagecodecs carries the library, and drops
its warnings: a third of the pixels may be wrong without a word. Here the library's functions (libjpeg.txt, jpeglib.h)
are called themselves, and a warning is an error. Where imagecodecs was linked in another way it decodes, and the log
says that nobody listened.

libjpeg's way out of an error is a jump across the caller's frames, which Python has none for. So imagecodecs decodes
one row first: whatever the header can make libjpeg stumble over is its exception. What libjpeg then reads of it is held
against what was parsed here before it is given room for pixels, each call's result is looked at before the next, and
after a warning none is called any more: warnings alone are left.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from rsna.codecs.codestream import END_MARKER, TAIL, Codestream
from rsna.codecs.errors import CorruptPixels, DicomError, UnsupportedPixels
from rsna.codecs.jpeg_header import parse_jpeg

log = logging.getLogger(__name__)

_MOST_ROWS = 65_500
"""JPEG_MAX_DIMENSION of jmorecfg.h."""
_STRUCT_BYTES = 4096
"""More than any version's jpeg_decompress_struct."""
_DONE = 1
"""JPEG_HEADER_OK, and TRUE: not suspended, not without an image."""
_WITHHELD = 2
"""Bytes at a scan's end that are handed over when they are asked for: libjpeg reads ahead by up to eight, and would not
tell those that it does not need."""
_MARKER = re.compile(rb"\xff+[^\0\xff\xd0-\xd7]")
"""Any but restarts, which stand inside a scan."""
_RESTART = b"\xff\xd0"
"""After the scan, before its end: libjpeg counts what it skipped before restarts, and tells at the next marker."""

_P = ctypes.c_void_p
_CALLBACK = ctypes.PYFUNCTYPE(None, _P)
_FILL = ctypes.PYFUNCTYPE(ctypes.c_int, _P)


class _Errors(ctypes.Structure):
    """jpeg_error_mgr"""

    _fields_ = (
        ("error_exit", _CALLBACK),
        ("emit_message", _P),
        ("output_message", _CALLBACK),
        ("format_message", ctypes.PYFUNCTYPE(None, _P, ctypes.c_char_p)),
        ("reset_error_mgr", _P),
        ("msg_code", ctypes.c_int),
        ("msg_parm", ctypes.c_int * 20),
        ("trace_level", ctypes.c_int),
        ("num_warnings", ctypes.c_long),
        ("tables", _P * 8),
    )


class _Source(ctypes.Structure):
    """jpeg_source_mgr"""

    _fields_ = (
        ("next_input_byte", _P),
        ("bytes_in_buffer", ctypes.c_size_t),
        ("init_source", _P),
        ("fill_input_buffer", _FILL),
        ("others", _P * 3),
    )


class _Decompress(ctypes.Structure):
    """The start of jpeg_decompress_struct, which all versions have in common."""

    _fields_ = (
        ("err", ctypes.POINTER(_Errors)),
        ("pointers", _P * 3),
        ("states", ctypes.c_int * 2),
        ("src", ctypes.POINTER(_Source)),
        ("image_width", ctypes.c_uint),
        ("image_height", ctypes.c_uint),
        ("num_components", ctypes.c_int),
        ("spaces", ctypes.c_int * 2),
        ("scale", ctypes.c_uint * 2),
        ("output_gamma", ctypes.c_double),
        ("choices", ctypes.c_int * 12),
        ("output_size", ctypes.c_uint * 2),
        ("outputs", ctypes.c_int * 4),
        ("colormap", _P),
        ("progress", ctypes.c_uint * 5),
        ("tables", _P * 13),
        ("data_precision", ctypes.c_int),
        ("rest", ctypes.c_char * _STRUCT_BYTES),
    )


class _Entropy(ctypes.Structure):
    """The start of the entropy decoders of jdhuff.c and jdlhuff.c, the same in both; no header promises it."""

    _fields_ = (
        ("methods", _P * 4),
        ("insufficient_data", ctypes.c_int),
        ("get_buffer", ctypes.c_size_t),
        ("bits_left", ctypes.c_int),
    )


_ENTROPY_FROM_END = 5 * ctypes.sizeof(_P)
"""Where jpeg_decompress_struct points at it, before four other modules."""
_ENTROPY_KNOWN = "libjpeg_turbo 3.1."
"""The versions that were looked at. With others, up to eight bytes may be left over without a word."""

_C = ctypes.POINTER(_Decompress)
_READ_LINES = (ctypes.c_uint32, [_P, _P, ctypes.c_uint32])
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "jpeg_std_error": (_P, [ctypes.POINTER(_Errors)]),
    "jpeg_CreateDecompress": (None, [_C, ctypes.c_int, ctypes.c_size_t]),
    "jpeg_mem_src": (None, [_C, _P, ctypes.c_ulong]),
    "jpeg_read_header": (ctypes.c_int, [_C, ctypes.c_int]),
    "jpeg_start_decompress": (ctypes.c_int, [_C]),
    "jpeg_read_scanlines": _READ_LINES,
    "jpeg12_read_scanlines": _READ_LINES,
    "jpeg16_read_scanlines": _READ_LINES,
    "jpeg_finish_decompress": (ctypes.c_int, [_C]),
    "jpeg_destroy_decompress": (None, [_C]),
}
"""Name → result and arguments."""


def decode_jpeg(data: bytes, codestream: Codestream) -> NDArray[Any]:
    """Decode an image whose components all stand in one sequential scan.

    Args:
        data: the frame.
        codestream: what it says of itself.

    Returns:
        (rows, columns) uint8 or uint16, the codestream's `precision` bits of each sample; of several components
        (rows, columns, components).

    Raises:
        CorruptPixels: the decoder warns, or the scan is longer than its pixels.
        UnsupportedPixels: more rows than libjpeg takes.
        imagecodecs.Jpeg8Error: the header cannot be decoded.
    """
    if codestream.rows > _MOST_ROWS:
        raise UnsupportedPixels(f"JPEG of {codestream.rows} rows; the decoder takes {_MOST_ROWS}")
    found = load_library()
    if found is None:
        _say_deaf()
        return imagecodecs.jpeg8_decode(data)
    one_row = bytearray(data[: codestream.scan]) + END_MARKER
    one_row[codestream.rows_at : codestream.rows_at + 2] = b"\0\1"
    imagecodecs.jpeg8_decode(bytes(one_row))
    return _Decoder(found[0], data, codestream).decode(*found[1:])


def require_whole(picture: bytes) -> None:
    """Decode a JPEG file of any process for what libjpeg has to say of it; what follows its end is left alone.

    Of several scans, as progressive coding has, less is noticed: libjpeg tells neither that the last ones are missing
    nor up to eight bytes left over in each.

    Raises:
        CorruptPixels: bytes are missing or left over.
        imagecodecs.Jpeg8Error: it cannot be decoded.
    """
    codestream = _one_scan(picture)
    if codestream is not None:
        end = picture.find(END_MARKER, codestream.scan)
        decode_jpeg(picture[: end + len(END_MARKER)], codestream)
        return
    # Headers stand between scans, too: all errors come as exceptions here, since below the same one would be an abort.
    samples = imagecodecs.jpeg8_decode(picture)
    found = load_library()
    if found is None:
        _say_deaf()
    else:
        described = Codestream("jpeg", samples.shape[0], samples.shape[1], samples[0, 0].size, 8 * samples.itemsize)
        _Decoder(found[0], picture, described).hear(samples, *found[1:])


def _one_scan(picture: bytes) -> Codestream | None:
    """What a sequential JPEG says of itself if its first scan holds all components, else None."""
    try:
        codestream = parse_jpeg(picture)
    except (DicomError, struct.error):
        return None
    count = codestream.components
    header = b"\xff\xda" + struct.pack(">HB", 6 + 2 * count, count)
    whole = picture.startswith(header, codestream.scan - 2 * count - 8)
    return codestream if codestream.kind == "jpeg" and codestream.precision == 8 and whole else None


@functools.cache
def _say_deaf() -> None:
    log.warning("imagecodecs carries no libjpeg-turbo 3 of its own: JPEG with bytes missing in its scan is not noticed")


@functools.cache
def load_library() -> tuple[ctypes.PyDLL, int, int] | None:
    """The library that imagecodecs decodes with, its JPEG_LIB_VERSION and the size of its jpeg_decompress_struct."""
    for path in _candidates():
        try:
            # PyDLL: each call takes microseconds, and waiting for the GIL after each would take longer.
            library = ctypes.PyDLL(path)
            for name, (result, arguments) in _FUNCTIONS.items():
                getattr(library, name).restype, getattr(library, name).argtypes = result, arguments
        except (OSError, AttributeError):
            continue  # of another architecture, or before version 3
        return library, *_ask_version(library)
    return None


def _candidates() -> Iterator[str]:
    package = Path(imagecodecs.__file__).parent
    for folder in (package.parent / "imagecodecs.libs", package / ".dylibs"):
        yield from sorted(str(path) for path in folder.glob("libjpeg[-.]*"))


def _ask_version(library: ctypes.PyDLL) -> tuple[int, int]:
    """The library names both where they are wrong; nothing is allocated before, so this error may return."""
    errors, decompress, named = _Errors(), _Decompress(), []
    library.jpeg_std_error(errors)
    errors.error_exit = _CALLBACK(lambda _: named.append(errors.msg_parm[0]))
    decompress.err = ctypes.pointer(errors)
    library.jpeg_CreateDecompress(decompress, 0, 0)
    library.jpeg_destroy_decompress(decompress)
    version, size = named
    return version, size


def _abort(_: object) -> None:
    """Returning would go on with what libjpeg has given up."""
    os.write(2, b"libjpeg: an error after its header was tried\n")
    os.abort()


_GIVE_UP = _CALLBACK(_abort)
_WAIT = _FILL(lambda _: 0)
"""Without further bytes jpeg_read_scanlines returns without a row, where others are told that the image is over."""


class _Decoder:
    """One decoding; what the library calls back must outlive it."""

    def __init__(self, library: ctypes.PyDLL, data: bytes, codestream: Codestream) -> None:
        self._library = library
        self._codestream = codestream
        self._data = data
        self._start = ctypes.cast(ctypes.c_char_p(data), _P).value or 0
        self._warnings: list[str] = []
        self._tail: ctypes.Array[ctypes.c_char] | None = None
        self._errors = _Errors()
        library.jpeg_std_error(self._errors)
        self._errors.error_exit = _GIVE_UP
        self._errors.output_message = _listener(self._errors, self._warnings)
        self._decompress = _Decompress(err=ctypes.pointer(self._errors))

    def decode(self, version: int, size: int) -> NDArray[Any]:
        library, decompress = self._library, self._decompress
        library.jpeg_CreateDecompress(decompress, version, size)
        try:
            end = self._end_of_scan()
            library.jpeg_mem_src(decompress, self._start, end - _WITHHELD)
            decompress.src.contents.fill_input_buffer = _WAIT
            if library.jpeg_read_header(decompress, 1) != _DONE:
                raise CorruptPixels("libjpeg: the header goes on into the scan")
            self._check_header()
            if library.jpeg_start_decompress(decompress) != _DONE:
                raise CorruptPixels("libjpeg: more scans than one")
            samples = self._read_lines(end)
            self._check()  # Only the end marker is left to be read, unless something was skipped.
            unused = self._unused_bits(size)
            # The last byte is filled up with ones (F.1.2.3), by some with zeros.
            if len(unused) > 7 or len(set(unused)) > 1:
                raise CorruptPixels(f"JPEG: {len(unused)} bits are left over after the last pixel")
            library.jpeg_finish_decompress(decompress)
            self._check()
        finally:
            library.jpeg_destroy_decompress(decompress)
        return samples

    def hear(self, samples: NDArray[np.uint8], version: int, size: int) -> None:
        """Decode once more what imagecodecs decoded to (rows, columns[, components]) ``samples``, into them."""
        library, decompress = self._library, self._decompress
        library.jpeg_CreateDecompress(decompress, version, size)
        try:
            library.jpeg_mem_src(decompress, self._start, len(self._data))
            library.jpeg_read_header(decompress, 1)
            self._check_header()
            library.jpeg_start_decompress(decompress)
            for line in samples:
                library.jpeg_read_scanlines(ctypes.addressof(decompress), ctypes.byref(_P(line.ctypes.data)), 1)
            library.jpeg_finish_decompress(decompress)
            self._check()
        finally:
            library.jpeg_destroy_decompress(decompress)

    def _check_header(self) -> None:
        """Rows are written as wide as libjpeg read them, into as many columns as were parsed."""
        read, said = self._decompress, self._codestream
        theirs = read.image_height, read.image_width, read.num_components, read.data_precision
        ours = said.rows, said.columns, said.components, said.precision
        if theirs != ours:
            raise CorruptPixels(f"libjpeg reads {theirs} as rows, columns, components, bits; the header says {ours}")

    def _end_of_scan(self) -> int:
        """Where the first marker after it starts, or the fill bytes before that (B.1.1.2)."""
        marker = _MARKER.search(self._data, max(self._codestream.scan, len(self._data) - TAIL))
        if marker is None or marker.start() - _WITHHELD < self._codestream.scan:
            raise CorruptPixels("JPEG: the scan is empty")
        return marker.start()

    def _read_lines(self, end: int) -> NDArray[Any]:
        """(rows, columns[, components]); the scan's end is handed over when the rest is used up."""
        precision, rows = self._codestream.precision, self._codestream.rows
        kind = "" if precision <= 8 else "12" if precision <= 12 else "16"
        read = getattr(self._library, f"jpeg{kind}_read_scanlines")
        shape = (rows, self._codestream.columns, self._codestream.components)
        samples = np.empty(shape[: 2 if shape[2] == 1 else 3], np.uint16 if kind else np.uint8)
        lines = samples.ctypes.data + samples.strides[0] * np.arange(rows, dtype=np.uintp)
        first, size = lines.ctypes.data, lines.itemsize
        decompress = ctypes.addressof(self._decompress)
        for line in range(first, first + size * rows, size):
            if not read(decompress, line, 1):
                self._hand_over(end)
                if not read(decompress, line, 1):
                    raise CorruptPixels("JPEG: the scan ends before its pixels")
        if self._tail is None:
            raise CorruptPixels("JPEG: bytes are left over after the last pixel")
        return samples

    def _hand_over(self, end: int) -> None:
        """Give the bytes that the decoder has not taken yet, up to the scan's end."""
        source = self._decompress.src.contents
        position = (source.next_input_byte or 0) - self._start
        if self._tail is None:
            self._tail = ctypes.create_string_buffer(self._data[position:end] + _RESTART + END_MARKER)
            source.next_input_byte, source.bytes_in_buffer = ctypes.addressof(self._tail), len(self._tail) - 1

    def _unused_bits(self, size: int) -> str:
        """The bits after the last pixel that were read already, "0" and "1"; at most seven where nothing was lost."""
        if _ENTROPY_KNOWN not in imagecodecs.jpeg8_version():
            return ""
        at = ctypes.addressof(self._decompress) + size - _ENTROPY_FROM_END
        entropy = _Entropy.from_address(_P.from_address(at).value or 0)
        left = entropy.bits_left
        return f"{entropy.get_buffer & ((1 << left) - 1):0{left}b}" if left else ""

    def _check(self) -> None:
        if self._warnings:
            raise CorruptPixels(f"libjpeg: {self._warnings[0]}")


def _listener(errors: _Errors, warnings: list[str]) -> Any:
    """What libjpeg calls for its first warning alone; it knows no decoder, which would live on in a cycle."""

    def listen(decompress: object) -> None:
        text = ctypes.create_string_buffer(200)  # JMSG_LENGTH_MAX
        errors.format_message(decompress, text)
        warnings.append(text.value.decode(errors="replace"))

    return _CALLBACK(listen)
