"""Hashes over the rows of a table that do not depend on their order, of as many rows as there may be.

The bytes that are hashed are those of :func:`rsna.config.settings.digest` over lists of text; they are never held at
once.
"""

import hashlib
import json
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rsna.dataset.disk import file_sizes

_AT_ONCE = 1 << 16
"""Rows that are made text, or JSON, in one go."""


def digest_of(lists: Sequence[pa.LargeStringArray], nested: bool) -> str:
    """``digest`` of lists of text, each sorted: ``digest(lists)`` where ``nested``, else ``digest(*lists)``."""
    hashed = hashlib.sha256(b"[[" if nested else b"[")
    for number, rows in enumerate(lists):
        hashed.update(b",[" if number else b"[")
        order = pc.sort_indices(rows)
        for start in range(0, len(rows), _AT_ONCE):
            part = rows.take(order.slice(start, _AT_ONCE)).to_pylist()
            hashed.update(f"{',' if start else ''}{json.dumps(part, separators=(',', ':'))[1:-1]}".encode())
        hashed.update(b"]")
    hashed.update(b"]]" if nested else b"]")
    return hashed.hexdigest()[:12]


def rows_with_sizes(frame: pd.DataFrame, columns: Sequence[str]) -> pa.LargeStringArray:
    """``patient_id=10|image_id=7|…|1024`` of every row: those of the columns that are there, and the file's bytes.

    Raises:
        OSError: A file cannot be looked at.
    """
    there = [column for column in columns if column in frame.columns]
    sizes = file_sizes(frame["path"])
    parts = [pa.array([], pa.large_string())]
    for start in range(0, len(frame), _AT_ONCE):
        rows = frame.iloc[start : start + _AT_ONCE]
        # With its name: a column that is gone shall not be taken for one that is empty, or for its neighbour.
        cells = [joined(f"{column}=", text_of(rows[column]), "") for column in there]
        parts.append(joined(*cells, pa.array(sizes[start : start + _AT_ONCE]).cast(pa.large_string()), "|"))
    return pa.concat_arrays(parts)


def text_of(values: pd.Series) -> pa.LargeStringArray:
    """Values as pandas writes them, "" for missing ones."""
    text = pa.array(values.astype("string").fillna(""), pa.large_string())
    return text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text


def joined(*parts: pa.LargeStringArray | str) -> pa.LargeStringArray:
    """Parts of every row, joined by the last of them."""
    plain = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*plain)
