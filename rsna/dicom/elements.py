"""The elements of a header as plain values: what cannot be read is missing, and what had to be interpreted is noted."""

from __future__ import annotations

import copy
import itertools
from typing import Any

from pydicom.datadict import dictionary_description, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from rsna.dicom.errors import CorruptHeader

OVERLAYS = range(0x6000, 0x6020, 2)
"""Groups of overlays (PS3.5 7.6)."""
# Windows, spacings and counts lie far below; above, float arithmetic overflows.
_ABSURD = 1e12


def label(keyword: str) -> str:
    """An element as errors and notes name it: "(0028,0010) Rows"."""
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {dictionary_description(tag)}"


def values_of(dataset: Dataset, keyword: str) -> list[Any]:
    """An element's values, text without blanks and NULs around it; empty where the element is missing or blank.

    A value that is not what its VR says is returned as the text it is: whoever needs it decides what it costs.
    """
    value = _convert(dataset, keyword)
    if isinstance(value, bytes):
        value = value.decode("latin-1").split("\\")
    values = list(value) if isinstance(value, MultiValue | Sequence | list | tuple) else [value]
    values = [value.strip("\0 ") if isinstance(value, str) else value for value in values]
    return values if any(value not in (None, "") for value in values) else []


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where the element is no sequence."""
    return [item for item in values_of(dataset, keyword) if isinstance(item, Dataset)]


def _convert(dataset: Dataset, keyword: str) -> Any:
    raw = dataset.get_item(tag_for_keyword(keyword) or 0)
    content = raw.value if isinstance(raw, RawDataElement) else None
    try:
        value = dataset.get(keyword)
    except (RecursionError, MemoryError):
        raise
    except Exception:
        try:  # without a character set, which may be what is wrong
            return convert_raw_data_element(raw, encoding="iso8859").value  # type: ignore[arg-type]
        except (RecursionError, MemoryError):
            raise
        except Exception:
            return content
    # Where bytes are none of the character set that the file names, every one of them would become the same U+FFFD:
    # as Latin-1, two patients stay two.
    return content if isinstance(value, str) and "\ufffd" in value and content is not None else value


def number(value: object) -> float | None:
    """A number as it is written somewhere: with a comma for the point, with blanks or NULs; None where it is none."""
    text = str(value).strip("\0 ")
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        result = float("nan" if "_" in text else text)
    except ValueError:
        return None
    return result if abs(result) < _ABSURD else None


class Elements:
    """A data set, and behind it the one frame's functional groups (PS3.3 C.7.6.16), where enhanced images keep
    window, rescaling, laterality and spacing; last, the file's meta information (PS3.10 7.1)."""

    def __init__(self, dataset: Dataset, meta: Dataset | None = None, notes: tuple[str, ...] = ()) -> None:
        self._places = [dataset]
        self._notes = [*notes]
        self._add_groups(dataset)
        if meta is not None:
            self._places.append(meta)

    def _add_groups(self, dataset: Dataset) -> None:
        if (number((values_of(dataset, "NumberOfFrames") or [1])[0]) or 1) > 1:
            return  # refused, and its groups may be hundreds
        for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
            for group in items_of(dataset, groups)[:1]:
                self._places.append(group)
                for tag in list(group.keys()):  # a data set iterates over elements, and converts them
                    self._places += items_of(group, keyword_for_tag(tag))[:1]

    def note(self, text: str) -> None:
        """Say how an element had to be interpreted; values stand in quotes, so that notes of a kind can be counted."""
        self._notes.append(text)

    def take_notes(self) -> tuple[str, ...]:
        """What was noted since the last call."""
        notes, self._notes = tuple(dict.fromkeys(self._notes)), []
        return notes

    def values(self, keyword: str) -> list[Any]:
        """The values of the first place that has the element."""
        return next((found for place in self._places if (found := values_of(place, keyword))), [])

    def beside(self, *keywords: str) -> Elements:
        """The same with the first place in front that has all of these: one alone belongs to none of elsewhere."""
        whole = (place for place in self._places if all(values_of(place, keyword) for keyword in keywords))
        other = copy.copy(self)
        other._places = [*itertools.islice(whole, 1), *self._places]
        return other

    def items(self, keyword: str) -> list[Dataset]:
        """The items of a sequence, likewise."""
        return next((found for place in self._places if (found := items_of(place, keyword))), [])

    def has_embedded_overlay(self) -> bool:
        """Whether an overlay stands in bits of the pixels, as (60xx,0102) Overlay Bit Position without (60xx,3000)
        Overlay Data says: retired, PS3.5 8.1.2."""
        place = self._places[0]
        return any((group, 0x0102) in place and (group, 0x3000) not in place for group in OVERLAYS)

    def text(self, keyword: str) -> str:
        """The first value, "" where there is none."""
        values = self.values(keyword)
        return str(values[0]) if values else ""

    def numbers(self, keyword: str) -> list[float | None]:
        """Every value as a number, None where it is none; commas are noted."""
        values = self.values(keyword)
        if any("," in str(value) and number(value) is not None for value in values):
            self.note(f"{label(keyword)} is {shown(values)}: the comma is read as a point")
        return [number(value) for value in values]

    def count(self, keyword: str, default: int | None = None) -> int:
        """A whole number that pixels need.

        Raises:
            CorruptHeader: it is missing and has no default, or is none.
        """
        values = self.values(keyword)
        if not values and default is not None:
            return default
        value = number(values[0]) if values else None
        if value is None or value != int(value):
            raise CorruptHeader(f"{label(keyword)} is {values[0] if values else 'missing'}")
        return int(value)


def shown(values: list[Any]) -> str:
    """Values as a note shows them: in quotes, on one line, and short."""
    text = "\\".join(str(value) for value in values).replace("'", "’")
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return f"'{text if len(text) <= 40 else text[:39] + '…'}'"
