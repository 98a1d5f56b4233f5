"""What the first bytes of a frame say it is."""

from __future__ import annotations

import struct

from rsna.codecs.codestream import Codestream
from rsna.codecs.errors import CorruptPixels, Truncated
from rsna.codecs.jpeg2000_header import parse_jpeg2000
from rsna.codecs.jpeg_header import parse_jpeg

_JPEG2000 = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  "
_JPEG = b"\xff\xd8\xff"


def signature(frame: bytes) -> bytes:
    """The known signature at a frame's start, b"" where there is none."""
    return next((known for known in (_JP2, _JPEG2000, _JPEG) if frame.startswith(known)), b"")


def parse_codestream(frame: bytes) -> Codestream | None:
    """Describe the codestream of one frame; None where no known signature stands at its start.

    Raises:
        Truncated: the codestream ends before its end marker.
        CorruptPixels: its markers contradict the standard.
        UnsupportedSyntax: progressive, hierarchical or arithmetic coding; tiles of their own style.
    """
    known = signature(frame)
    try:
        if known == _JP2:
            start = frame.find(_JPEG2000, 12, 1 << 16)
            if start < 0:
                raise CorruptPixels("a JP2 header without a codestream after it")
            return parse_jpeg2000(frame, start)
        if known == _JPEG2000:
            return parse_jpeg2000(frame, 0)
        if known == _JPEG:
            return parse_jpeg(frame)
    except struct.error:
        raise Truncated("(7FE0,0010) Pixel Data ends inside the codestream's header") from None
    return None
