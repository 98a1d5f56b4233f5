"""Stored values → display values in [0, 1], by one table (PS3.3 C.7.6.3, C.11.1, C.11.2, C.11.6).

A stored value has at most 16 bits, so the whole grayscale pipeline is a table of at most 65,536 entries: computed in
float64, applied once to the pixels that are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from rsna.dicom.errors import CorruptHeader, NoSuchWindow
from rsna.dicom.tags import Tags, values_of

# Windows and rescaling of 16-bit values lie far below; above, float arithmetic overflows.
_ABSURD = 1e12

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True)
class Window:
    """(0028,1050) Window Center and (0028,1051) Window Width, in modality units."""

    center: float
    width: float
    explanation: str = ""
    """(0028,1055)"""


@dataclass(frozen=True, eq=False)
class Lut:
    """A look-up table of (0028,3000) Modality LUT Sequence or (0028,3010) VOI LUT Sequence."""

    first: int
    """The input that maps to the first entry; smaller inputs do too, inputs past the end map to the last."""
    bits: int
    """Bits an entry: the output lies in 0 … 2**bits - 1."""
    entries: NDArray[np.float64]
    """(N,)"""
    explanation: str = ""
    """(0028,3003)"""

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look up each value. Shape and meaning of the values: (N,), modality units or stored values."""
        index = np.clip(np.floor(values) - self.first, 0, self.entries.size - 1).astype(np.int64)
        output: NDArray[np.float64] = self.entries[index]
        return output


