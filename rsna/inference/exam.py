"""What is to be predicted: the images of a test set, or of any folder of DICOM files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.dataset.adapters import competition
from rsna.dataset.archive import scan_archive
from rsna.dataset.table import REQUIRED, TableError, refuse_rows, require_columns
from rsna.files import first_few

NO_FILE = "no file for this row"
"""The failure of a row of test.csv."""


@dataclass(frozen=True)
class TestSet:
    """Images and the breasts that a submission must name."""

    images: pd.DataFrame
    """patient_id, image_id, laterality, prediction_id, path ("" where no file is), failure ("" where there is hope;
    what cannot be read far enough to know its breast has a prediction_id of "", and its path for an image_id)."""
    prediction_ids: tuple[str, ...]
    """Every breast, in the order of test.csv."""
    notes: tuple[str, ...]
    """What a person should know: files without rows, files left out."""


def load_test_set(root: str | Path) -> TestSet:
    """Reads ``<root>/test.csv`` and ``<root>/test_images``, or any folder of DICOM files without a test.csv.

    A column ``path`` of test.csv takes the place of ``test_images``, as in :mod:`rsna.dataset.adapters.competition`.
    A row without a file and a file without a row are no errors here: a submission is always complete.

    Raises:
        TableError: No folder, a test.csv that lacks columns or values, a folder without any mammogram.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise TableError(f"input={root}: there is no such folder")
    if (root / "test.csv").is_file():
        return _competition(root)
    return _archive(root)


def _archive(root: Path) -> TestSet:
    archive = scan_archive(root)
    frame = archive.frame.assign(prediction_id=archive.frame["patient_id"] + "_" + archive.frame["laterality"])
    prediction_ids = tuple(dict.fromkeys(frame["prediction_id"]))
    lost = pd.DataFrame(archive.failures, columns=["path", "failure"], dtype=str)
    frame = pd.concat([frame, lost.assign(image_id=lost["path"])], ignore_index=True)
    texts = ["patient_id", "image_id", "laterality", "prediction_id", "view", "path", "failure"]
    frame[texts] = frame[texts].fillna("")
    frame["path"] = [str(root / path) for path in frame["path"]]
    return TestSet(frame, prediction_ids, tuple(archive.lines()))


def _competition(root: Path) -> TestSet:
    listing = competition.read(root, "test")
    frame, csv = listing.frame, listing.source
    # With its prediction_id a row needs no laterality.
    named = "prediction_id" in frame.columns
    needed = tuple(column for column in REQUIRED if column != "laterality" or not named)
    require_columns(frame, needed, csv)
    for column in (*needed, *("prediction_id",) * named):
        refuse_rows(frame[column].isna(), frame["image_id"], csv, f"rows have no {column}; fill it in")
    if not named:
        frame["prediction_id"] = frame["patient_id"] + "_" + frame["laterality"]
    notes = [f"{error.filename} cannot be read: {error.strerror}" for error in listing.unreadable]
    if len(rowless := listing.rowless):
        first = first_few(rowless["patient_id"] + "/" + rowless["image_id"], 1)
        notes.append(f"{len(rowless)} files have no row in test.csv and are left out (first: {first})")
    frame["failure"] = np.where(frame["path"] == "", NO_FILE, "")
    doubled = frame["image_id"].duplicated()
    if doubled.any():
        notes.append(f"{int(doubled.sum())} rows of test.csv repeat an image_id; each image counts once")
    prediction_ids = tuple(dict.fromkeys(frame["prediction_id"]))
    return TestSet(frame[~doubled].reset_index(drop=True), prediction_ids, tuple(notes))
