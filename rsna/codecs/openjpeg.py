"""OpenJPEG: a part of a JPEG 2000 image, at any of its levels.

Pillow carries the library and decodes whole images with it. Here its functions (openjpeg.h, 2.5) are called themselves,
since a breast fills a third of its mammogram and code blocks beside it need not be decoded. Where Pillow was linked in
another way, on Windows for one, Pillow decodes the whole image and the part is cut out: the same values, later. (It
refuses levels of the rare image that does not start at the origin of its grid.)
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import ImageFile

from rsna.codecs.codestream import Codestream
from rsna.codecs.errors import CorruptPixels

Area = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in pixels, x1 and y1 past the end."""

_OLDEST = (2, 5)
"""Earlier versions crash on some damaged files."""
_CODESTREAM = 0
"""OPJ_CODEC_J2K: no file format around it."""
_CHUNK = 1 << 20
"""Bytes that the library asks for at once."""
_PARAMETERS_BYTES = 1 << 15
"""More than any version's opj_dparameters_t, two paths of 4096 bytes among others."""
_END = ctypes.c_size_t(-1).value
_WORTHWHILE = 0.75
"""Share of the image up to which a part is decoded by itself: larger ones take more time and memory than the whole."""


class _Component(ctypes.Structure):
    """opj_image_comp_t"""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("dx", "dy", "w", "h", "x0", "y0", "prec", "bpp")),
        *((name, ctypes.c_uint32) for name in ("sgnd", "resno_decoded", "factor")),
        ("data", ctypes.POINTER(ctypes.c_int32)),
        ("alpha", ctypes.c_uint16),
    )


class _Image(ctypes.Structure):
    """opj_image_t"""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("x0", "y0", "x1", "y1", "numcomps")),
        ("color_space", ctypes.c_int),
        ("comps", ctypes.POINTER(_Component)),
        ("icc_profile_buf", ctypes.c_void_p),
        ("icc_profile_len", ctypes.c_uint32),
    )


_P = ctypes.c_void_p
_IMAGE = ctypes.POINTER(_Image)
_READ = ctypes.CFUNCTYPE(ctypes.c_size_t, _P, ctypes.c_size_t, _P)
_SKIP = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, _P)
_SEEK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, _P)
_MESSAGE = ctypes.CFUNCTYPE(None, ctypes.c_char_p, _P)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "opj_version": (ctypes.c_char_p, []),
    "opj_create_decompress": (_P, [ctypes.c_int]),
    "opj_destroy_codec": (None, [_P]),
    "opj_set_error_handler": (ctypes.c_int, [_P, _MESSAGE, _P]),
    "opj_set_warning_handler": (ctypes.c_int, [_P, _MESSAGE, _P]),
    "opj_set_default_decoder_parameters": (None, [_P]),
    "opj_setup_decoder": (ctypes.c_int, [_P, _P]),
    "opj_stream_create": (_P, [ctypes.c_size_t, ctypes.c_int]),
    "opj_stream_destroy": (None, [_P]),
    "opj_stream_set_read_function": (None, [_P, _READ]),
    "opj_stream_set_skip_function": (None, [_P, _SKIP]),
    "opj_stream_set_seek_function": (None, [_P, _SEEK]),
    "opj_stream_set_user_data_length": (None, [_P, ctypes.c_uint64]),
    "opj_read_header": (ctypes.c_int, [_P, _P, ctypes.POINTER(_IMAGE)]),
    "opj_set_decode_area": (ctypes.c_int, [_P, _IMAGE, *[ctypes.c_int32] * 4]),
    "opj_decode": (ctypes.c_int, [_P, _P, _IMAGE]),
    "opj_image_destroy": (None, [_IMAGE]),
}
"""Name → result and arguments."""


def decode_jpeg2000(data: bytes, codestream: Codestream, level: int, box: Area | None) -> NDArray[Any]:
    """Decode a part of an image of one component.

    Args:
        data: the frame; the codestream starts at byte `codestream.start`.
        codestream: what it says of itself.
        level: how often the image is halved.
        box: the part that is wanted, in pixels of this level; None for all of it.

    Returns:
        (y1 - y0, x1 - x0) uint8 or uint16, the codestream's `precision` bits of each sample; negative numbers as the
        complement of two.

    Raises:
        CorruptPixels, MemoryError, or whatever Pillow raises.
    """
    data = data[codestream.start :] if codestream.start else data
    dtype = np.dtype(np.uint8 if codestream.precision <= 8 else np.uint16)
    library = load_library()
    area = box if box and library and _can_be_apart(box, codestream, level) else None
    if library is None:
        samples = _decode_with_pillow(data, codestream, level, dtype)
    else:
        samples = _Decoder(library, data).decode(codestream, level, area, dtype)
    if box is not None and area is None:
        samples = samples[box[1] : box[3], box[0] : box[2]]
    unused = 8 * dtype.itemsize - codestream.precision
    return samples & dtype.type((1 << codestream.precision) - 1) if unused and codestream.signed else samples


def _can_be_apart(box: Area, codestream: Codestream, level: int) -> bool:
    rows, columns = codestream.size(level)
    pixels = (box[2] - box[0]) * (box[3] - box[1])
    # Of HTJ2K, OpenJPEG 2.5 decodes the whole alone: parts come back empty.
    return codestream.kind == "jpeg2000" and pixels <= _WORTHWHILE * rows * columns


@functools.cache
def load_library() -> ctypes.CDLL | None:
    """The library that Pillow carries or the system has, its functions declared; None where there is none."""
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
            for name, (result, arguments) in _FUNCTIONS.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
            version = tuple(int(number) for number in library.opj_version().decode().split(".")[:2])
        except (OSError, AttributeError, ValueError):
            continue  # of another architecture, or another library of that name
        if version >= _OLDEST:
            return library
    return None


