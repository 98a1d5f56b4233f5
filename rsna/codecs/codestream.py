"""What a codestream says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["jpeg", "jpeg_lossless", "jpeg_ls", "jpeg2000", "htj2k"]

END_MARKER = b"\xff\xd9"
"""Of JPEG, JPEG-LS and JPEG 2000 alike. Coded data cannot contain it."""
TAIL = 4096
"""Where the end marker is looked for: bytes at the end."""


@dataclass(frozen=True)
class Codestream:
    """The size and the samples that a codestream promises."""

    kind: Kind
    rows: int
    """Pixels, full size."""
    columns: int
    """Pixels, full size."""
    components: int
    """Samples a pixel."""
    precision: int
    """Bits a sample, as coded."""
    signed: bool = False
    """Whether the samples are coded as signed numbers; only JPEG 2000 can say so."""
    error: int | None = 0
    """How far decoded values may lie from the ones that were coded; None where the codestream does not say."""
    levels: int = 0
    """How many times the image can be halved while decoding."""
    start: int = 0
    """Offset of the codestream in the frame's bytes: a JP2 header may stand before it."""
    rows_at: int = 0
    """Of JPEG: offset of the number of rows in its frame header."""
    scan: int = 0
    """Of JPEG: offset of the coded samples."""
    origin: tuple[int, int] = (0, 0)
    """(row, column) of the first pixel on the JPEG 2000 reference grid."""

    @property
    def lossy(self) -> bool:
        """Whether decoded values may lie a little beside, and beyond, the ones that were coded."""
        return self.error != 0

    def size(self, level: int) -> tuple[int, int]:
        """(rows, columns) after `level` halvings, ISO/IEC 15444-1 (B-15)."""
        step = 1 << level
        top, left = self.origin
        return (
            -(-(top + self.rows) // step) - -(-top // step),
            -(-(left + self.columns) // step) - -(-left // step),
        )
