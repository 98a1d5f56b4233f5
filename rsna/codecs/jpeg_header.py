"""The markers before the first scan of JPEG (ISO/IEC 10918-1 annex B) and JPEG-LS (ISO/IEC 14495-1 annex C)."""

from __future__ import annotations

import struct

from rsna.codecs.codestream import END_MARKER, TAIL, Codestream, Kind
from rsna.codecs.errors import CorruptPixels, Truncated, UnsupportedSyntax

# Start-of-frame markers, table B.1; the others code nothing that DICOM allows.
_FRAMES: dict[int, Kind] = {0xC0: "jpeg", 0xC1: "jpeg", 0xC3: "jpeg_lossless", 0xF7: "jpeg_ls"}
_UNSUPPORTED_FRAMES = frozenset({0xC2, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_SOS = 0xDA
_SEGMENTS = frozenset({0xC4, 0xDB, 0xDC, 0xDD, 0xF8, 0xFE, *range(0xE0, 0xF0), _SOS, *_FRAMES, *_UNSUPPORTED_FRAMES})
"""What may stand before a scan: tables, comments, applications' data. Decoders read others in their own way: FF00, for
libjpeg, is stuffing, so what stands in a segment of that name would be a header that nobody has looked at."""


def parse_jpeg(frame: bytes) -> Codestream:
    """Describe a JPEG or JPEG-LS codestream that starts at byte 0.

    Raises:
        Truncated, CorruptPixels, UnsupportedSyntax
        struct.error: the header ends too early.
    """
    kind: Kind | None = None
    position = 2
    while True:
        prefix, marker = struct.unpack_from(">BB", frame, position)
        if prefix != 0xFF:
            raise CorruptPixels(f"JPEG header: {prefix:02X} where a marker should stand")
        if marker == 0xFF:  # Fill byte, B.1.1.2
            position += 1
            continue
        position += 2
        if marker not in _SEGMENTS:
            raise CorruptPixels(f"JPEG header: marker {marker:02X} before any scan")
        (length,) = struct.unpack_from(">H", frame, position)
        if marker in _UNSUPPORTED_FRAMES:
            raise UnsupportedSyntax(f"JPEG process {marker:02X} (progressive, hierarchical or arithmetic coding)")
        if length < 2 or (kind is not None and marker in _FRAMES):
            raise CorruptPixels(f"JPEG header: marker {marker:02X} of length {length} before any scan")
        if marker in _FRAMES:
            kind = _FRAMES[marker]
            rows_at = position + 3
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, position + 2)
        if marker == _SOS:
            break
        position += length
    if kind is None:
        raise CorruptPixels("JPEG header: a scan before any frame")
    if END_MARKER not in frame[-TAIL:]:
        raise Truncated("(7FE0,0010) Pixel Data: the JPEG end marker is missing")
    # The allowed error of JPEG-LS follows the component selectors, C.2.3.
    (near,) = struct.unpack_from(">B", frame, position + 3 + 2 * frame[position + 2])
    error = {"jpeg": None, "jpeg_ls": near}.get(kind, 0)
    return Codestream(kind, rows, columns, components, precision, error=error, rows_at=rows_at, scan=position + length)
