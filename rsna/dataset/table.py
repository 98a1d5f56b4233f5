"""The table of images: one row a file, read from the competition's layout and checked before anything runs.

Layout: ``<root>/train.csv`` and ``<root>/train_images/<patient_id>/<image_id>.{dcm,png,jpg}``; ``test.csv`` and
``test_images`` alike. A column ``path``, absolute or relative to the root, takes the place of that layout.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from rsna.config.settings import digest

Split = Literal["train", "test"]

SUFFIXES = (".dcm", ".png", ".jpg", ".jpeg")
"""File endings that are looked for, the first that exists wins."""

LABELS = ("cancer", "biopsy", "invasive", "difficult_negative_case")
"""Columns whose values are 0, 1 or missing."""

REQUIRED = ("patient_id", "image_id", "laterality")
"""Columns without which nothing can be done."""

_SHOWN = 5
"""Offenders that an error lists before it only counts."""


_NOT_A_LABEL = -1.0
"""Stands for a label outside {0, 1} until the check that names its row."""


class TableError(ValueError):
    """A table or a folder that cannot be used; the message lists the first offenders and how many there are."""


@dataclass(frozen=True)
class ImageTable:
    """A set of images with the folder it came from."""

    name: str
    """Short name of the set; caches and runs carry it, so that results of two sets never mix."""
    root: Path
    """Folder that holds the CSV and the images."""
    frame: pd.DataFrame = field(repr=False)
    """One row an image: patient_id, image_id, laterality, view (str), path (str), prediction_id, and other columns
    of the CSV; labels are float with NaN for missing."""
    sampling: Literal["population", "enriched"] = "population"
    """Whether prevalence in this set means anything."""
    extra: pd.DataFrame | None = field(default=None, repr=False)
    """Images that are only ever trained on, in the columns of ``frame``."""

    @property
    def hash(self) -> str:
        """12 hexadecimal characters over ids, labels and file sizes: the *dataset* hash."""
        frames = [self.frame] if self.extra is None else [self.frame, self.extra]
        parts = []
        for frame in frames:
            columns = [c for c in ("patient_id", "image_id", "laterality", *LABELS) if c in frame.columns]
            rows = frame[columns].fillna(-1).astype(str).agg("|".join, axis=1)
            sizes = [os.stat(path).st_size for path in frame["path"]]
            parts.append(sorted(f"{row}|{size}" for row, size in zip(rows, sizes, strict=True)))
        return digest(parts)

    @property
    def images(self) -> pd.DataFrame:
        """Every image, those only trained on behind the others."""
        if self.extra is None:
            return self.frame
        return pd.concat([self.frame, self.extra], ignore_index=True)


def load_table(
    root: str | Path,
    split: Split = "train",
    name: str = "",
    sampling: Literal["population", "enriched"] = "population",
    extra: tuple[str, ...] = (),
) -> ImageTable:
    """Reads and checks ``<root>/<split>.csv`` and finds the file of every row.

    Args:
        root: Folder in the competition's layout.
        split: ``train`` (labels are required) or ``test``.
        name: Name of the set; the folder's own name where it is empty.
        sampling: See :class:`ImageTable`.
        extra: Roots of sets that are only trained on.

    Raises:
        TableError: Wrong root, missing column, image without file, file without row, duplicate image_id, label
            outside {0, 1}, two labels for one breast, an image_id in two sets.
    """
    root = Path(root).expanduser().resolve()
    frame = read_split(root, split)
    extras = [read_split(Path(other).expanduser().resolve(), split) for other in extra]
    joined = pd.concat(extras, ignore_index=True) if extras else None
    if joined is not None:
        reject(joined["image_id"].duplicated() | joined["image_id"].isin(frame["image_id"]), joined, "image_id",
                "data.extra", "image_ids stand in two sets; take one of the sets out of data.extra")  # fmt: skip
    return ImageTable(name or root.name, root, frame, sampling, joined)


def read_split(root: Path, split: Split) -> pd.DataFrame:
    """One checked frame of ``<root>/<split>.csv``; see :func:`load_table`."""
    csv, folder = root / f"{split}.csv", root / f"{split}_images"
    if not root.is_dir():
        raise TableError(f"{root}: there is no such folder; set data.root (or RSNA_DATA) to the one with {split}.csv")
    if not csv.is_file():
        raise TableError(f"{csv}: is missing; expected {root}/{split}.csv and {root}/{split}_images/<patient_id>/")
    frame = read_csv(csv)
    _check_columns(frame, csv, split)
    if "path" in frame.columns:
        frame["path"] = resolve_paths(frame, root, csv)
        absent = pd.Series([not path for path in frame["path"]], index=frame.index)
        reject(absent, frame, "image_id", csv, "rows have a path where no file is")
    elif folder.is_dir():
        frame["path"] = _find_files(frame, folder, csv)
    else:
        expected = f"{folder}/<patient_id>/<image_id>.dcm, or a column path in {csv}"
        raise TableError(f"{folder}: is missing; expected {expected}")
    return check_frame(frame, csv)


def read_csv(csv: str | Path) -> pd.DataFrame:
    """A CSV with ids as text and labels as numbers.

    Raises:
        TableError: Not a CSV, or empty.
    """
    ids = dict.fromkeys(("patient_id", "image_id", "laterality", "view", "prediction_id"), str)
    try:
        frame = pd.read_csv(csv, dtype=ids)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise TableError(f"{csv}: cannot be read as CSV: {error}") from error
    if frame.empty:
        raise TableError(f"{csv}: has no rows")
    for label in LABELS:
        if label in frame.columns:
            frame[label] = _read_label(frame[label])
    return frame


def check_frame(frame: pd.DataFrame, where: str | Path) -> pd.DataFrame:
    """Checks ids and labels of a frame and adds ``prediction_id``; returns it in its own order, reindexed.

    Raises:
        TableError: See :func:`load_table`.
    """
    for column in REQUIRED:
        reject(frame[column].isna(), frame, "image_id", where, f"rows have no {column}; fill it in")
    reject(
        frame["image_id"].duplicated(),
        frame,
        "image_id",
        where,
        "image_ids stand in more than one row; keep one of each",
    )
    reject(~frame["laterality"].isin(["L", "R"]), frame, "image_id", where, "rows have a laterality other than L and R")
    for label in LABELS:
        if label in frame.columns:
            reject(frame[label].eq(_NOT_A_LABEL), frame, "image_id", where, f"rows have a {label} outside {{0, 1}}")
    frame["prediction_id"] = frame["patient_id"] + "_" + frame["laterality"]
    if "cancer" in frame.columns:
        labels = frame.groupby("prediction_id")["cancer"].nunique()
        torn = frame["prediction_id"].isin(labels[labels > 1].index)
        reject(torn & ~frame["prediction_id"].duplicated(), frame, "prediction_id", where,
                "breasts carry two labels; every image of a breast has the breast's label")  # fmt: skip
    if "view" not in frame.columns:
        frame["view"] = ""
    frame["view"] = frame["view"].fillna("")
    return frame.reset_index(drop=True)


def breast_view_counts(frame: pd.DataFrame) -> pd.Series:
    """Images per breast, by prediction_id."""
    return frame.groupby("prediction_id", sort=False)["image_id"].size()


def _read_label(column: pd.Series) -> pd.Series:
    """0, 1, false and true in any spelling → 0.0, 1.0; missing → NaN; anything else → ``_NOT_A_LABEL``."""
    text = column.astype("string").str.strip().str.lower()
    known = {"0": 0.0, "0.0": 0.0, "false": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}
    labels = text.map(known).astype(float)
    return labels.mask(labels.isna() & text.notna(), _NOT_A_LABEL)


def _check_columns(frame: pd.DataFrame, csv: Path, split: Split) -> None:
    required = (*REQUIRED, "cancer") if split == "train" else REQUIRED
    missing = [column for column in required if column not in frame.columns]
    if missing:
        raise TableError(f"{csv}: has no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")


def resolve_paths(frame: pd.DataFrame, root: Path, csv: Path) -> list[str]:
    """Files that the table names itself, "" where none is. Whole paths are its writer's own choice.

    Raises:
        TableError: A relative path climbs out of the table's folder.
    """
    given = frame["path"].fillna("").astype(str)
    # By its words alone: a link in the folder may lead wherever it was set up to lead.
    climbs = given.map(lambda path: Path(os.path.normpath(path)).parts[:1] == (os.pardir,))
    reject(climbs, frame, "image_id", csv, f"rows have a path that leads out of {root}; write it as a whole path")
    paths = [root / path for path in given]
    return [str(path) if _is_file(path) else "" for path in paths]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no permission to look
        return False


def _find_files(frame: pd.DataFrame, folder: Path, csv: Path) -> list[str]:
    found = list_files(folder)
    keys = list(zip(frame["patient_id"].astype(str), frame["image_id"].astype(str), strict=True))
    absent = np.array([key not in found for key in keys])
    example = f"{folder}/<patient_id>/<image_id>.dcm (or .png, .jpg)"
    reject(pd.Series(absent, index=frame.index), frame, "image_id", csv, f"rows have no file {example}")
    rowless = sorted(found.keys() - set(keys))
    if rowless:
        names = ", ".join("/".join(key) for key in rowless[:_SHOWN])
        raise TableError(f"{folder}: {len(rowless)} files have no row in {csv.name}: {names}{_more(len(rowless))}")
    return [found[key] for key in keys]


def image_id_of(path: str | Path) -> str:
    """A file's name without the ending of an image; names without, such as a UID, are whole."""
    path = Path(path)
    return path.stem if path.suffix.lower() in (*SUFFIXES, ".dicom") else path.name


