"""Labels for images: a CSV joined to what headers say, with everything said that did not fit."""

from itertools import islice
from pathlib import Path

import pandas as pd

from rsna.dataset.table import TableError, read_csv, refuse_rows
from rsna.files import first_few

_KEYS = (["image_id"], ["patient_id", "laterality"], ["patient_id"])
"""What labels may be joined on; the first that the CSV has."""

_GIVEN = "\0given"
"""Behind the name of a column that headers and CSV both have, while they are compared."""

_SHOWN = 3
"""Examples that a note lists."""


def join_labels(frame: pd.DataFrame, parents: pd.Series, labels: Path) -> tuple[pd.DataFrame, list[str]]:
    """Adds the columns of a CSV; where header and CSV both have a value, the header's stands.

    Args:
        frame: image_id, patient_id, laterality, view, machine_id, path (text, "" where the header does not say), age
            (years).
        parents: The folder of each file, which stands for a patient that neither header nor CSV names.
        labels: The CSV.

    Returns:
        The frame in its own order, reindexed, and notes on what did not fit.

    Raises:
        TableError: No CSV, no key in it, a key that repeats, or no row of it is of any of the images.
    """
    # Where the images are is known better from having found them.
    table = read_csv(labels).drop(columns="path", errors="ignore")
    keys = next((k for k in _KEYS if set(k) <= set(table.columns)), None)
    if keys is None:
        raise TableError(f"{labels}: needs a column image_id or patient_id to be joined on")
    key, names = " and ".join(keys), table[keys].astype(str).agg("_".join, axis=1)
    refuse_rows(table.duplicated(keys), names, labels, f"rows repeat an earlier {key}; keep one of each")
    if "patient_id" in keys:
        frame = name_patients(frame, parents)
    joined = frame.merge(table, on=keys, how="left", suffixes=("", _GIVEN), indicator="\0side")
    bare = joined.pop("\0side").eq("left_only")
    if bare.all():
        raise TableError(f"{labels}: no {key} of it is in the folder (first: {first_few(names)})")
    notes = []
    if bare.any():
        first = first_few(joined["path"][bare])
        notes.append(f"{int(bare.sum()):,} images have no row in {labels} (first: {first})")
    idle = ~table.set_index(keys).index.isin(frame.set_index(keys).index)
    if idle.any():
        notes.append(f"{int(idle.sum()):,} rows of {labels} have no image (first: {first_few(names[idle])})")
    for column in [c for c in frame.columns if c + _GIVEN in joined.columns]:
        header, given = joined[column], joined[column + _GIVEN]
        joined[column], differs = _fill(header, given)
        if differs.any():
            sides = zip(joined["image_id"][differs], _text(header[differs]), _text(given[differs]), strict=True)
            shown = "; ".join(f"{image_id}: {ours}, not {theirs}" for image_id, ours, theirs in islice(sides, _SHOWN))
            notes.append(
                f"{int(differs.sum()):,} images have another {column} in {labels} than in their header, which stands "
                f"({shown})"
            )
    added = [c for c in table.columns if c not in frame.columns]
    # Whole numbers stay such where some images have no label.
    joined = joined[[*frame.columns, *added]].assign(**joined[added].convert_dtypes())
    return name_patients(joined, parents), notes


def name_patients(frame: pd.DataFrame, parents: pd.Series) -> pd.DataFrame:
    """Patients that nothing names are called by the folder that their file lies in."""
    return frame.assign(patient_id=frame["patient_id"].mask(frame["patient_id"].eq(""), parents))


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
