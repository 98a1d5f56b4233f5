"""The competition's own layout, and tables that name their files as ``rsna table`` writes them.

``train.csv`` and ``train_images/<patient_id>/<image_id>.{dcm,png,jpg}``, ``test.csv`` and ``test_images`` alike. A
column ``path``, absolute or relative to the folder of the table, takes the place of the folder of images.
"""

import csv
import os
from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Listing
from rsna.dataset.table import REQUIRED, SUFFIXES, LabelUnit, TableError, read_csv, refuse_rows, require_columns

LAYOUT = "train.csv with train_images/<patient_id>/<image_id>.dcm (or .png, .jpg) or a column path; test alike"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}


def matches(root: Path, split: Split) -> bool:
    """Whether there is a table with a folder of images or a column of paths."""
    table = root / f"{split}.csv"
    if not table.is_file() or (root / f"{split}_images").is_dir():
        return table.is_file()
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as rows:
        return "path" in next(csv.reader(rows), [])


def read(root: Path, split: Split) -> Listing:
    """Reads the table and finds the file of every row."""
    table, folder = root / f"{split}.csv", root / f"{split}_images"
    if not table.is_file():
        raise TableError(f"{table}: is missing; expected {LAYOUT}")
    frame = read_csv(table)
    if not {"patient_id", "image_id"} <= set(frame.columns):
        require_columns(frame, REQUIRED, table)  # names all that is missing at once
    if "path" in frame.columns:
        frame["path"] = _named_files(frame, root, table)
        return Listing(frame, table, "rows have a path where no file is")
    files, unreadable = _list_files(folder) if folder.is_dir() else ({}, [])
    keys = list(zip(frame["patient_id"], frame["image_id"], strict=True))
    frame["path"] = [files.get(key, "") for key in keys]
    rowless = [(*key, files[key]) for key in sorted(files.keys() - set(keys))]
    return Listing(
        frame,
        table,
        f"rows have no file {folder}/<patient_id>/<image_id>.dcm (or .png, .jpg), and the table has no column path",
        pd.DataFrame(rowless, columns=["patient_id", "image_id", "path"], dtype=str),
        tuple(unreadable),
    )


def _named_files(frame: pd.DataFrame, root: Path, table: Path) -> list[str]:
    """Files that the table names itself, "" where none is. Whole paths are its writer's own choice."""
    given = frame["path"].fillna("").astype(str)
    # By its words alone: a link in the folder may lead wherever it was set up to lead.
    climbs = given.map(lambda path: Path(os.path.normpath(path)).parts[:1] == (os.pardir,))
    refuse_rows(
        climbs, frame["image_id"], table, f"rows have a path that leads out of {root}; write it as a whole path"
    )
    # Not Path.is_file, which raises where there is no permission to look.
    return [str(root / path) if os.path.isfile(root / path) else "" for path in given]  # noqa: PTH113


def _list_files(folder: Path) -> tuple[dict[tuple[str, str], str], list[OSError]]:
    """(patient_id, image_id) → path, and the patients' folders that cannot be listed.

    One listing a patient: on a network disk a look-up for each of 54,706 images takes minutes.
    """
    found: dict[tuple[str, str], str] = {}
    unreadable: list[OSError] = []
    rank = {suffix: i for i, suffix in enumerate(SUFFIXES)}
    for patient in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        try:
            entries = list(os.scandir(folder / patient))
        except OSError as error:
            unreadable.append(error)
            continue
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if suffix.lower() not in rank or entry.name.startswith("."):
                continue
            # Converted images may lie beside their originals, which win.
            other = found.get((patient, stem))
            if other is None or rank[suffix.lower()] < rank[os.path.splitext(other)[1].lower()]:
                found[patient, stem] = entry.path
    return found, unreadable
