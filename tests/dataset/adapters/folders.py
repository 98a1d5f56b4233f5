"""Folders of public sets for tests: a few cases in a publisher's layout, invented row by row, with its traps."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.dicom_files import dicom_bytes
from tests.prepare.files import write_dicom, write_picture
from tests.prepare.phantoms import breast

CC, MLO = "399162004", "399368009"
"""SNOMED CT codes of views (PS3.16 CID 4014)."""


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    """A table of text, as its publisher would separate it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([header, *rows])
    return path


def write_workbook(path: Path, sheets: dict[str, Sequence[Sequence[object]]]) -> Path:
    """An .xlsx of these sheets, each with its rows, header first."""
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path


def write_film(path: Path, seed: int = 0, side: str = "L", bits: int = 12, **elements: Any) -> Path:
    """A small breast as DICOM of so many bits, or as PNG, JPEG or PGM of 8, by the ending of ``path``.

    ``elements`` are the header's.
    """
    image, _ = breast(96, 64, side="right" if side == "R" else "left", seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".pgm"):
        return write_picture(path, image)
    if bits == 12:
        return write_dicom(path, image, **elements)
    stored = np.rint(image * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    path.write_bytes(dicom_bytes(stored, bits, **{"SOPInstanceUID": generate_uid(), "ViewPosition": None} | elements))
    return path


def view_code(code: str) -> dict[str, Any]:
    """(0054,0220) View Code Sequence, as :func:`write_film` takes it."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code, "SCT"
    return {"ViewCodeSequence": [item]}