@dataclass(frozen=True)
class Grayscale:
    """What the header says about turning stored values into display values."""

    stored_range: tuple[int, int]
    slope: float = 1.0
    """(0028,1053)"""
    intercept: float = 0.0
    """(0028,1052)"""
    modality_lut: Lut | None = None
    function: Function = "LINEAR"
    """(0028,1056) VOI LUT Function"""
    windows: tuple[Window, ...] = ()
    luts: tuple[Lut, ...] = ()
    """(0028,3010); they are preferred to windows"""
    padding: tuple[int, int] | None = None
    """Least and greatest stored value that is padding, (0028,0120) and (0028,0121)"""
    inverted: bool = False
    """Small values are bright: MONOCHROME1, or (2050,0020) Presentation LUT Shape INVERSE"""

    def table(self, window: int | str | None, dtype: np.dtype[Any]) -> NDArray[np.float32]:
        """The display value of every number that `dtype` can hold, in the order of its bits read as unsigned.

        Args:
            window: index or explanation of a window or VOI LUT, None for the full stored range.
            dtype: of the stored values: uint8, uint16, int8 or int16.

        Returns:
            (256,) or (65536,) float32 in [0, 1], MONOCHROME2 sense; padding is not masked.

        Raises:
            NoSuchWindow: no such index or explanation, or a window of no width.
        """
        display = self._voi(self._modality(_every(dtype).astype(np.float64)), window)
        if self.inverted:
            display = 1.0 - display
        return display.astype(np.float32)

    def padding_table(self, dtype: np.dtype[Any], tolerance: int) -> NDArray[np.bool_] | None:
        """Which numbers of `dtype` are padding, in the same order; None where the file has no padding value."""
        if self.padding is None:
            return None
        stored = _every(dtype).astype(np.int64)
        least, greatest = self.padding
        return (stored >= least - tolerance) & (stored <= greatest + tolerance)

    def _modality(self, stored: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.modality_lut is not None:
            return self.modality_lut.apply(stored)
        return stored * self.slope + self.intercept

    def _voi(self, values: NDArray[np.float64], window: int | str | None) -> NDArray[np.float64]:
        choice = self._choose(window)
        if choice is None:
            if self.modality_lut is not None:
                low, high = 0.0, float((1 << self.modality_lut.bits) - 1)
            else:
                low, high = sorted(end * self.slope + self.intercept for end in self.stored_range)
            return np.clip((values - low) / (high - low), 0.0, 1.0)
        if isinstance(choice, Lut):
            return choice.apply(values) / ((1 << choice.bits) - 1)
        return _apply_window(values, choice, self.function)

    def _choose(self, window: int | str | None) -> Window | Lut | None:
        choices: tuple[Window | Lut, ...] = self.luts or self.windows
        if window is None or (window == 0 and not choices):
            return None
        if isinstance(window, str):
            choices = (*self.luts, *self.windows)
            for choice in choices:
                if choice.explanation.casefold() == window.strip().casefold():
                    return choice
            names = ", ".join(repr(choice.explanation) for choice in choices) or "none"
            raise NoSuchWindow(f"no window is explained as {window!r}, the file has: {names}")
        if not 0 <= window < len(choices):
            raise NoSuchWindow(f"no window {window}, the file has {len(choices)}, counted from 0")
        return choices[window]


def _every(dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}").view(dtype)


def _apply_window(values: NDArray[np.float64], window: Window, function: Function) -> NDArray[np.float64]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, scaled to [0, 1]."""
    center, width = window.center, window.width
    if not (width >= 1 if function == "LINEAR" else width > 0):
        raise NoSuchWindow(f"(0028,1051) Window Width {width:g} is too small for VOI LUT Function {function}")
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return 1.0 / (1.0 + np.exp(-4.0 * (values - center) / width))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    if width == 0.0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def read_grayscale(dataset: Dataset, tags: Tags, big_endian: bool) -> Grayscale:
    """Take the grayscale pipeline out of a header.

    Raises:
        CorruptHeader: a look-up table or a function that the standard does not know.
    """
    function = str((values_of(dataset, "VOILUTFunction") or ["LINEAR"])[0]).strip().upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise CorruptHeader(f"(0028,1056) VOI LUT Function is {function!r}")
    shape = [str(value).strip().upper() for value in values_of(dataset, "PresentationLUTShape")]
    modality = _read_luts(dataset, "ModalityLUTSequence", tags, big_endian)
    slope, intercept = (values_of(dataset, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    rescaled = bool(slope) and bool(intercept)
    return Grayscale(
        stored_range=tags.stored_range,
        slope=_finite(slope[0], "(0028,1053) Rescale Slope") if rescaled else 1.0,
        intercept=_finite(intercept[0], "(0028,1052) Rescale Intercept") if rescaled else 0.0,
        modality_lut=modality[0] if modality else None,
        function=function,  # type: ignore[arg-type]
        windows=_read_windows(dataset),
        luts=_read_luts(dataset, "VOILUTSequence", tags, big_endian),
        padding=_read_padding(dataset, tags),
        inverted=tags.photometric == "MONOCHROME1" or "INVERSE" in shape,
    )


def _finite(value: object, name: str) -> float:
    number = float(str(value))
    if not abs(number) < _ABSURD or (number == 0.0 and "Slope" in name):
        raise CorruptHeader(f"{name} is {number}")
    return number


def _read_windows(dataset: Dataset) -> tuple[Window, ...]:
    centers, widths = values_of(dataset, "WindowCenter"), values_of(dataset, "WindowWidth")
    names = [str(name) for name in values_of(dataset, "WindowCenterWidthExplanation")]
    names += [""] * len(centers)
    return tuple(
        Window(_finite(center, "(0028,1050) Window Center"), _finite(width, "(0028,1051) Window Width"), name.strip())
        for center, width, name in zip(centers, widths, names, strict=False)
    )


def _read_luts(dataset: Dataset, keyword: str, tags: Tags, big_endian: bool) -> tuple[Lut, ...]:
    return tuple(_read_lut(item, keyword, tags, big_endian) for item in dataset.get(keyword) or ())


def _read_lut(item: Dataset, keyword: str, tags: Tags, big_endian: bool) -> Lut:
    """PS3.3 C.11.1.1.1 and C.11.2.1.1."""
    descriptor = [int(value) for value in values_of(item, "LUTDescriptor")]
    data = item.get("LUTData")
    if len(descriptor) != 3 or data is None or not 8 <= descriptor[2] <= 16:
        raise CorruptHeader(f"{keyword}: (0028,3002) LUT Descriptor is {descriptor}")
    count, first, bits = descriptor
    count = count or 1 << 16
    if isinstance(data, bytes):
        entries = np.frombuffer(data, "u1" if bits == 8 and len(data) <= count + 1 else ">u2" if big_endian else "<u2")
    else:
        entries = np.asarray(data, dtype=np.int64).reshape(-1)
    if entries.size < count:
        raise CorruptHeader(f"{keyword}: (0028,3006) LUT Data has {entries.size} of {count} entries")
    explanation = str((values_of(item, "LUTExplanation") or [""])[0]).strip()
    if first > 32767 and tags.signed:
        first -= 1 << 16
    entries = np.minimum(entries[:count].astype(np.float64), (1 << bits) - 1)
    return Lut(first, bits, entries, explanation)


def _read_padding(dataset: Dataset, tags: Tags) -> tuple[int, int] | None:
    """PS3.3 C.7.5.1.1.2; the values are often written with the wrong sign."""
    value = values_of(dataset, "PixelPaddingValue")
    if not value:
        return None
    limit = values_of(dataset, "PixelPaddingRangeLimit") or value
    ends = [_as_stored(int(end), tags) for end in (value[0], limit[0])]
    return min(ends), max(ends)


def _as_stored(value: int, tags: Tags) -> int:
    value &= 0xFFFF
    return value - (1 << 16) if tags.signed and value >= 1 << 15 else value
