"""Transfer syntaxes: how a data set and its pixels are written (PS3.5 A)."""

from __future__ import annotations

from rsna.codecs.codestream import Kind

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
GE_PRIVATE = "1.2.840.113619.5.2"
"""Implicit VR Little Endian but for its pixels, which are big-endian words. Older GE machines write it."""
NATIVE = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, GE_PRIVATE})
IN_FRAGMENT = "1.2.840.10008.1.2.1.98"
"""PS3.5 A.4.11: native pixels in one fragment."""
RLE = "1.2.840.10008.1.2.5"
CODESTREAMS: dict[str, Kind] = {
    "1.2.840.10008.1.2.4.50": "jpeg",
    "1.2.840.10008.1.2.4.51": "jpeg",
    "1.2.840.10008.1.2.4.57": "jpeg_lossless",
    "1.2.840.10008.1.2.4.70": "jpeg_lossless",
    "1.2.840.10008.1.2.4.80": "jpeg_ls",
    "1.2.840.10008.1.2.4.81": "jpeg_ls",
    "1.2.840.10008.1.2.4.90": "jpeg2000",
    "1.2.840.10008.1.2.4.91": "jpeg2000",
    "1.2.840.10008.1.2.4.201": "htj2k",
    "1.2.840.10008.1.2.4.202": "htj2k",
    "1.2.840.10008.1.2.4.203": "htj2k",
}
"""What each label of PS3.5 A.4 promises."""
COMPRESSED = frozenset({*CODESTREAMS, RLE, IN_FRAGMENT})
LOSSY = frozenset({"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"})
"""Labels under which JPEG 2000 may be cut off at a rate, whatever its filter."""
