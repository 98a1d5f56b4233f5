"""The table of images: one row an image, the checks that each passes, the *dataset* hash, and a part for a try."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from rsna.config.data import Sampling
from rsna.config.settings import digest
from rsna.files import first_few

LabelUnit = Literal["image", "breast", "patient"]
"""What one label is of."""

SUFFIXES = (".dcm", ".png", ".jpg", ".jpeg")
"""Endings of images; of several files of one name the first wins."""

LABELS = ("cancer", "biopsy", "invasive", "difficult_negative_case")
"""Columns whose values are 0, 1 or missing."""

REQUIRED = ("patient_id", "image_id", "laterality")
"""Columns without which nothing can be done."""

_SHOWN = 5
"""Rows that an error names."""

_POSITIVES = 8
"""Positive patients that a part has where the set has them: two in each of four folds, so that each can be scored."""


class TableError(ValueError):
    """A table or a folder that cannot be used; the message names the first rows that are wrong, and how many are."""


@dataclass(frozen=True)
class ImageTable:
    """A set of images with the folder it came from."""

    name: str
    """Short name of the set; caches and runs carry it, so that results of two sets never mix."""
    root: Path
    """Folder that holds the table and the images."""
    frame: pd.DataFrame = field(repr=False)
    """One row an image: patient_id, image_id, laterality, view (str), path (str), prediction_id, and other columns
    of the source; labels are float with NaN for missing."""
    sampling: Sampling = "population"
    """Whether prevalence in this set means anything."""
    extra: pd.DataFrame | None = field(default=None, repr=False)
    """Images that are only ever trained on, in the columns of ``frame``."""
    notes: tuple[str, ...] = ()
    """Lines for a person: what was interpreted while the set was read, and what part of it this is."""

    @cached_property
    def hash(self) -> str:
        """12 hexadecimal characters over ids, labels and file sizes: the *dataset* hash. Looks at every file, once."""
        parts = []
        for frame in [self.frame] if self.extra is None else [self.frame, self.extra]:
            columns = [c for c in ("patient_id", "image_id", "laterality", *LABELS) if c in frame.columns]
            values = [frame[column].fillna(-1).astype(str) for column in columns]
            sizes = [str(os.stat(path).st_size) for path in frame["path"]]
            parts.append(sorted("|".join(row) for row in zip(*values, sizes, strict=True)))
        return digest(parts)

    @property
    def images(self) -> pd.DataFrame:
        """Every image, those only trained on behind the others."""
        if self.extra is None:
            return self.frame
        return pd.concat([self.frame, self.extra], ignore_index=True)


def read_csv(file: str | Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """A CSV with ids as text and labels as numbers; ``columns`` must be there, and filled in every row.

    Raises:
        TableError: No such file, not a CSV, empty, or a column or value that is missing.
    """
    ids = dict.fromkeys(("patient_id", "image_id", "laterality", "view", "prediction_id"), str)
    try:
        frame = pd.read_csv(file, dtype=ids)
    except FileNotFoundError:
        raise TableError(f"{file}: there is no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise TableError(f"{file}: cannot be read as CSV: {error}") from error
    if frame.empty:
        raise TableError(f"{file}: has no rows")
    for label in LABELS:
        if label in frame.columns:
            frame[label] = _read_label(frame[label])
    require_columns(frame, columns, file)
    for column in columns:
        refuse_rows(frame[column].isna(), None, file, f"rows have no {column}; fill it in")
    return frame


def check_frame(frame: pd.DataFrame, source: str | Path, labels: Mapping[str, LabelUnit] | None = None) -> pd.DataFrame:
    """Checks ids and labels, adds ``prediction_id`` and fills ``view``; returns the frame in its own order, reindexed.

    Args:
        frame: Columns of :mod:`rsna.dataset.adapters`.
        source: The table's file, for messages.
        labels: What one label is of, by column; cancer is a breast's.

    Raises:
        TableError: A missing id or side, a repeated image_id, a label outside {0, 1}, two labels for one breast.
    """
    ids = frame["image_id"]
    for column in REQUIRED:
        refuse_rows(frame[column].isna(), ids, source, f"rows have no {column}; fill it in")
    refuse_rows(ids.duplicated(), ids, source, "image_ids stand in more than one row; keep one of each")
    refuse_rows(~frame["laterality"].isin(["L", "R"]), ids, source, "rows have a laterality other than L and R")
    for label in LABELS:
        if label in frame.columns:
            wrong = frame[label].notna() & ~frame[label].isin([0, 1])
            refuse_rows(wrong, ids, source, f"rows have a {label} outside {{0, 1}}")
    frame["prediction_id"] = frame["patient_id"] + "_" + frame["laterality"]
    for label, unit in ({"cancer": "breast"} if labels is None else labels).items():
        if label not in frame.columns or unit == "image":
            continue
        owners = frame["prediction_id"] if unit == "breast" else frame["patient_id"]
        several = frame.groupby(owners)[label].transform("nunique") > 1
        refuse_rows(several & ~owners.duplicated(), owners, source,
                    f"{unit}s carry two labels; every image of a {unit} has the {unit}'s {label}")  # fmt: skip
    frame["view"] = frame["view"].fillna("") if "view" in frame.columns else ""
    return frame.reset_index(drop=True)


def require_columns(frame: pd.DataFrame, columns: tuple[str, ...], source: str | Path) -> None:
    """Raises a TableError that names the columns which are missing, if any are."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        semicolons = len(frame.columns) == 1 and ";" in str(frame.columns[0])
        there = f"it has {', '.join(map(str, frame.columns))}"
        mend = "separate columns by commas, not semicolons" if semicolons else there
        raise TableError(f"{source}: has no column {', '.join(missing)}; {mend}")


