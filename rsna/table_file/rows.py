"""Text, or Parquet → the columns of a table: delimiter, header, and as many cells in every row as it has names."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import ArrowException, parquet, string
from pyarrow import csv as csv_of_arrow

from rsna.files import first_few, first_line
from rsna.table_file.cells import IDS, TEXT
from rsna.table_file.errors import TableError

COLUMNS = (
    *IDS, *TEXT, "laterality", "view", "exam_number", "cancer", "biopsy", "invasive", "difficult_negative_case",
    "BIRADS", "density", "implant", "age", "site_id", "machine_id", "fold", "probability", "x0", "y0", "x1", "y1",
)  # fmt: skip
"""Names that mean something here, however they are spelt: `Patient ID` is patient_id."""

_ALIASES = {
    "studyid": "exam_id", "studyinstanceuid": "exam_id", "studyuid": "exam_id", "studydate": "exam_date",
    "exam": "exam_number", "side": "laterality", "imagelaterality": "laterality", "viewposition": "view",
}  # fmt: skip
"""Squashed names of what DICOM and people call otherwise; the first of several counts."""

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_UNLIKE = re.compile(r"[\W_]+")
"""What people spell in different ways within a name."""

_HEADER_WITHIN = 20
"""Rows among which the header is looked for: exports and command-line clients write lines above it."""


def parse(text: str, file: str | Path, columns: Sequence[str], said: list[str]) -> pd.DataFrame:
    """Cells as text, "" where there are none."""
    known = _spelling(columns)
    delimiter, above, header = _find_header(text, known)
    single = bool(header) and all(re.fullmatch(r"'[^']*'", cell.strip()) for cell in header)
    if delimiter != ",":
        said.append(f"separated by {_DELIMITERS[delimiter]}")
    even = _even_table(text, delimiter, header) if above == 0 and not single else None
    if even is not None:
        kept = _named([cell.strip() for cell in header], even.column, known, file, said)
        frame: pd.DataFrame = even.select(list(kept.values())).to_pandas()
        return frame.set_axis(list(kept), axis=1).set_axis(pd.RangeIndex(2, len(frame) + 2, name="line"))
    header, cells, lines = _careful_cells(text, file, delimiter, above, header, single, said)
    kept = _named(header[: len(cells)], cells.__getitem__, known, file, said)
    index = pd.Index(lines, name="line")
    return pd.DataFrame({name: pd.Series(cells[place], index, dtype=object) for name, place in kept.items()}, index)


def _even_table(text: str, delimiter: str, header: list[str]) -> Any:
    """An Arrow table of a text that has one reading: a line a row, no quotes, every row as long as the header.

    A column without an empty cell and without its own name proves that no row is empty or repeats the header. None
    where anything of this is not so, which the careful reader then looks at, forty times as slow.
    """
    names = [*map(_squashed, header)]
    first = text.partition("\n")[0].removesuffix("\r")
    if '"' in text or "" in names or len({*names}) < len(names) or first != delimiter.join(header):
        return None
    places = [str(place) for place in range(len(header))]
    try:
        table = csv_of_arrow.read_csv(
            pa.BufferReader(text.encode()),
            csv_of_arrow.ReadOptions(use_threads=False, skip_rows=1, column_names=places),
            csv_of_arrow.ParseOptions(delimiter=delimiter, quote_char=False, ignore_empty_lines=False),
            csv_of_arrow.ConvertOptions(column_types=dict.fromkeys(places, string()), strings_can_be_null=False),
        )
    except ArrowException:  # a row of another length
        return None
    for name, distinct in sorted(zip(names, (c.unique() for c in table.columns), strict=True), key=lambda c: len(c[1])):
        if {"", name}.isdisjoint(map(_squashed, distinct.to_pylist())):
            return table if table.num_rows else None
    return None


def _careful_cells(
    text: str, file: str | Path, delimiter: str, above: int, header: list[str], single: bool, said: list[str]
) -> tuple[list[str], list[tuple[str, ...]], list[int]]:
    """The names, the columns, and the line in which each row starts, of a text that may have anything in it."""
    repeat = [*map(_squashed, header)]
    rows: list[list[str]] = []
    lines: list[int] = []
    # A quote after a delimiter and a space opens a cell; elsewhere, a path may begin with a space.
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quotechar="'" if single else '"',
        strict=True,
        skipinitialspace=f'{delimiter} "' in text,
    )
    start, records, empty, repeated = 1, 0, 0, 0
    try:
        for row in reader:
            line, start = start, reader.line_num + 1
            if not "".join(row).strip():
                empty += len(row) > 1
            elif records <= above:
                records += 1
            elif len(row) == len(repeat) and all(
                _squashed(cell) == name for cell, name in zip(row, repeat, strict=True)
            ):
                repeated += 1
            else:
                rows.append(row)
                lines.append(line)
    except csv.Error as error:
        raise TableError(f"{file}, line {start}: a quote is not closed, or stands inside a cell ({error})") from error
    if above:
        said.append(f"{above} lines above the header are passed over")
    if empty or repeated:
        said.append(f"{empty} empty rows and {repeated} repeated headers are passed over")
    header = [cell.strip().strip("'") if single else cell.strip() for cell in header]
    rows = _fitted(rows, lines, header, text.endswith(("\n", "\r")), file, said)
    if not rows:
        raise TableError(f"{file}: has no rows below its columns {first_few(header, 20)}")
    return header, list(zip(*rows, strict=True)), lines


def column_names(text: str) -> list[str]:
    """The names in the header of a text, known ones as they are spelt here."""
    known = _spelling()
    return [known.get(_squashed(name), name) for name in _find_header(text, known)[2]]


def _squashed(name: str) -> str:
    """A column's name without what people spell in different ways."""
    return _UNLIKE.sub("", name).casefold()