def _candidates() -> Iterator[str]:
    pillow = Path(PIL.__file__).parent
    for folder in (pillow.parent / "pillow.libs", pillow / ".dylibs", Path(sys.prefix) / "lib"):
        yield from sorted(str(path) for path in folder.glob("libopenjp2*"))
    found = ctypes.util.find_library("openjp2")
    if found:
        yield found


class _Decoder:
    """One decoding; what the library calls back must outlive it."""

    def __init__(self, library: ctypes.CDLL, data: bytes) -> None:
        self._library = library
        self._data = data
        self._start = ctypes.cast(ctypes.c_char_p(data), _P).value or 0
        self._position = 0
        self._messages: list[str] = []
        self._callbacks = _READ(self._read), _SKIP(self._skip), _SEEK(self._seek), _MESSAGE(self._listen)

    def decode(self, codestream: Codestream, level: int, box: Area | None, dtype: np.dtype[Any]) -> NDArray[Any]:
        library = self._library
        read, skip, seek, listen = self._callbacks
        with ExitStack() as stack:
            codec = library.opj_create_decompress(_CODESTREAM)
            stack.callback(library.opj_destroy_codec, codec)
            library.opj_set_error_handler(codec, listen, None)
            library.opj_set_warning_handler(codec, listen, None)
            parameters = ctypes.create_string_buffer(_PARAMETERS_BYTES)
            library.opj_set_default_decoder_parameters(parameters)
            ctypes.c_uint32.from_buffer(parameters).value = level  # cp_reduce, the first of them
            self._check(library.opj_setup_decoder(codec, parameters))
            stream = library.opj_stream_create(_CHUNK, 1)
            stack.callback(library.opj_stream_destroy, stream)
            library.opj_stream_set_read_function(stream, read)
            library.opj_stream_set_skip_function(stream, skip)
            library.opj_stream_set_seek_function(stream, seek)
            library.opj_stream_set_user_data_length(stream, len(self._data))
            image = _IMAGE()
            self._check(library.opj_read_header(stream, codec, ctypes.byref(image)))
            stack.callback(library.opj_image_destroy, image)
            # The whole image is said as well: otherwise its size at a level is rounded as Pillow does it.
            area = _on_reference_grid(box, codestream, level) if box else (0, 0, 0, 0)
            self._check(library.opj_set_decode_area(codec, image, *area))
            self._messages.clear()  # Of markers that it does not know, and steps over.
            self._check(library.opj_decode(codec, stream, image))
            self._check(not self._messages)  # Code blocks that make no sense are left empty, with a warning alone.
            component = image.contents.comps[0]
            if not component.data:
                raise CorruptPixels("OpenJPEG: no samples")
            # The least significant bits, which for a negative number are its complement of two.
            return np.ctypeslib.as_array(component.data, (component.h, component.w)).astype(dtype)

    def _check(self, done: int) -> None:
        """Raises what the library said, its first message naming the cause."""
        if done:
            return
        said = "; ".join(self._messages) or "no reason"
        if "memory" in said.lower() or "exceeds system limits" in said:
            raise MemoryError(said)
        raise CorruptPixels(f"OpenJPEG: {said} (damaged, or memory ran out)")

    def _read(self, target: int, count: int, _: object) -> int:
        count = min(count, len(self._data) - self._position)
        if count <= 0:
            return _END
        ctypes.memmove(target, self._start + self._position, count)
        self._position += count
        return count

    def _skip(self, count: int, _: object) -> int:
        count = min(count, len(self._data) - self._position)
        self._position += count
        return count

    def _seek(self, position: int, _: object) -> int:
        self._position = min(position, len(self._data))
        return int(position <= len(self._data))

    def _listen(self, message: bytes, _: object) -> None:
        self._messages.append(message.decode(errors="replace").strip(" .\n"))


def _on_reference_grid(box: Area, codestream: Codestream, level: int) -> Area:
    """The area whose samples at `level` are those of `box`, ISO/IEC 15444-1 (B-15)."""
    (top, left), step = codestream.origin, 1 << level
    first_x, first_y = -(-left // step), -(-top // step)
    x0, y0, x1, y1 = box
    return (
        max((first_x + x0) * step, left),
        max((first_y + y0) * step, top),
        min((first_x + x1) * step, left + codestream.columns),
        min((first_y + y1) * step, top + codestream.rows),
    )


class _PillowFile(ImageFile.ImageFile):
    """A codestream that Pillow decodes at a level, with the size of ISO/IEC 15444-1 (B-15).

    Pillow's own class rounds where the standard takes the ceiling, and then fails on odd sizes.
    """

    format = "JPEG2000"

    def __init__(self, codestream: bytes, size: tuple[int, int], mode: str, level: int) -> None:
        self._plan = size, mode, ("j2k", level, 0, -1, len(codestream))
        super().__init__(io.BytesIO(codestream))

    def _open(self) -> None:
        (rows, columns), self._mode, arguments = self._plan
        self._size = (columns, rows)
        self.tile = [ImageFile._Tile("jpeg2k", (0, 0, columns, rows), 0, arguments)]


def _decode_with_pillow(data: bytes, codestream: Codestream, level: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    mode = "L" if dtype.itemsize == 1 else "I;16"
    samples: NDArray[Any] = np.asarray(_PillowFile(data, codestream.size(level), mode, level))
    # Pillow moves samples to the high bits of 8 or 16, and signed ones up so that the least is 0.
    samples = samples >> (8 * dtype.itemsize - codestream.precision)
    return samples ^ dtype.type(1 << (codestream.precision - 1)) if codestream.signed else samples
