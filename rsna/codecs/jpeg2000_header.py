"""The markers of JPEG 2000 (ISO/IEC 15444-1 annex A) that say what decoding it takes, and whether it is complete."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass

from rsna.codecs.codestream import END_MARKER, TAIL, Codestream
from rsna.codecs.errors import CorruptPixels, Truncated, UnsupportedSyntax

# Table A.2.
_CAP, _COD, _COC, _SOT, _SOD = 0xFF50, 0xFF52, 0xFF53, 0xFF90, 0xFF93
# Rsiz bit 14: the codestream needs the capabilities of Part 15 (HTJ2K), ISO/IEC 15444-15.
_HT_CAPABILITY = 0x4000
# Rsiz bit 15: it needs the extensions of Part 2 (ISO/IEC 15444-2), of which OpenJPEG knows few.
_EXTENDED = 0x8000
# Of the code block style, the same Part's addition to table A.19.
_HT_BLOCKS = 0x40
_MOST_PRECINCTS = 1 << 16
_MOST_BLOCKS = 1 << 19
"""Decoders spend 2 KB on a precinct and 350 bytes on a code block, used or not. 8192 × 8192 pixels in the usual blocks
of 64 × 64 have 16,000."""


@dataclass(frozen=True)
class _CodingStyle:
    """The COD marker, A.6.1."""

    levels: int
    block: tuple[int, int]
    """log2 of (rows, columns) of a code block"""
    high_throughput: bool
    """Whether code blocks are coded as Part 15 says."""
    lossy: bool
    precincts: tuple[tuple[int, int], ...]
    """log2 of (rows, columns) of a precinct, from the smallest resolution to full size"""


def parse_jpeg2000(frame: bytes, start: int) -> Codestream:
    """Describe a codestream that starts at byte `start`.

    Raises:
        Truncated, CorruptPixels, UnsupportedSyntax
        struct.error: the header ends too early.
    """
    capability, x1, y1, x0, y0, *tile = struct.unpack_from(">H8I", frame, start + 6)
    components, depth, x_step, y_step = struct.unpack_from(">HBBB", frame, start + 40)
    if not (x0 < x1 and y0 < y1) or (x_step, y_step) != (1, 1):
        raise CorruptPixels(f"SIZ marker: image from ({x0}, {y0}) to ({x1}, {y1}), step ({x_step}, {y_step})")
    if capability & _EXTENDED:
        raise UnsupportedSyntax("JPEG 2000 with the extensions of its Part 2")
    style, position = _read_main_header(frame, start + 2)
    codestream = Codestream(
        kind="htj2k" if capability & _HT_CAPABILITY or style.high_throughput else "jpeg2000",
        rows=y1 - y0,
        columns=x1 - x0,
        components=components,
        precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        error=None if style.lossy else 0,
        levels=style.levels,
        start=start,
        origin=(y0, x0),
    )
    _check_partition(codestream, style)
    tile_width, tile_height, tile_x, tile_y = tile
    if not (tile_width and tile_height and tile_x <= x0 and tile_y <= y0):
        raise CorruptPixels(f"SIZ marker: tiles of {tile_height}×{tile_width} from ({tile_x}, {tile_y})")
    _check_tiles(frame, position, -(-(x1 - tile_x) // tile_width) * -(-(y1 - tile_y) // tile_height))
    return codestream


def _read_main_header(frame: bytes, position: int) -> tuple[_CodingStyle, int]:
    """The coding style, and where the first tile-part starts."""
    style = None
    while (marker := struct.unpack_from(">H", frame, position)[0]) != _SOT:
        (length,) = struct.unpack_from(">H", frame, position + 2)
        if marker < _CAP or length < 2:
            raise CorruptPixels(f"JPEG 2000 main header: marker {marker:04X} of length {length}")
        if marker == _COC:
            raise UnsupportedSyntax("JPEG 2000: a coding style for one component alone")
        if marker == _COD:
            style = _read_coding_style(frame[position + 4 : position + 2 + length])
        position += 2 + length
    if style is None:
        raise CorruptPixels("JPEG 2000 main header: the COD marker is missing")
    return style, position


def _read_coding_style(segment: bytes) -> _CodingStyle:
    flags, levels, width, height, blocks, wavelet = struct.unpack_from(">B4xBBBBB", segment)
    if levels > 32:  # Table A.15
        raise CorruptPixels(f"COD marker: {levels} decomposition levels")
    precincts = ((15, 15),) * (levels + 1)
    if flags & 1:
        if len(segment) < 10 + levels + 1:
            raise CorruptPixels("COD marker: precinct sizes are missing")
        precincts = tuple((size >> 4, size & 15) for size in segment[10 : 10 + levels + 1])
    # 0 is the 9/7 filter, 1 the reversible 5/3: table A.20.
    return _CodingStyle(
        levels, ((height & 15) + 2, (width & 15) + 2), bool(blocks & _HT_BLOCKS), wavelet == 0, precincts
    )


def _check_partition(codestream: Codestream, style: _CodingStyle) -> None:
    """Count precincts (B.6) and code blocks (B.7) before a decoder allocates them."""
    precincts = blocks = 0
    for resolution, sides in enumerate(style.precincts):
        size = codestream.size(style.levels - resolution)
        # Above the smallest resolution, three bands of half its size share its precincts.
        half = 1 if resolution else 0
        precinct = [-(-length // (1 << side)) for length, side in zip(size, sides, strict=True)]
        block = [
            -(-length // (1 << min(largest + half, side)))
            for length, side, largest in zip(size, sides, style.block, strict=True)
        ]
        precincts += precinct[0] * precinct[1]
        blocks += (3 if resolution else 1) * block[0] * block[1]
    if precincts > _MOST_PRECINCTS or blocks > _MOST_BLOCKS:
        raise CorruptPixels(f"COD marker: {precincts:,} precincts and {blocks:,} code blocks")


def _check_tiles(frame: bytes, position: int, tiles: int) -> None:
    """Follow the tile-parts to the end marker: decoders return a truncated image without a word."""
    parts: Counter[int] = Counter()
    promised: dict[int, int] = {}
    while frame[position : position + 2] != END_MARKER:
        marker, _, tile, length, _, count = struct.unpack_from(">HHHIBB", frame, position)
        if marker != _SOT or 0 < length < 14:
            raise CorruptPixels(f"JPEG 2000: {marker:04X} where a tile-part should start")
        if struct.unpack_from(">H", frame, position + 12)[0] in (_COD, _COC):
            raise UnsupportedSyntax("JPEG 2000: a coding style for one tile alone")
        parts[tile] += 1
        promised[tile] = count or promised.get(tile, 0)  # 0: not said in this part, A.4.2
        if length == 0:  # The last tile-part reaches to the end marker, wherever that is.
            if END_MARKER not in frame[-TAIL:]:
                raise Truncated("(7FE0,0010) Pixel Data: the JPEG 2000 end marker is missing")
            break
        position += length
        if position + 2 > len(frame):
            raise Truncated("(7FE0,0010) Pixel Data ends inside a JPEG 2000 tile")
    complete = sum(parts[tile] >= promised[tile] for tile in parts)
    if complete < tiles:
        raise Truncated(f"(7FE0,0010) Pixel Data holds {complete} of {tiles} JPEG 2000 tiles")