def list_files(folder: Path, lose: Callable[[OSError], None] | None = None) -> dict[tuple[str, str], str]:
    """(patient_id, image_id) → path; one listing a patient is faster than one look-up an image.

    Args:
        folder: Folder of folders of patients.
        lose: What is called where a patient's folder cannot be read, instead of raising.

    Raises:
        OSError: A folder cannot be read.
    """
    found: dict[tuple[str, str], str] = {}
    rank = {suffix: i for i, suffix in enumerate(SUFFIXES)}
    for patient in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        try:
            entries = list(os.scandir(folder / patient))
        except OSError as error:
            if lose is None:
                raise
            lose(error)
            continue
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            key = (patient, stem)
            if suffix.lower() not in rank or entry.name.startswith("."):
                continue
            if key not in found or rank[suffix.lower()] < rank[os.path.splitext(found[key])[1].lower()]:
                found[key] = entry.path
    return found


def reject(offends: pd.Series, frame: pd.DataFrame, column: str, where: str | Path, what: str) -> None:
    """Raises with the first offenders by ``column``, or by their place where it is empty, if any row offends.

    Raises:
        TableError: See above.
    """
    count = int(offends.sum())
    if count:
        first = frame.loc[offends, column].head(_SHOWN)
        names = ", ".join(f"row {place + 1}" if pd.isna(name) else str(name) for place, name in first.items())
        raise TableError(f"{where}: {count} {what} (first: {names}{_more(count)})")


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""
