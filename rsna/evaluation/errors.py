"""What can be wrong with a set of predictions."""

from collections.abc import Iterable
from itertools import islice

SHOWN = 3
"""Offending rows that a message names, after their count."""


class PredictionError(ValueError):
    """Predictions or labels that cannot be scored as they are; the message says how many rows and which first."""


def offenders(ids: Iterable[object], total: int | None = None) -> str:
    """`3 of 200 (a, b, c)`: how many rows offend, and the first of them."""
    listed = list(ids)
    names = ", ".join(str(name) for name in islice(listed, SHOWN))
    more = ", …" if len(listed) > SHOWN else ""
    share = f"{len(listed):,}" if total is None else f"{len(listed):,} of {total:,}"
    return f"{share} ({names}{more})"
