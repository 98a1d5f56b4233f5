"""The markers before the first scan of JPEG (ISO/IEC 10918-1 annex B) and JPEG-LS (ISO/IEC 14495-1 annex C)."""

from __future__ import annotations

import struct

from rsna.dicom.codestream import END_MARKER, TAIL, Codestream, Kind
from rsna.dicom.errors import CorruptPixels, Truncated, UnsupportedSyntax

# Start-of-frame markers, table B.1; the others code nothing that DICOM allows.
_FRAMES: dict[int, Kind] = {0xC0: "jpeg", 0xC1: "jpeg", 0xC3: "jpeg_lossless", 0xF7: "jpeg_ls"}
_UNSUPPORTED_FRAMES = frozenset({0xC2, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_SOS = 0xDA
_MARKERS_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


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
        if marker in _MARKERS_WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", frame, position)
        if marker in _UNSUPPORTED_FRAMES:
            raise UnsupportedSyntax(f"JPEG process {marker:02X} (progressive, hierarchical or arithmetic coding)")
        if length < 2 or marker == 0xD9 or (kind is not None and marker in _FRAMES):
            raise CorruptPixels(f"JPEG header: marker {marker:02X} of length {length} before any scan")
        if marker in _FRAMES:
            kind = _FRAMES[marker]
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
    lossy = kind == "jpeg" or (kind == "jpeg_ls" and near > 0)
    return Codestream(kind, rows, columns, components, precision, lossy=lossy)
