"""The competition's own layout, and tables that name their files as ``rsna table`` writes them.

``train.csv`` and ``train_images/<patient_id>/<image_id>.{dcm,png,jpg,pgm}``, ``test.csv`` and ``test_images`` alike. A
column ``path``, absolute or relative to the folder of the table, takes the place of the folder of images.
"""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.disk import are_files
from rsna.dataset.table import REQUIRED, SUFFIXES, LabelUnit, TableError, read_rows, refuse_rows, require_columns
from rsna.dataset.walk import require_text
from rsna.files import first_few, printable
from rsna.parallel.progress import Progress
from rsna.table_file import one_line, read_columns

LAYOUT = "train.csv with train_images/<patient_id>/<image_id>.dcm (or .png, .jpg, .pgm) or a column path; test alike"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="RSNA Screening Mammography Breast Cancer Detection (2022)",
    source="https://www.kaggle.com/competitions/rsna-breast-cancer-detection",
    images=54706,
    patients=11913,
    licence="RSNA's terms: non-commercial use, academic research and education included; no re-identification",
    release="ask",
    unit="breast",
    cancer={"pathology": "cancer = 1: cancer of this breast, proven by pathology"},
    default="pathology",
    defects=(
        "one exam a patient; breasts without cancer are so by follow-up, not by biopsy",
        "BIRADS and density are of one of the two sites alone",
        "sites differ in vendor, transfer syntax and padding; some files have no window",
        "side and view stand in the table, not in the headers",
    ),
)


def table_of(root: Path, split: Split) -> Path:
    """``<split>.csv``, or the one file that is called so but for capitals and compression, such as ``Test.CSV.gz``.

    Raises:
        TableError: Several are, what is called so is no file, or the folder's own name is no text.
    """
    require_text(root)
    table = root / f"{split}.csv"
    if table.is_file() or not root.is_dir():
        return table
    name = re.compile(rf"{split}\.csv(\.(gz|bz2|xz|zip))?", re.IGNORECASE)
    called = [path for path in sorted(root.iterdir()) if name.fullmatch(path.name)]
    found = [path for path in called if path.is_file()]
    if len(found) > 1:
        raise TableError(f"{root}: holds {' and '.join(path.name for path in found)}; keep one of them")
    if called and not found:  # without a table the images' headers would be read in its place
        what = "a link to what is not there" if called[0].is_symlink() and not called[0].exists() else "no file"
        raise TableError(f"{called[0]}: is {what}; mend or remove it")
    return found[0] if found else table


def matches(root: Path, split: Split) -> bool:
    """Whether there is a table with a folder of images or a column of paths."""
    table = table_of(root, split)
    if not table.is_file() or (root / f"{split}_images").is_dir():
        return table.is_file()
    return "path" in read_columns(table)


def read(root: Path, split: Split, cancer_from: str = "") -> Listing:
    """Reads the table and finds the file of every row; what a column cancer_from says is to be what is asked for."""
    table, folder = table_of(root, split), root / f"{split}_images"
    if not table.is_file():
        raise TableError(f"{table}: is missing; expected {LAYOUT}")
    notes: list[str] = []
    # What is asked for is given back as it was spelt.
    frame = read_rows(table, notes, as_is=("prediction_id",) if split == "test" else ())
    if cancer_from:
        require_columns(frame, ("cancer_from",), table)  # without it, nobody knows what its labels are
        what = f"rows have their cancer from elsewhere, not {cancer_from}; leave it out, or write the table anew"
        refuse_rows(frame["cancer_from"].ne(cancer_from), frame.get("image_id"), table, what)
    if not {"patient_id", "image_id"} <= set(frame.columns):
        require_columns(frame, REQUIRED, table)  # names all that is missing at once
    if "path" in frame.columns:
        frame["path"] = _named_files(frame, root, table)
        return Listing(frame, table, "rows have a path where no file is", notes=tuple(notes))
    files, unreadable, alike = _list_files(folder) if folder.is_dir() else ({}, [], [])
    if alike:
        what = "images have a second file of that name, its ending written otherwise, which is left out"
        notes.append(f"{len(alike):,} {what} (first: {first_few(alike)}); rename or remove it")
    keys = list(zip(frame["patient_id"].to_numpy(object), frame["image_id"].to_numpy(object), strict=True))
    frame["path"] = [files.get(key, "") for key in keys]
    rowless = [(*key, files[key]) for key in sorted(files.keys() - set(keys))]
    return Listing(
        frame,
        table,
        f"rows have no file {folder}/<patient_id>/<image_id>.dcm (or .png, .jpg, .pgm), and there is no column path",
        pd.DataFrame(rowless, columns=["patient_id", "image_id", "path"], dtype=str),
        tuple(unreadable),
        tuple(notes),
    )


