"""Labels for images: a CSV joined to what headers say, with everything said that did not fit."""

from pathlib import Path

import pandas as pd

from rsna.dataset.table import TableError, read_csv
from rsna.files import first_few

_KEYS = (["image_id"], ["patient_id", "laterality"], ["patient_id"])
"""What labels may be joined on; the first that the CSV has."""

_GIVEN = "\0given"
"""Behind the name of a column that headers and CSV both have, while they are compared."""

_SHOWN = 3
"""Examples that a note lists."""


def read_label_table(labels: Path) -> tuple[pd.DataFrame, list[str]]:
    """A CSV of labels, and the columns that it is joined on.

    Raises:
        TableError: No CSV, no key in it, or a key that repeats.
    """
    # Where the images are is known better from having found them.
    table = read_csv(labels).drop(columns="path", errors="ignore")
    keys = next((k for k in _KEYS if set(k) <= set(table.columns)), None)
    if keys is None:
        raise TableError(f"{labels}: needs a column image_id or patient_id to be joined on")
    doubled = table[keys].duplicated()
    if doubled.any():
        raise TableError(
            f"{labels}: {int(doubled.sum())} rows repeat an earlier {' and '.join(keys)}; keep one of each "
            f"(first: {_names(table.loc[doubled, keys])})"
        )
    return table, keys


def join_labels(
    frame: pd.DataFrame, table: pd.DataFrame, keys: list[str], labels: Path
) -> tuple[pd.DataFrame, list[str]]:
    """Adds the columns of ``table``; where both have a value, the header's stands.

    Args:
        frame: image_id, patient_id, laterality, view, machine_id (text, "" where the header does not say), age (years).
        table: As :func:`read_label_table` returns it.
        keys: Likewise.
        labels: The file, for messages.

    Returns:
        The frame in its own order, reindexed, and notes on what did not fit.

    Raises:
        TableError: No label is of any of the images.
    """
    joined = frame.merge(table, on=keys, how="left", suffixes=("", _GIVEN), indicator="\0side")
    bare = joined.pop("\0side").eq("left_only")
    idle = ~table.set_index(keys).index.isin(frame.set_index(keys).index)
    if bare.all():
        raise TableError(f"{labels}: no {' and '.join(keys)} of it is in the folder (first: {_names(table[keys])})")
    notes = []
    if bare.any():
        notes.append(
            f"{int(bare.sum()):,} images have no row in {labels} (first: {_names(joined.loc[bare, ['path']])})"
        )
    if idle.any():
        notes.append(f"{int(idle.sum()):,} rows of {labels} have no image (first: {_names(table.loc[idle, keys])})")
    for column in [c for c in frame.columns if c + _GIVEN in joined.columns]:
        joined[column], differs = _fill(joined[column], joined[column + _GIVEN])
        if differs.any():
            first = joined[differs].head(_SHOWN)
            sides = zip(first["image_id"], _text(first[column]), _text(first[column + _GIVEN]), strict=True)
            shown = "; ".join(f"{image_id}: {header}, not {given}" for image_id, header, given in sides)
            notes.append(
                f"{int(differs.sum()):,} images have another {column} in {labels} than in their header, which stands "
                f"({shown})"
            )
    added = [c for c in table.columns if c not in frame.columns]
    # Whole numbers stay such where some images have no label.
    return joined[[*frame.columns, *added]].assign(**joined[added].convert_dtypes()), notes


def _fill(header: pd.Series, given: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The header's value, or the given one where there is none; and where the two differ."""
    if pd.api.types.is_numeric_dtype(header):
        given = pd.to_numeric(given, errors="coerce").astype("Float64")
        differs = header.ne(given).fillna(False)
        return header.astype("Float64").fillna(given).astype(float).convert_dtypes(), differs.astype(bool)
    text, said = _text(given), header.ne("")
    return header.where(said, text).astype(str), said & text.ne("") & header.ne(text)


def _text(values: pd.Series) -> pd.Series:
    """Values as a person writes them: a whole number has no decimals, a missing value is ""."""
    text = values.astype("string").str.strip().fillna("")
    return text.str.removesuffix(".0") if pd.api.types.is_numeric_dtype(values) else text


def _names(rows: pd.DataFrame) -> str:
    return first_few("_".join(map(str, row)) for row in rows.itertuples(index=False))
