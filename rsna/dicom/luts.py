"""Look-up tables of a header: (0028,3000) Modality LUT Sequence and (0028,3010) VOI LUT Sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from rsna.dicom.elements import Elements, label, number, values_of


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
    beyond: int = 0
    """How many entries are of more bits; they are shown white."""
    unusable: str = ""
    """Why it cannot be applied, "" where it can."""

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look up each value. Shape and meaning of the values: (N,), modality units or stored values."""
        index = np.clip(np.floor(values) - self.first, 0, self.entries.size - 1).astype(np.int64)
        output: NDArray[np.float64] = self.entries[index]
        return output


def read_luts(elements: Elements, keyword: str, inputs: tuple[float, float], big_endian: bool) -> list[Lut]:
    """The tables of a sequence; one that cannot be read is among them, and says why.

    Args:
        elements: of the header.
        keyword: ModalityLUTSequence or VOILUTSequence.
        inputs: the least and the greatest value that is looked up.
        big_endian: whether the data set is.
    """
    luts = []
    for item in elements.items(keyword):
        try:
            luts.append(_read_lut(item, inputs, big_endian))
        except (RecursionError, MemoryError):
            raise
        except Exception as error:  # whatever a parser raises
            why = f"an item of {label(keyword)} cannot be read ({error})"
            luts.append(Lut(0, 16, np.zeros(1), unusable=why))
    return luts


def _read_lut(item: Dataset, inputs: tuple[float, float], big_endian: bool) -> Lut:
    """PS3.3 C.11.1.1.1 and C.11.2.1.1, for a table that ``inputs``, from the least to the greatest, are looked up in.

    Raises:
        ValueError: it is no table; and whatever pydicom raises.
    """
    descriptor = [int(value) for value in map(number, values_of(item, "LUTDescriptor")) if value is not None]
    data = item.get("LUTData")
    if len(descriptor) != 3 or data is None or not 8 <= descriptor[2] <= 16:
        raise ValueError(f"(0028,3002) LUT Descriptor is '{descriptor}'")
    count, first, bits = descriptor
    count = count % (1 << 16) or 1 << 16
    if isinstance(data, bytes):
        width = "u1" if bits == 8 and len(data) <= count + 1 else ">u2" if big_endian else "<u2"
        if width == "u1" and big_endian and item["LUTData"].VR == "OW":
            data = np.frombuffer(data, "u2").byteswap().tobytes()  # two of them are a word (PS3.5 6.2)
        entries = np.frombuffer(data, width, len(data) // int(width[-1]))
    else:
        entries = np.asarray(data, dtype=np.int64).reshape(-1) & 0xFFFF  # old ones are SS, and never signed
    if entries.size < count:
        raise ValueError(f"(0028,3006) LUT Data has '{entries.size}' of '{count}' entries")
    explanation = str((values_of(item, "LUTExplanation") or [""])[0])
    # Of 16 bits, signed where the inputs may be; parsers of implicit VR go by the stored values, rescaled or not.
    if first > max(32767, inputs[1]) and inputs[0] < 0:
        first -= 1 << 16
    elif first + count <= 0 <= inputs[0]:
        first += 1 << 16
    entries, white = entries[:count].astype(np.float64), (1 << bits) - 1
    return Lut(first, bits, np.minimum(entries, white), explanation, int(np.count_nonzero(entries > white)))
