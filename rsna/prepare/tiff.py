"""Grey TIFF files of one strip: the horizontal difference of each row (predictor 2), compressed by Zstandard.

A subset of TIFF 6.0 with Adobe's supplement for compression 50000 that any reader with libtiff opens, Pillow too; read
here in half a millisecond, since the strip is decoded straight into the array. Two private tags hold checksums, of all
that stands before the strip and of the strip: Zstandard turns most flipped bits into other pixels without a word.
Measurements stand in docs/cache.md, why no library reads them in docs/decisions/tiff.md.
"""

import struct
import zlib
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""(H, W) pixels, black at 0."""

_LEVEL = 1
"""Zstandard's; higher ones are slower and, on differences of pixels, no smaller."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION = 256, 257, 258, 259, 262, 270
_OFFSET, _SAMPLES, _ROWS_PER_STRIP, _COUNT, _PREDICTOR = 273, 277, 278, 279, 317
_ZSTANDARD, _BLACK_IS_ZERO, _HORIZONTAL = 50000, 1, 2
_HEAD_CRC, _STRIP_CRC = 65000, 65001  # TIFF 6.0 leaves 65000 to 65535 to private use
_TAGS = {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION, _OFFSET, _SAMPLES, _ROWS_PER_STRIP, _COUNT,
         _PREDICTOR, _HEAD_CRC, _STRIP_CRC}  # fmt: skip
_ASCII, _SHORT, _LONG = 2, 3, 4
_ENTRY = struct.Struct("<HHII")
_HEAD = struct.Struct("<2sHIH")
_CRC_AT = _HEAD.size + _ENTRY.size * (len(_TAGS) - 1) - 4
"""Where the value of the first checksum stands, which is taken with 0 there: in the last entry but one."""


class TiffError(ValueError):
    """Not a file that `encode` wrote, or not all of it."""


def encode(pixels: Grey, description: str) -> bytes:
    """The file for (H, W) uint8 or uint16 ``pixels``, neither side 0, with an ASCII ``description`` in tag 270.

    The same input gives the same bytes.
    """
    import imagecodecs

    rows, columns = pixels.shape
    # Differences to the left neighbour are small nearly everywhere: at 8 bits a third less to store.
    differences = imagecodecs.delta_encode(np.ascontiguousarray(pixels), axis=-1)
    strip = imagecodecs.zstd_encode(differences.tobytes(), _LEVEL)
    text = description.encode("ascii") + b"\0"
    text += b"\0" * max(0, 5 - len(text))  # values of up to four bytes would stand in the entry itself
    entries = [
        (_WIDTH, _LONG, 1, columns),
        (_HEIGHT, _LONG, 1, rows),
        (_BITS, _SHORT, 1, 8 * pixels.itemsize),
        (_COMPRESSION, _SHORT, 1, _ZSTANDARD),
        (_PHOTOMETRIC, _SHORT, 1, _BLACK_IS_ZERO),
        (_DESCRIPTION, _ASCII, len(text), 0),
        (_OFFSET, _LONG, 1, 0),
        (_SAMPLES, _SHORT, 1, 1),
        (_ROWS_PER_STRIP, _LONG, 1, rows),
        (_COUNT, _LONG, 1, len(strip)),
        (_PREDICTOR, _SHORT, 1, _HORIZONTAL),
        (_HEAD_CRC, _LONG, 1, 0),
        (_STRIP_CRC, _LONG, 1, zlib.crc32(strip)),
    ]
    text_at = _HEAD.size + _ENTRY.size * len(entries) + 4
    places = {_DESCRIPTION: text_at, _OFFSET: text_at + len(text)}
    directory = b"".join(_ENTRY.pack(tag, kind, n, places.get(tag, value)) for tag, kind, n, value in entries)
    head = _HEAD.pack(b"II", 42, 8, len(entries)) + directory + b"\0\0\0\0" + text
    return head[:_CRC_AT] + struct.pack("<I", zlib.crc32(head)) + head[_CRC_AT + 4 :] + strip


def decode(content: bytes) -> Grey:
    """(H, W) uint8 or uint16, a fresh array.

    Raises:
        TiffError: The content is not whole, or another program's.
    """
    import imagecodecs

    tags = _directory(content)
    _check_head(content, tags)
    (_, start), (_, length), (_, bits) = tags[_OFFSET], tags[_COUNT], tags[_BITS]
    strip = content[start:]
    if len(strip) < length:
        raise TiffError("its end is missing")
    if zlib.crc32(strip) != tags[_STRIP_CRC][1]:
        raise TiffError("its pixels are damaged (they do not match their checksum)")
    dtype: Any = np.uint8 if bits == 8 else np.uint16
    try:
        pixels: Grey = np.empty((tags[_HEIGHT][1], tags[_WIDTH][1]), dtype)  # a damaged size may be beyond all memory
        decoded = imagecodecs.zstd_decode(strip, out=pixels.data.cast("B"))
    except (imagecodecs.ZstdError, ValueError, TypeError, MemoryError) as error:
        raise TiffError(f"its pixels are damaged ({error})") from error
    if len(decoded) != pixels.nbytes:
        raise TiffError("its pixels are damaged (too few)")
    imagecodecs.delta_decode(pixels, axis=-1, out=pixels)
    return pixels


def description(content: bytes) -> str:
    """Tag 270, of a file's bytes or of all that stand before the pixels. Raises what :func:`decode` does."""
    return _text(content, _directory(content))


def read_description(file: BinaryIO) -> str:
    """Tag 270 of an open file; the pixels are not read. Raises what :func:`decode` does."""
    content = file.read(4096)  # directory and text stand at the front
    tags = _directory(content)
    length, start = tags[_DESCRIPTION]
    if len(content) < start + length:
        content += file.read(start + length - len(content))
    return _text(content, tags)


def _text(content: bytes, tags: dict[int, tuple[int, int]]) -> str:
    _check_head(content, tags)
    length, start = tags[_DESCRIPTION]
    return content[start : start + length].rstrip(b"\0").decode("ascii")


def _check_head(content: bytes, tags: dict[int, tuple[int, int]]) -> None:
    head = content[: tags[_OFFSET][1]]
    if zlib.crc32(head[:_CRC_AT] + bytes(4) + head[_CRC_AT + 4 :]) != tags[_HEAD_CRC][1]:
        raise TiffError("its header is damaged (it does not match its checksum)")


def _directory(content: bytes) -> dict[int, tuple[int, int]]:
    """Tag → how many values it has, and the value or where it stands."""
    foreign = TiffError("it was written by another program")
    try:
        if _HEAD.unpack_from(content) != (b"II", 42, 8, len(_TAGS)):
            raise foreign
        entries = [_ENTRY.unpack_from(content, _HEAD.size + _ENTRY.size * i) for i in range(len(_TAGS))]
    except struct.error:
        raise TiffError("its end is missing") from None
    tags = {tag: (count, value) for tag, _, count, value in entries}
    ours = {_COMPRESSION: (1, _ZSTANDARD), _PREDICTOR: (1, _HORIZONTAL), _SAMPLES: (1, 1)}
    if not (tags.keys() == _TAGS and ours.items() <= tags.items() and tags[_BITS][1] in (8, 16)):
        raise foreign
    return tags