_ODD = r"^$|//|(?:^|/)\.(?:/|$)|/$"
"""Paths that are written otherwise once they are joined to a folder; of 10^7 rows others are joined at once."""


def _named_files(frame: pd.DataFrame, root: Path, table: Path) -> pd.Series:
    """Files that the table names itself, "" where none is. Whole paths are its writer's own choice."""
    given = frame["path"].fillna("").astype("str")
    climbs = np.array(given.str.contains(os.pardir, regex=False), dtype=np.bool_)
    # By its words alone: a link in the folder may lead wherever it was set up to lead.
    climbs[climbs] = [Path(os.path.normpath(path)).parts[:1] == (os.pardir,) for path in given[climbs]]
    what = f"rows have a path that leads out of {root}; write it as a whole path"
    refuse_rows(pd.Series(climbs, given.index), frame["image_id"], table, what)
    whole = given.where(given.str.startswith(os.sep), f"{str(root).rstrip(os.sep)}{os.sep}" + given)
    odd = np.flatnonzero(given.str.contains(_ODD))
    whole.iloc[odd] = pd.Index([str(root / path) for path in given.iloc[odd]], dtype="str")
    return whole.where(are_files(whole), "")


def _list_files(folder: Path) -> tuple[dict[tuple[str, str], str], list[OSError], list[str]]:
    """(patient_id, image_id) → path; what cannot be listed; files that another of the same name and format is
    taken before.

    One listing a patient: on a network disk a look-up for each of 54,706 images takes minutes. Only regular files are
    listed: a pipe would be waited for.
    """
    found: dict[tuple[str, str], str] = {}
    unreadable: list[OSError] = []
    alike: list[str] = []
    rank = {suffix: i for i, suffix in enumerate(SUFFIXES)}

    def entries(parent: str | Path, is_wanted: Callable[[os.DirEntry[str]], bool]) -> list[os.DirEntry[str]]:
        wanted = []
        try:
            for entry in os.scandir(parent):
                try:
                    if not entry.name.isascii():
                        entry.name.encode()
                    if is_wanted(entry):
                        wanted.append(entry)
                except UnicodeEncodeError:
                    unreadable.append(OSError(errno.EILSEQ, "its name is not UTF-8; rename it", printable(entry.path)))
                except OSError as error:
                    unreadable.append(error)
        except OSError as error:
            unreadable.append(error)
        return sorted(wanted, key=lambda entry: entry.name)

    patients = entries(folder, os.DirEntry.is_dir)
    with Progress("look for files", len(patients), "folders") as progress:
        for patient in progress.over(patients):
            who = one_line(patient.name)
            for entry in entries(patient.path, os.DirEntry.is_file):
                stem, suffix = os.path.splitext(entry.name)
                if suffix.lower() not in rank or entry.name.startswith("."):
                    continue
                # Converted images may lie beside their originals, which win.
                key = who, one_line(stem)
                other = found.get(key)
                if other is None:
                    found[key] = entry.path
                    continue
                found[key], worse = sorted((other, entry.path), key=lambda path: rank[_suffix(path)])
                if len({_suffix(path).replace("jpeg", "jpg") for path in (found[key], worse)}) == 1:
                    alike.append(printable(worse))
    return found, unreadable, alike


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
