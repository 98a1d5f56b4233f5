"""The one reader of tables: CSV in whatever dialect and encoding, Excel or Parquet → a frame, and what was guessed.

What has one reading is read, and a note says which; what has none or two is refused with file and line. Nothing is ever
moved to another column: a row whose cells do not match the header is the beginning of wrong labels.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rsna.table_file.cells import IDS, TEXT, map_distinct, names, once_each, one_line, value_name, values, words
from rsna.table_file.content import decoded, unpacked
from rsna.table_file.cut import cut_number
from rsna.table_file.errors import TableError, refuse_rows, require_columns
from rsna.table_file.rows import column_names, parse, read_parquet
from rsna.table_file.workbook import is_workbook, sheet_text

__all__ = [
    "TableError",
    "map_distinct",
    "one_line",
    "read_columns",
    "read_table",
    "refuse_rows",
    "require_columns",
    "value_name",
]  # fmt: skip


def read_table(
    file: str | Path,
    notes: list[str],
    columns: Sequence[str] = (),
    as_is: Sequence[str] = (),
    sheet: str = "",
    ids: Sequence[str] = (),
) -> pd.DataFrame:
    """Reads a table; the content says what it is, whatever the name.

    Args:
        file: Values separated by commas, semicolons, tabs or bars, as UTF-8, UTF-16 or Windows-1252, as it is or in
            gzip, bzip2, xz or a ZIP archive; or Parquet; or a workbook of Excel (.xlsx).
        notes: A line is added to it where anything had to be interpreted.
        columns: Must be there, and filled in every row.
        as_is: Ids that keep their spelling: they are not compared but given back.
        sheet: Sheet of a workbook; its only one with cells where empty.
        ids: Columns of names beside those that are known: as numbers, long ones would be rounded.

    Returns:
        Columns in the order of the file, known names in the project's spelling. Ids, laterality (L, R and whatever else
        stands there), view and path are text with NaN for missing, true and false are 1 and 0, other columns numbers
        where every value is one. The index says where a row starts: it is called ``line`` (or ``row`` for Parquet).

    Raises:
        TableError: No table, no rows, cells without a column, a column twice, columns or values that are missing, a
            workbook that openpyxl is needed for, or whose sheet is not clear.
    """
    said: list[str] = []
    raw = unpacked(file, said)
    if raw[:4] == b"PAR1":
        frame = read_parquet(raw, file, columns, said)
    else:
        is_text = not is_workbook(raw)
        content = decoded(raw, file, said) if is_text else sheet_text(raw, file, sheet, said)
        del raw  # of 10^7 rows more than a gigabyte
        frame = parse(content, file, columns, said)
        if is_text and (short := cut_number(frame, content)):
            said.append(f"ends without the end of a line, in {short}; was it cut off?")
        del content
    if frame.empty:
        raise TableError(f"{file}: has no rows")
    for column in frame.columns:
        if column in TEXT or column in as_is:
            text = frame[column].astype("string").astype("str")
            frame[column] = text.mask(text.eq(""))
        elif column in IDS or column in ids:
            frame[column] = names(frame[column], file, said)
        elif column in ("laterality", "view"):
            frame[column] = once_each(words, frame[column], said)
        elif frame[column].dtype in (object, "str"):
            frame[column] = once_each(values, frame[column], said)
    require_columns(frame, columns, file)
    for column in columns:
        refuse_rows(frame[column].isna(), None, file, f"rows have no {column}; fill it in")
    if said:
        notes.append(f"{file}: {'; '.join(said)}")
    return frame


def read_columns(file: str | Path) -> list[str]:
    """The columns of a table, known names in the project's spelling; none where it cannot be read as far as that."""
    try:
        raw = unpacked(file, [])
        if raw[:4] == b"PAR1":
            return list(read_parquet(raw, file, (), []).columns)
        if is_workbook(raw):
            return column_names(sheet_text(raw, file, "", []))
        return column_names(decoded(raw, file, []))
    except TableError:
        return []
