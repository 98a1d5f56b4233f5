"""Words on pixels, and pixels as PNG files."""

import unicodedata
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from rsna.files import write_atomic
from rsna.pictures.style import INK, PAPER, rgb

Pixels = npt.NDArray[np.uint8]
"""(h, w, 3) red, green, blue."""

_FOR = str.maketrans(
    {"×": "x", "–": "-", "—": "-", "→": ">", "“": '"', "”": '"', "‘": "'", "’": "'", "≥": ">=", "ß": "ss"}
)
"""What the font lacks, and stands for it."""

_THERE = set(map(chr, range(32, 127))) | set("·…°±")


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own typeface, the only one that is there wherever this is installed."""
    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, and cannot write words; pip install pillow")
    return found


def writable(text: str) -> str:
    """``text`` in letters that the font has: ü becomes u, and what has no likeness a question mark."""
    plain = " ".join(text.translate(_FOR).split())
    parts = (letter if letter in _THERE else unicodedata.normalize("NFKD", letter) for letter in plain)
    letters = (letter for letter in "".join(parts) if not unicodedata.combining(letter))
    return "".join(letter if letter in _THERE else "?" for letter in letters)


def width_of(text: str, size: int) -> int:
    """Pixels across."""
    return int(np.ceil(font(size).getlength(writable(text))))


def fitted(text: str, width: int, size: int) -> str:
    """``text`` as it is where it fits in ``width`` pixels, else without what stands in its middle."""
    text = writable(text)
    if width_of(text, size) <= width:
        return text

    def shorter(kept: int) -> str:
        return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"

    least, most = 0, len(text) - 1
    while least < most:  # notes may be long
        kept = (least + most + 1) // 2
        least, most = (kept, most) if width_of(shorter(kept), size) <= width else (least, kept - 1)
    return shorter(least)


def wrapped(text: str, width: int, size: int, most: int) -> list[str]:
    """``text`` in lines of ``width`` pixels, ``most`` of them at most; what is left over ends in an ellipsis."""
    lines: list[str] = []
    words = writable(text).split()
    while words and len(lines) < most:
        count = 1
        while count < len(words) and width_of(" ".join(words[: count + 1]), size) <= width:
            count += 1
        if len(lines) + 1 == most:
            count = len(words)
        lines.append(fitted(" ".join(words[:count]), width, size))
        words = words[count:]
    return lines


def write(pixels: Pixels, text: str, x: float, y: float, size: int, colour: str = INK, anchor: str = "la") -> None:
    """Writes onto pixels.

    Args:
        x: Of the text's left edge, its middle or right edge, by the anchor's first letter: l, m, r.
        y: Of its upper edge, its middle or baseline, by the second: a, m, s.
    """
    picture = Image.fromarray(pixels)
    ImageDraw.Draw(picture).text((x, y), writable(text), fill=rgb(colour), font=font(size), anchor=anchor)
    pixels[:] = np.asarray(picture)


def blank(height: int, width: int, colour: str = PAPER) -> Pixels:
    """(height, width, 3) of one colour."""
    return np.full((height, width, 3), rgb(colour), np.uint8)


def as_colour(pixels: Pixels) -> Pixels:
    """(h, w) grey, or (h, w, 3) → (h, w, 3)."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def write_png(pixels: Pixels, file: Path) -> Path:
    """Writes (h, w) grey, or (h, w, 3) red, green, blue."""
    turned = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    encoded, content = cv2.imencode(".png", np.ascontiguousarray(turned))
    if not encoded:
        raise RuntimeError(f"{file}: OpenCV cannot encode a PNG of {pixels.shape}")
    write_atomic(file, content.tobytes())
    return file
