"""How many greys a window or a look-up table leaves, by the header alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rsna.dicom.elements import label
from rsna.dicom.grayscale import Grayscale, Window, apply_window
from rsna.dicom.luts import Lut

_FEWEST = 32
"""Of 256 greys; windows of mammograms reach all of them."""
_NARROWEST = 16
"""A window over one of so many of the values that can be stored is one for 8 bits on 12, or for other units."""
_TRUSTED = 1 << 14
"""Values: Bits Stored of 16 is said of 12 as well, so that what lies beside a window may be values that none has."""
_SIGMOID_REACH = 1.4
"""Widths from the centre to where it shows the first and the last of 256 greys: ln(255) / 4."""


def few_greys(grayscale: Grayscale) -> Iterator[str]:
    """What shows nearly all values that can be stored alike, and so may be in other units or bits than it says.

    It is applied as it stands: a threshold may be meant.
    """
    modality = grayscale.modality_lut
    count = grayscale.stored_range[1] - grayscale.stored_range[0] + 1
    low, high = grayscale.modality_range()
    if modality is not None:
        reached = _reached(modality, *grayscale.stored_range)
        low, high, count = reached.min(), reached.max(), reached.size
        yield from _beyond(modality, f"an item of {label('ModalityLUTSequence')}")
        if not grayscale.usable:
            yield from _of_lut(modality, f"an item of {label('ModalityLUTSequence')}", reached)
    for choice in grayscale.usable:
        if isinstance(choice, Lut):
            name = f"an item of {label('VOILUTSequence')}"
            yield from _beyond(choice, name)
            yield from _of_lut(choice, name, _reached(choice, low, high))
            first, last = float(choice.first), choice.first + choice.entries.size - 1.0
        else:
            name = choice.name
            first, last = _span(choice, grayscale)
        inside = max(0.0, min(high, last) - max(low, first)) / (high - low) * (count - 1)
        greys = 256.0
        if isinstance(choice, Window):
            black, white = apply_window(np.array([low, high]), choice, grayscale.function)
            greys = min(1 + 255 * abs(white - black), inside + 2)
        if greys < min(_FEWEST, count):
            yield f"{name} shows '{greys:.0f}' of 256 greys"
        elif _NARROWEST * inside <= count and (count <= _TRUSTED or grayscale.slope != 1):
            yield f"{name} covers '{inside:.0f}' of the '{count}' values that can be stored"


def _span(window: Window, grayscale: Grayscale) -> tuple[float, float]:
    """From where it is black to where it is white."""
    if grayscale.function == "LINEAR":  # PS3.3 C.11.2.1.2.1
        return window.center - window.width / 2, window.center + window.width / 2 - 1
    reach = window.width * (_SIGMOID_REACH if grayscale.function == "SIGMOID" else 0.5)
    return window.center - reach, window.center + reach


def _reached(lut: Lut, low: float, high: float) -> NDArray[np.float64]:
    first, last = np.clip(np.floor([low, high]) - lut.first, 0, lut.entries.size - 1).astype(int)
    return lut.entries[first : last + 1]


def _beyond(lut: Lut, name: str) -> Iterator[str]:
    if lut.beyond:
        says = f"(0028,3002) LUT Descriptor says '{lut.bits}' bits"
        yield f"{name} has '{lut.beyond}' of '{lut.entries.size}' entries beyond white: {says}"


def _of_lut(lut: Lut, name: str, reached: NDArray[np.float64]) -> Iterator[str]:
    """PS3.3 C.11.2.1.1: entries have as many bits as the descriptor's third value says, where some writers put 16."""
    brightest, white = reached.max(), (1 << lut.bits) - 1
    greys = np.count_nonzero(np.bincount((reached * (255 / white) + 0.5).astype(np.uint8)))
    if 2 * brightest < white:
        says = f"(0028,3002) LUT Descriptor says '{lut.bits}' bits, its entries have '{int(brightest).bit_length()}'"
        yield f"{name} shows nothing brighter than '{100 * brightest / white:.0f}' % of white: {says}"
    elif greys < min(_FEWEST, reached.size):
        yield f"{name} shows '{greys}' of 256 greys"
