"""Row by row, the table of docs/dicom.md: every file the world sends."""

from pathlib import Path

import pytest

from tests.dicom import rows_pixels, rows_trouble, rows_vendors
from tests.dicom.rows import ROWS

DOCS = Path(__file__).parents[2] / "docs" / "dicom.md"
assert rows_pixels
assert rows_trouble
assert rows_vendors  # Importing them fills ROWS, in the order of the table.


def documented_rows() -> list[str]:
    """The first cells of the tables, without headings."""
    section = DOCS.read_text(encoding="utf-8").split("## Every file the world sends")[1].split("\n## ")[0]
    cells = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]
    return [
        cell for cell, under in zip(cells, [*cells[1:], ""], strict=True) if set(cell) != {"-"} and set(under) != {"-"}
    ]


def test_the_table_and_its_tests_have_the_same_rows():
    assert documented_rows() == list(ROWS)


@pytest.mark.parametrize("name", documented_rows())
def test_row(name):
    ROWS[name]()
