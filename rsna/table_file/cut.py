"""Whether a text was cut off within its last number, which then still is one."""

import re

import pandas as pd

_ROWS = 100
"""Rows below which nothing is said: of so many with as many decimals each, none happens to have fewer."""
_DECIMALS = 4
"""Below which nothing is said either: 0.5 among 0.25 and 0.75 is a number that somebody typed."""


def cut_number(frame: pd.DataFrame, text: str) -> str:
    """The last cell and what the others have that it lacks, in words, where it looks cut off; "" where it does not.

    Many good files lack the last line's end, and most writers give numbers as many decimals as they need: there it
    cannot be known. It looks so only where every other number of the last column has the same number of decimals.

    Args:
        frame: Cells as text.
        text: What they were read from.
    """
    if len(frame) <= _ROWS or frame.columns.empty or text.endswith(("\n", "\r")):
        return ""
    cells = frame.iloc[:, -1]
    last = str(cells.iloc[-1])
    if not text.endswith(last) or not re.fullmatch(r"-?\d*\.?\d*", last):
        return ""
    decimals = cells.iloc[:-1].astype("str").str.extract(r"^-?\d+\.(\d+)$", expand=False).str.len()
    usual = decimals.iloc[0]
    if decimals.isna().any() or usual < _DECIMALS or decimals.ne(usual).any():
        return ""
    own = len(last.partition(".")[2])
    return f"{last or 'nothing'} where all others of {cells.name} have {usual:.0f} decimals" if own < usual else ""
