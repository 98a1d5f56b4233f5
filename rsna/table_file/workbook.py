"""A sheet of an Excel workbook → the text of a table, as whoever saved it as CSV would have got it."""

import csv
import io
from datetime import date, datetime, time
from pathlib import Path

from rsna.files import first_few, first_line
from rsna.table_file.errors import EXACT, TableError


def is_workbook(raw: bytes) -> bool:
    """Whether the bytes of a ZIP archive are those of an Office Open XML document (.xlsx)."""
    return raw[:4] == b"PK\3\4" and b"[Content_Types].xml" in raw


def sheet_text(raw: bytes, file: str | Path, sheet: str, said: list[str]) -> str:
    """The cells of a sheet as they were computed last, a row a line, separated by commas.

    Args:
        raw: The workbook.
        file: Its name, for messages.
        sheet: Name of the sheet, but for capitals and blanks around it; the only one with cells where empty.
        said: What was passed over is added.

    Raises:
        TableError: openpyxl is not installed, the workbook is damaged, or it has no such sheet, or several.
    """
    try:
        from openpyxl import load_workbook
    except ModuleNotFoundError:
        raise TableError(
            f"{file}: is an Excel workbook, which openpyxl reads; pip install 'rsna-mammography[sheets]', or save it "
            "as CSV (UTF-8), named alike but for .csv"
        ) from None
    try:
        # Not read_only: its rows and columns are as many as the file says, which may be wrong.
        book = load_workbook(io.BytesIO(raw), data_only=True)
    except Exception as error:  # of a damaged one: KeyError, TypeError, ParseError, BadZipFile, …
        raise TableError(f"{file}: is no whole Excel workbook ({first_line(error)}); copy it again") from error
    names = [one.title for one in book.worksheets if one.max_row > 1 or one.cell(1, 1).value is not None]
    wanted = [name for name in names if name.strip().casefold() == sheet.strip().casefold()] if sheet else names
    if len(wanted) != 1:
        what = f"has no sheet {sheet}" if sheet else "holds several sheets" if names else "holds no cells"
        raise TableError(f"{file}: {what} ({first_few(names) or 'none'}); save the one that is meant as CSV (UTF-8)")
    if len(names) > 1:
        said.append(f"sheet {wanted[0]} of {len(names)} is read")
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in book[wanted[0]].iter_rows(values_only=True))
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, (date, datetime)):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, (int, float)) and abs(value) > EXACT:
        return f"{value:E}"  # as the sheet shows it: an id is refused, in place of digits that nobody wrote
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
