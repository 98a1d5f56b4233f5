"""A table from the folder of a public set, as its publisher lays it out, and the same in the format of Mirai."""

import os
from pathlib import Path

import pandas as pd

from rsna.archive.archive import Reasons, refuse_existing, save_table
from rsna.dataset.adapters import OWN, Adapter, adapters, find_adapter, read_set
from rsna.dataset.adapters.mirai import to_mirai
from rsna.dataset.prevalence import LabelCounts
from rsna.dataset.table import TableError, check_frame, require_columns
from rsna.dataset.walk import require_folder
from rsna.files import atomic_path, first_few

NONE = "none"
"""What ``dataset=`` is given where headers are to be read, whatever the folder looks like."""

_FIRST = (
    "patient_id", "image_id", "exam_id", "exam_date", "exam_number", "laterality", "view", "cancer", "cancer_from",
    "dataset",
)  # fmt: skip
"""Columns in front, as far as a set has them; path is the last."""


def adapter_for(folder: Path, name: str = "") -> Adapter | None:
    """The adapter of a public set by its name, or by its files where none is named; None for any other folder.

    Raises:
        TableError: There is no such folder or set, the folder is not laid out as it is, or has a train.csv, too, and
            none is named.
    """
    if name == NONE:
        return None
    require_folder(folder)
    known = adapters()
    if not name:
        found = find_adapter(folder, "train")
        if found is not known[OWN]:
            return found
        sets = {of: one for of, one in known.items() if of != OWN and one.FACTS.images is not None}
        if hidden := next((of for of, one in sets.items() if one.matches(folder, "train")), ""):
            raise TableError(
                f"{folder}: holds a train.csv and the files of {hidden}; dataset={hidden} makes a table of these, "
                f"dataset={NONE} one of headers alone"
            )
        return None
    if name not in known:
        raise TableError(f"dataset: there is no {name}; rsna datasets lists {', '.join(known)}")
    if not known[name].matches(folder, "train"):
        raise TableError(f"{folder}: is not laid out as {name}, which is {known[name].LAYOUT}")
    return known[name]


def write_published(folder: Path, out: Path, adapter: Adapter, cancer_from: str = "") -> list[str]:
    """Writes the table of a public set as :func:`rsna.archive.archive.write_table` does, with labels and their origin.

    Returns:
        Lines for a person.

    Raises:
        TableError: ``out`` is there already, no image is left, or what an adapter refuses.
    """
    refuse_existing(out)
    folder = folder.resolve()
    frame, notes, failures, left_out = _usable(folder, adapter, cancer_from)
    columns = [*(column for column in _FIRST if column in frame.columns)]
    columns += [column for column in frame.columns if column not in (*columns, "path", "prediction_id")]
    paths = [_below(path, folder) for path in frame["path"]]
    return save_table(frame[columns].convert_dtypes().assign(path=paths), folder, out, notes, failures, left_out)


def write_mirai(folder: Path, out: Path, adapter: Adapter | None, cancer_from: str = "") -> list[str]:
    """Writes the images of a set in the format that Mirai reads, with whole paths.

    Args:
        folder: Of a public set, or with a train.csv.
        out: CSV to write.
        adapter: Of the set; that of a train.csv in the folder where it is None.
        cancer_from: See :func:`rsna.dataset.adapters.choose_cancer`.

    Returns:
        Lines for a person.

    Raises:
        TableError: ``out`` is there already, the folder has no known layout, or what reading it refuses.
    """
    refuse_existing(out)
    adapter = adapter or find_adapter(folder, "train")
    if adapter is None:
        raise TableError(f"{folder}: holds neither a train.csv nor a public set; write its table first: rsna table")
    frame, notes, failures, left_out = _usable(folder.resolve(), adapter, cancer_from)
    require_columns(frame, ("cancer",), folder)
    mirai = to_mirai(frame, notes)
    if mirai.empty:
        raise TableError(f"{folder}: no image has a label; {first_few(notes)}")
    with atomic_path(out) as temporary:
        mirai.to_csv(temporary, index=False)
    exams = mirai[["patient_id", "exam_id", "years_to_cancer"]].drop_duplicates()
    counted = f"{len(mirai):,} images, {len(exams):,} exams, {int(exams['years_to_cancer'].eq(0).sum()):,} with cancer"
    lost = [f"{len(failures + left_out):,} images cannot be used"] if failures or left_out else []
    return [f"{out}: {counted}", *(f"note: {note}" for note in [*notes, *lost])]


def _usable(folder: Path, adapter: Adapter, cancer_from: str) -> tuple[pd.DataFrame, list[str], Reasons, Reasons]:
    """The checked rows that have a file and a side, notes, files that cannot be read, and rows that are left out."""
    listing = read_set(folder, "train", adapter, cancer_from)
    unreadable = {str(error.filename): str(error.strerror) for error in listing.unreadable}
    failures: Reasons = sorted((_below(path, folder), reason) for path, reason in unreadable.items())
    left_out: Reasons = []
    frame = listing.frame[~listing.frame["path"].isin([*unreadable])]
    for lacks, reason in (
        (frame["path"].eq(""), "File: the table has a row, and none is there"),
        (frame["path"].ne("") & ~frame["laterality"].isin(["L", "R"]), "Side: neither table nor header names L or R"),
    ):
        left_out += [(str(one), reason) for one in frame.loc[lacks, "image_id"]]
        frame = frame[~lacks.reindex(frame.index)]
    if frame.empty:
        first = first_few(f"{path}: {reason}" for path, reason in [*failures, *left_out])
        raise TableError(f"{listing.source}: none of its images is below {folder} ({first or 'it has no rows'})")
    frame = check_frame(frame.reset_index(drop=True), listing.source, adapter.LABELS)
    notes = [*listing.notes, *([str(LabelCounts.of(frame))] if "cancer" in frame.columns else [])]
    for kind in sorted({reason for _, reason in left_out}):
        rows = [row for row, reason in left_out if reason == kind]
        notes.append(f"{len(rows):,} rows are left out: {kind.partition(': ')[2]} (first: {first_few(rows)})")
    return frame, notes, failures, left_out


def _below(path: str, folder: Path) -> str:
    """A path from the folder on; whole where it lies elsewhere, "" where there is none."""
    return os.path.relpath(path, folder) if path and Path(path).is_relative_to(folder) else path
