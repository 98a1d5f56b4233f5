"""Table inputs: what the network is told of an image beside its pixels, from columns that test.csv has, too.

What the table says counts; where it says nothing, the header of the image's file is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.model import TableInputName
from rsna.dataset.identities import age_in_years
from rsna.dataset.table import TableError
from rsna.dataset.targets import as_answer, as_class
from rsna.files import first_few
from rsna.table_file import map_distinct

if TYPE_CHECKING:
    from rsna.dicom import Tags

_MOST = 256
"""Values that a column may have to be one of categories: of more, it names people or images."""

AGES = (1.0, 120.0)
"""Years that are believed; what is outside is a placeholder, as 000Y is."""


@dataclass(frozen=True)
class TableInput:
    """One column, as the network reads it."""

    name: str
    values: tuple[str, ...]
    """Values of the set that was trained on, in order; () for age, which is a number."""

    @property
    def is_number(self) -> bool:
        """Whether the value itself is read, and not its place among others."""
        return not self.values

    def read(self, table: pd.DataFrame) -> npt.NDArray[np.float32]:
        """(N,) float32: years, or the place of each value among ``values``; NaN where it is unknown.

        A value that training has not seen, a new machine's, is unknown.
        """
        if self.name not in table.columns:
            return np.full(len(table), np.nan, dtype=np.float32)
        if self.is_number:
            number = map_distinct(table[self.name], read_years).astype(float)
            return number.where(number.between(*AGES)).to_numpy(dtype=np.float32, na_value=np.nan)
        place = {value: float(i) for i, value in enumerate(self.values)}
        places = map_distinct(table[self.name], lambda value: place.get(_kind(self.name, value), np.nan))
        return places.to_numpy(dtype=np.float32, na_value=np.nan)

    def is_said(self, table: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """(N,) whether the table has a value, be it one that training has not seen; an age that is none is no value."""
        if self.is_number or self.name not in table.columns:
            return ~np.isnan(self.read(table))
        said = map_distinct(table[self.name], lambda value: _kind(self.name, value) != "")
        return said.to_numpy(np.bool_)


def learn_inputs(names: Sequence[TableInputName], images: pd.DataFrame) -> tuple[TableInput, ...]:
    """The inputs of these names, in this order, with the values that the images of a set have.

    Raises:
        TableError: A column is missing, no image has a value in it, or too many different ones.
    """
    return tuple(_learn(name, images) for name in names)


def read_inputs(inputs: Sequence[TableInput], images: pd.DataFrame) -> npt.NDArray[np.float32]:
    """(N, inputs) float32 of N images, see :meth:`TableInput.read`."""
    if not inputs:
        return np.zeros((len(images), 0), dtype=np.float32)
    return np.stack([one.read(images) for one in inputs], axis=1)


def read_headers(inputs: Sequence[TableInput], tags: "Sequence[Tags | None]") -> npt.NDArray[np.float32]:
    """(N, inputs) float32 of what the headers of N files say, see :meth:`TableInput.read`; a picture has none.

    A header says no site; its machine is called as ``rsna table`` calls it.
    """
    rows = [{} if one is None else header_values(one) for one in tags]
    return read_inputs(inputs, pd.DataFrame(rows, index=range(len(rows))))


def header_values(tags: "Tags") -> dict[str, Any]:
    """What a header says of an image by column of a table: "" or None where it does not."""
    return {
        "age": age_in_years(tags.patient_age),
        "implant": tags.implant,
        "view": tags.view,
        "machine_id": tags.machine,
    }


def _kind(name: str, value: Any) -> str:
    """A value as all tables and headers have it; "" where there is none."""
    answer = as_answer(value) if name == "implant" else None  # which headers and the competition's table say by 0 and 1
    return (as_class(value) or "") if answer is None else str(int(answer))


def read_years(value: Any) -> float:
    """61, 61.0, "61" and a header's "061Y" → years; NaN for anything else."""
    if isinstance(value, str):
        years = age_in_years(value)
        value = value if years is None else years
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _learn(name: str, images: pd.DataFrame) -> TableInput:
    if name not in images.columns:
        raise TableError(f"table_inputs: the table has no column {name}; leave it out, or add it to the table")
    if name == "age":
        age = TableInput(name, ())
        if np.isnan(age.read(images)).all():
            raise TableError(f"table_inputs: no image has an age from {AGES[0]:g} to {AGES[1]:g} years; leave age out")
        return age
    values = sorted({_kind(name, value) for value in images[name].drop_duplicates()} - {""})
    if not values:
        raise TableError(f"table_inputs: column {name} is empty; leave it out")
    if len(values) > _MOST:
        raise TableError(
            f"table_inputs: column {name} has {len(values):,} different values ({first_few(values, 3)}), more than "
            f"{_MOST}: it names no kinds; leave it out"
        )
    return TableInput(name, tuple(values))
