"""Stored values → display values in [0, 1], by one table (PS3.3 C.7.6.3, C.11.1, C.11.2, C.11.6).

A stored value has at most 16 bits, so the whole grayscale pipeline is a table of at most 65,536 entries: computed in
float64, applied once to the pixels that are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from rsna.dicom.elements import Elements, label, shown
from rsna.dicom.errors import NoSuchWindow
from rsna.dicom.luts import Lut, read_luts
from rsna.dicom.tags import SHAPES, Tags

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True)
class Window:
    """(0028,1050) Window Center and (0028,1051) Window Width, in modality units."""

    center: float
    width: float
    explanation: str = ""
    """(0028,1055)"""
    unusable: str = ""
    """Why it cannot be applied, "" where it can."""

    @property
    def name(self) -> str:
        """What notes call it."""
        return f"(0028,1050) Window Center '{self.center:g}', (0028,1051) Window Width '{self.width:g}'"


Choice = Window | Lut
_Either = TypeVar("_Either", Window, Lut)


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
    dense: Literal["", "low", "high"] = ""
    """Which stored values dense tissue has, where the header says that and not how to show it: (0028,1041) Pixel
    Intensity Relationship Sign of an image FOR PROCESSING (PS3.3 C.8.11.3.1.2). It goes before `inverted`."""
    notes: tuple[str, ...] = ()
    """What cannot be applied, and what takes its place."""

    @property
    def usable(self) -> list[Choice]:
        """The VOI LUTs and windows that can be applied."""
        choices: tuple[Choice, ...] = (*self.luts, *self.windows)
        return [choice for choice in choices if not choice.unusable]

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What a window is chosen from, by index: the VOI LUTs where one of them can be applied, else the windows."""
        return self.luts if any(not lut.unusable for lut in self.luts) else self.windows

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
        inverted = self.inverted
        if self.dense:
            low, high = display[np.array(self.stored_range) & (display.size - 1)]
            inverted = (low < high) == (self.dense == "low")
        if inverted:
            display = 1.0 - display
        return display.astype(np.float32)

    def padding_distance(self, dtype: np.dtype[Any]) -> NDArray[np.uint16] | None:
        """(256,) or (65536,): how far each number of `dtype`, in the order of its bits, lies from the padding values;
        None where there are none."""
        if self.padding is None:
            return None
        stored = _every(dtype).astype(np.int64)
        least, greatest = self.padding
        return np.maximum(np.maximum(least - stored, stored - greatest), 0).clip(max=0xFFFF).astype(np.uint16)

    def modality_range(self) -> tuple[float, float]:
        """The least and the greatest value that windows apply to."""
        if self.modality_lut is not None:
            return 0.0, float((1 << self.modality_lut.bits) - 1)
        low, high = sorted(end * self.slope + self.intercept for end in self.stored_range)
        return low, high

    def _modality(self, stored: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.modality_lut is not None:
            return self.modality_lut.apply(stored)
        return stored * self.slope + self.intercept

    def _voi(self, values: NDArray[np.float64], window: int | str | None) -> NDArray[np.float64]:
        choice = self._choose(window)
        if choice is None:
            low, high = self.modality_range()
            return np.clip((values - low) / (high - low), 0.0, 1.0)
        if isinstance(choice, Lut):
            return choice.apply(values) / ((1 << choice.bits) - 1)
        return apply_window(values, choice, self.function)

    def _choose(self, window: int | str | None) -> Choice | None:
        if window is None:
            return None
        if window == 0:  # what is shown unless something else is asked for: the first that can be
            return next(iter(self.usable), None)
        if isinstance(window, str):
            choices: tuple[Choice, ...] = (*self.luts, *self.windows)
            asked = window.strip().casefold()
            named = [choice for choice in choices if asked and choice.explanation.casefold() == asked]
            if not named:
                names = ", ".join(repr(choice.explanation) for choice in choices) or "none"
                raise NoSuchWindow(f"no window is explained as {window!r}, the file has: {names}")
            chosen = next((choice for choice in named if not choice.unusable), named[0])
        elif 0 < window < len(self.choices):
            chosen = self.choices[window]
        else:
            raise NoSuchWindow(f"no window {window}, the file has {len(self.choices)}, counted from 0")
        if chosen.unusable:
            raise NoSuchWindow(f"window {window!r} cannot be applied: {chosen.unusable}")
        return chosen


def intersection(full: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """What lies in both ranges of values; ``full`` where nothing does."""
    least, greatest = max(full[0], wanted[0]), min(full[1], wanted[1])
    return (least, greatest) if least < greatest else full


def _every(dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}").view(dtype)


def apply_window(values: NDArray[np.float64], window: Window, function: Function) -> NDArray[np.float64]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3: values in modality units, of any shape → the same shape in [0, 1]."""
    center, width = window.center, window.width
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return 1.0 / (1.0 + np.exp(-4.0 * (values - center) / width))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    if width == 0.0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def read_grayscale(elements: Elements, tags: Tags, big_endian: bool) -> Grayscale:
    """Take the grayscale pipeline out of a header.

    Nothing here costs an image: what cannot be applied gives way to the next in the same header, at last to the full
    stored range, and is noted.
    """
    function = elements.text("VOILUTFunction").upper().replace(" ", "_") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        elements.note(f"(0028,1056) VOI LUT Function is {shown([function])}, read as LINEAR")
        function = "LINEAR"
    shape = elements.text("PresentationLUTShape").upper()
    inverted = tags.photometric == "MONOCHROME1" or shape == "INVERSE"
    if shape in SHAPES and SHAPES[shape] != tags.photometric:
        elements.note(
            f"(0028,0004) Photometric Interpretation is {tags.photometric}, (2050,0020) Presentation LUT Shape is "
            f"{shape}, which contradict each other: small values are shown bright"
        )
    modality = [
        _checked(lut, label("ModalityLUTSequence"), Grayscale(tags.stored_range), "")
        for lut in read_luts(elements, "ModalityLUTSequence", tags.stored_range, big_endian)
    ]
    modality_lut = next((lut for lut in modality if not lut.unusable), None)
    unknown_units = ""
    if modality and modality_lut is None:
        elements.note(f"{modality[0].unusable}: it is passed over")
        # An item without a table, as some writers leave one, says that there is none; and rescaling may stand for it.
        tables = [
            item for item in elements.items("ModalityLUTSequence") if "LUTDescriptor" in item or "LUTData" in item
        ]
        if tables and not elements.values("RescaleSlope"):
            unknown_units = "what it means depends on (0028,3000) Modality LUT Sequence"
    slope, intercept = _read_rescaling(elements)
    grayscale = Grayscale(
        stored_range=tags.stored_range,
        slope=slope,
        intercept=intercept,
        modality_lut=modality_lut,
        function=function,  # type: ignore[arg-type]
        padding=_read_padding(elements, tags),
        inverted=inverted,
    )
    windows = tuple(_checked(window, "", grayscale, unknown_units) for window in _read_windows(elements))
    luts = tuple(
        _checked(lut, label("VOILUTSequence"), grayscale, unknown_units)
        for lut in read_luts(elements, "VOILUTSequence", grayscale.modality_range(), big_endian)
    )
    grayscale = replace(grayscale, windows=windows, luts=luts)
    for why in [lut.unusable for lut in luts] + [window.unusable for window in windows]:
        if why:
            elements.note(f"{why}: it is passed over")
    if (luts or windows) and not grayscale.usable:
        elements.note("no window can be applied: the image is shown as one that has none")
    return replace(grayscale, dense=_read_sign(elements, tags, grayscale), notes=elements.take_notes())


def _read_sign(elements: Elements, tags: Tags, grayscale: Grayscale) -> Literal["", "low", "high"]:
    """Photometric Interpretation says how a presentation is meant. Raw data is none: machines write either."""
    if not tags.for_processing:
        return ""
    sign = (elements.numbers("PixelIntensityRelationshipSign") or [None])[0]
    if sign not in (1, -1):
        elements.note(
            f"the image is FOR PROCESSING without (0028,1041): {tags.photometric} tells whether air is bright"
        )
        return ""
    if (sign == 1) != grayscale.inverted:
        elements.note(f"the image is FOR PROCESSING, (0028,1041) {sign:g} against {tags.photometric}: dense is bright")
    return "low" if sign == 1 else "high"


def _read_rescaling(elements: Elements) -> tuple[float, float]:
    """(0028,1053) and (0028,1052), which only mean something together. In a mammogram they can only be 1 and 0
    (PS3.3 C.8.11.3), which is what an unreadable one is taken for."""
    elements = elements.beside("RescaleSlope", "RescaleIntercept")
    slope, intercept = ((elements.numbers(keyword) or [None])[0] for keyword in ("RescaleSlope", "RescaleIntercept"))
    if slope and intercept is not None and intercept + slope != intercept:
        return slope, intercept
    if said := {keyword: values for keyword in ("RescaleSlope", "RescaleIntercept")
                if (values := elements.values(keyword))}:  # fmt: skip
        what = ", ".join(f"{label(keyword)} is {shown(values)}" for keyword, values in said.items())
        elements.note(f"{what}: both are needed, as numbers, and a slope other than 0; values are not rescaled")
    return 1.0, 0.0


def _checked(choice: _Either, sequence: str, grayscale: Grayscale, unknown_units: str) -> _Either:
    """The same with the reason why it cannot be applied, where there is one: it would show all that the stored range
    can hold as one grey."""
    if choice.unusable:
        return choice
    ends = np.sort(grayscale.modality_range())
    if isinstance(choice, Lut):
        name = f"an item of {sequence}"
        first, last = np.clip(np.floor(ends) - choice.first, 0, choice.entries.size - 1).astype(int)
        flat = np.ptp(choice.entries[first : last + 1]) == 0
    else:
        name = choice.name
        if not (choice.width >= 1 if grayscale.function == "LINEAR" else choice.width > 0):
            return replace(choice, unusable=f"{name} is too narrow for VOI LUT Function {grayscale.function}")
        flat = np.ptp(apply_window(ends, choice, grayscale.function)) == 0
    if unknown_units:
        return replace(choice, unusable=f"{name}: {unknown_units}")
    return replace(choice, unusable=f"{name} shows every value alike") if flat else choice


def _read_windows(elements: Elements) -> Iterator[Window]:
    elements = elements.beside("WindowCenter", "WindowWidth")
    said = [elements.values(keyword) for keyword in ("WindowCenter", "WindowWidth")]
    centers, widths = (elements.numbers(keyword) for keyword in ("WindowCenter", "WindowWidth"))
    names = [str(name) for name in elements.values("WindowCenterWidthExplanation")]
    names += [""] * len(centers)
    for place in range(max(len(centers), len(widths))):
        name = names[place] if place < len(names) else ""
        pair = [values[place] if place < len(values) else None for values in (centers, widths)]
        if pair[0] is None or pair[1] is None:
            shown_pair = [shown(values[place : place + 1]) if place < len(values) else "missing" for values in said]
            why = f"(0028,1050) Window Center {shown_pair[0]}, (0028,1051) Window Width {shown_pair[1]} is no window"
            yield Window(0.0, 0.0, name, why)
        else:
            yield Window(pair[0], pair[1], name)


def _read_padding(elements: Elements, tags: Tags) -> tuple[int, int] | None:
    """PS3.3 C.7.5.1.1.2; the values are often written with the wrong sign."""
    ends: list[int] = []
    if not elements.values("PixelPaddingValue") and (values := elements.values("PixelPaddingRangeLimit")):
        elements.note(f"{label('PixelPaddingRangeLimit')} is {shown(values)}, without (0028,0120): it is passed over")
        return None
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if not (values := elements.values(keyword)):
            continue
        value = elements.numbers(keyword)[0]
        if value is None or value != int(value):
            elements.note(f"{label(keyword)} is {shown(values)}, which is no value of a pixel: it is passed over")
            if not ends:
                return None
        else:
            ends.append(_as_stored(int(value), tags))
    if not ends:
        return None
    padding, (low, high) = (min(ends), max(ends)), tags.stored_range
    if padding[1] < low or padding[0] > high:
        said = shown(elements.values("PixelPaddingValue"))
        elements.note(
            f"{label('PixelPaddingValue')} is {said}, beyond what can be stored: no pixel is taken for padding"
        )
    return padding


def _as_stored(value: int, tags: Tags) -> int:
    value &= 0xFFFF
    if not tags.signed:
        return value
    sign = 1 << (tags.bits_stored - 1)
    if value < 2 * sign:  # of the stored bits alone
        return (value ^ sign) - sign
    return value - (1 << 16) if value >= 1 << 15 else value