def _spelling(columns: Sequence[str] = ()) -> dict[str, str]:
    """Squashed → as it is spelt here."""
    return _ALIASES | {_squashed(name): name for name in (*COLUMNS, *columns)}


def _find_header(text: str, known: dict[str, str]) -> tuple[str, int, list[str]]:
    """The delimiter, how many rows stand above the header, and that: most of its names are known, else it is first."""
    best: tuple[int, int, int] = (-1, 0, 0)
    found: tuple[str, int, list[str]] = (",", 0, [])
    for delimiter in _DELIMITERS:
        rows = csv.reader(_lines(text), delimiter=delimiter, skipinitialspace=True)
        try:
            first = [row for row in islice(rows, _HEADER_WITHIN) if any(cell.strip() for cell in row)]
        except csv.Error:  # a cell without end, of which the reader says the line
            continue
        for place, row in enumerate(first):
            names = len({_squashed(cell) for cell in row} & known.keys())
            score = (names, -place, len(row) if place == 0 else 0)
            if score > best:
                best, found = score, (delimiter, place, row)
    return found


def _lines(text: str) -> Iterator[str]:
    """Lines with their ends, as a stream of the text gives them, which would take four bytes a letter of the whole."""
    start = 0
    for end in re.finditer(r"\r\n?|\n", text):
        yield text[start : end.end()]
        start = end.end()
    if start < len(text):
        yield text[start:]


def _fitted(
    rows: list[list[str]], lines: list[int], header: list[str], whole: bool, file: str | Path, said: list[str]
) -> list[list[str]]:
    """Rows of as many cells as the header has, without those behind its last name."""
    width = max((place for place, cell in enumerate(header, start=1) if cell.strip()), default=0)
    long = [(line, len(row)) for row, line in zip(rows, lines, strict=True) if any(c.strip() for c in row[width:])]
    if long:
        every = " The header lacks a name for the first column." if len(long) == len(rows) else ""
        raise TableError(
            f"{file}: {len(long):,} rows have more cells than the header's {width} (first: line {long[0][0]} with "
            f"{long[0][1]}); put what holds a delimiter between quotes.{every}"
        )
    if all(len(row) == width for row in rows):
        return rows
    if any(len(row) > len(header) for row in rows):
        said.append("empty cells behind the last column are passed over")
    short = [(line, len(row)) for row, line in zip(rows, lines, strict=True) if len(row) < width]
    if short and short[-1][0] == lines[-1] and not whole:
        raise TableError(f"{file}, line {lines[-1]}: breaks off after {short[-1][1]} of {width} cells; copy it again")
    if short:
        said.append(f"{len(short):,} rows end early, the rest of them is empty (first: line {short[0][0]})")
    return [[*row[:width], *[""] * (width - len(row))] for row in rows]


def _named(
    names: list[str], cells: Callable[[int], Sequence[Any]], known: dict[str, str], file: str | Path, said: list[str]
) -> dict[str, int]:
    """Column → its place; known names as they are spelt here, each once. ``cells`` gives those of a place."""
    kept: dict[str, int] = {}
    for place, given in enumerate(names):
        name = known.get(_squashed(given), given)
        # Beside a column that is spelt so, another spelling is another column.
        if name != given and (name in names or (name in kept and _squashed(given) in _ALIASES)):
            if _squashed(given) not in _ALIASES and cells(names.index(name)) != cells(place):
                said.append(f"column {given!r} has other values than {name}, which is read")
            name = given
        if not name:
            if any(str(cell).strip() for cell in cells(place)):
                said.append(f"column {place + 1}, which has no name, is left out")
        elif name in kept:
            if cells(kept[name]) != cells(place):
                raise TableError(f"{file}: has the column {name} twice, with other values; keep one of them")
            said.append(f"column {name} stands there twice, with the same values")
        else:
            kept[name] = place
            if name != given:
                said.append(f"column {given!r} is {name}")
    return kept


def read_parquet(raw: bytes, file: str | Path, columns: Sequence[str], said: list[str]) -> pd.DataFrame:
    """The rows of a Parquet file, of which ``said`` gets what had to be guessed.

    Raises:
        TableError: It is torn, or none.
    """
    try:
        # What pandas notes about itself beside the columns is not needed, and may be damaged.
        frame: pd.DataFrame = parquet.read_table(io.BytesIO(raw)).to_pandas(ignore_metadata=True)
    except (ArrowException, OSError, ValueError) as error:
        raise TableError(f"{file}: is no whole Parquet file: {first_line(error)}; copy it again") from error
    frame = frame.drop(columns="__index_level_0__", errors="ignore").set_axis(
        pd.RangeIndex(1, len(frame) + 1, name="row")
    )
    names = [str(name) for name in frame.columns]
    kept = _named(names, lambda place: frame.iloc[:, place].tolist(), _spelling(columns), file, said)
    return frame.iloc[:, list(kept.values())].set_axis(list(kept), axis=1)
