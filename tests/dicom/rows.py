"""The rows of the table of docs/dicom.md, each with the check that it holds."""

from collections.abc import Callable

import pytest

from rsna.dicom import DicomError, open_mammogram

ROWS: dict[str, Callable[[], None]] = {}


def row(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a check under the first cell of its row."""

    def add(check: Callable[[], None]) -> Callable[[], None]:
        assert name not in ROWS
        ROWS[name] = check
        return check

    return add


def refuse(kind: type[DicomError], data: bytes, **options: int) -> None:
    """The file cannot be opened or decoded, for this reason."""
    with pytest.raises(kind):
        open_mammogram(data, **options).display()
