"""PGM, grey pixels as they are behind a few words (netpbm.sourceforge.net/doc/pgm.html): as old film sets have them.

Nothing in the format tells a damaged file but its length and its greatest value, so both must fit to the byte: a
shifted raster is a picture, too, and a wrong one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsna.codecs.errors import CorruptPixels

MAGIC = re.compile(rb"P[1-7]\s")
"""How any file of this family starts: bits, grey and colour, as text and as bytes."""

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P5" + 3 * (_GAP + rb"(\d{1,9})") + rb"(?=\s)")
_HEADER_WITHIN = 4096
"""Bytes that a header and its comments may have."""
_MOST_VALUE = 65_535


@dataclass(frozen=True)
class Pgm:
    """What a file says of itself."""

    rows: int
    columns: int
    maximum: int
    """The greatest value that a sample may have, which is white: above 255, samples have two bytes."""
    start: int
    """Offset of the first sample."""


def parse_pgm(content: bytes) -> Pgm:
    """Reads the header of a whole file, and holds its length against it.

    Raises:
        CorruptPixels: Not binary grey (P5), or more or fewer bytes than its header asks for.
    """
    if content[:2] != b"P5":
        kind = content[:2].decode("latin-1")
        raise CorruptPixels(f"{kind} of the PGM family, where only binary grey (P5) is read")
    header = _HEADER.match(content[:_HEADER_WITHIN])
    if header is None:
        raise CorruptPixels("PGM: no width, height and greatest value stand behind P5")
    columns, rows, maximum = (int(word) for word in header.groups())
    if not (rows and columns and 0 < maximum <= _MOST_VALUE):
        raise CorruptPixels(f"PGM: {rows}×{columns} pixels of at most {maximum:,} are none")
    size = rows * columns * (1 if maximum < 256 else 2)
    # One blank ends the header; some write it as a line end of two bytes, and some end the file with one more.
    after = content[header.end() : header.end() + 2]
    more = b"" if after[1:].isspace() else b"\n"  # where the first sample looks like a blank, that has two readings
    for blank, end in ((b"\r\n", b""), (after[:1], b""), (after[:1], more)):
        start = header.end() + len(blank)
        if after.startswith(blank) and len(content) - start == size + len(end) and content.endswith(end):
            return Pgm(rows, columns, maximum, start)
    found = len(content) - header.end() - 1
    what = "truncated" if found < size else "bytes too many, as where line ends were converted"
    raise CorruptPixels(f"PGM: {what}: {found:,} bytes of samples, not {size:,} ({rows}×{columns})")


def decode_pgm(content: bytes, header: Pgm) -> NDArray[Any]:
    """(rows, columns) uint8 or uint16.

    Raises:
        CorruptPixels: A sample is greater than the greatest value that the header allows.
    """
    dtype = np.dtype(np.uint8 if header.maximum < 256 else ">u2")
    samples = np.frombuffer(content, dtype, header.rows * header.columns, header.start)
    pixels = samples.reshape(header.rows, header.columns).astype(dtype.newbyteorder("="))
    if (greatest := int(pixels.max())) > header.maximum:
        hint = "; its two bytes may stand in the wrong order" if dtype.itemsize == 2 else ""
        raise CorruptPixels(f"PGM: a sample is {greatest:,}, and the header allows {header.maximum:,}{hint}")
    return pixels
