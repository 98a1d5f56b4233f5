"""What is refused of a table, and where: by line, or by the names of its rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.files import first_few

EXACT = 2**53
"""Beyond this, numbers of 64 bits with a point, and so those of every spreadsheet, skip whole ones."""

_SHOWN = 5
"""Rows that an error names."""


class TableError(ValueError):
    """A table or a folder that cannot be used; the message names the first rows that are wrong, and how many are."""


def require_columns(frame: pd.DataFrame, columns: Sequence[str], source: str | Path) -> None:
    """Raises a TableError that names the columns which are missing, if any are."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise TableError(f"{source}: has no column {', '.join(missing)}; it has {first_few(frame.columns, 20)}")


def refuse_rows(wrong: pd.Series, names: pd.Series | None, source: str | Path, what: str) -> None:
    """Raises a TableError that counts the wrong rows and names the first: by ``names``, or else by lines."""
    places = np.flatnonzero(wrong)
    if len(places) == 0:
        return
    if names is None:
        first = [f"{wrong.index.name or 'row'} {at}" for at in wrong.index[places]]
    else:
        first = [f"row {place + 1}" if pd.isna(names.iloc[place]) else str(names.iloc[place]) for place in places]
    raise TableError(f"{source}: {len(places):,} {what} (first: {first_few(first, _SHOWN)})")