def refuse_rows(wrong: pd.Series, names: pd.Series | None, source: str | Path, what: str) -> None:
    """Raises a TableError that counts the wrong rows and names the first: by ``names``, or else by lines of the CSV."""
    places = np.flatnonzero(wrong)
    if len(places) == 0:
        return
    if names is None:
        first = [f"line {place + 2}" for place in places]  # line 1 holds the columns
    else:
        first = [f"row {place + 1}" if pd.isna(names.iloc[place]) else str(names.iloc[place]) for place in places]
    raise TableError(f"{source}: {len(places):,} {what} (first: {first_few(first, _SHOWN)})")


def image_id_of(path: str | Path) -> str:
    """A file's name without the ending of an image; names without, such as a UID, are whole."""
    path = Path(path)
    return path.stem if path.suffix.lower() in (*SUFFIXES, ".dicom") else path.name


def limit_table(table: ImageTable, limit: int, seed: int = 0) -> ImageTable:
    """A part of a set for a try: whole patients drawn at random, at most ``limit`` images; likewise of ``extra``.

    Positive patients keep about their share. A part in which that would be fewer than eight has more of them, up to
    every second patient, and counts as enriched. The part depends on the set of rows and the seed, not on their order;
    a larger one holds the smaller ones.

    Raises:
        TableError: The first patient drawn has more images than that.
    """
    frame, said, enriched = _draw(table.frame, limit, seed, "")
    notes, extra = table.notes + said, table.extra
    if extra is not None:
        extra, said, _ = _draw(extra, limit, seed, "of data.extra ")
        notes += said
    return replace(table, frame=frame, extra=extra, notes=notes, sampling="enriched" if enriched else table.sampling)


def _draw(frame: pd.DataFrame, limit: int, seed: int, what: str) -> tuple[pd.DataFrame, tuple[str, ...], bool]:
    """The part, the line that says so unless it is the whole, and whether it has more positives than its share."""
    if len(frame) <= limit:
        return frame, (), False
    labels = frame["cancer"] if "cancer" in frame.columns else pd.Series(np.nan, index=frame.index)
    patients = frame.assign(cancer=labels.eq(1)).groupby("patient_id", sort=True)["cancer"].agg(["size", "any"])
    patients = patients.iloc[np.random.default_rng(seed).permutation(len(patients))]
    positive = patients["any"]
    # Both strata are spread evenly over (0, 1), so every beginning of the order has the shares of the whole.
    number = patients.groupby(positive).cumcount()
    place = (number + 0.5) / positive.map(positive.value_counts())
    # The first positives come no later than the negative of the same number.
    early = (number + 0.5) / max(int((~positive).sum()), 1)
    place = place.mask(positive & (number < _POSITIVES), np.minimum(place, early))
    patients = patients.assign(place=place).sort_values(["place", "any"], ascending=[True, False], kind="stable")
    chosen = patients[patients["size"].cumsum() <= limit]
    if chosen.empty:
        raise TableError(f"data.limit: {limit} images are fewer than one patient has; take more")
    part = frame[frame["patient_id"].isin(chosen.index)].reset_index(drop=True)
    positives = int(chosen["any"].sum())
    line = (
        f"data.limit={limit}: {what}{len(part):,} of {len(frame):,} images, {len(chosen):,} of {len(patients):,} "
        f"patients ({positives:,} of {int(positive.sum()):,} with cancer)"
    )
    return part, (line,), positives > np.ceil(positive.mean() * len(chosen))


def _read_label(column: pd.Series) -> pd.Series:
    """0, 1, false and true in any spelling → 0.0, 1.0; missing → NaN; anything else → −1, which the checks name."""
    text = column.astype("string").str.strip().str.lower()
    known = {"0": 0.0, "0.0": 0.0, "false": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}
    labels = text.map(known).astype(float)
    return labels.mask(labels.isna() & text.notna(), -1.0)
