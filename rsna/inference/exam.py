"""What is to be predicted: the images of a test set, or of any folder of DICOM files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.archive.archive import scan_archive
from rsna.dataset.adapters import competition
from rsna.dataset.exams import exams_of, name_breasts
from rsna.dataset.table import REQUIRED, refuse_half_exams, refuse_rows, require_columns
from rsna.dataset.walk import require_folder
from rsna.files import first_few, printable

NO_FILE = "no file for this row"
"""The failure of a row of test.csv."""


@dataclass(frozen=True)
class TestSet:
    """Images and the breasts that a submission must name."""

    images: pd.DataFrame
    """One row an image and breast that it counts for: patient_id, image_id (of that image alone), laterality,
    prediction_id, exam_id where exams are known, path ("" where no file is), failure ("" where there is hope; what
    cannot be read far enough to know its breast has a prediction_id of "", and its path for an image_id)."""
    prediction_ids: tuple[str, ...]
    """Every breast, in the order of test.csv."""
    notes: tuple[str, ...]
    """What a person should know: files without rows, files left out."""
    named: bool
    """test.csv says which breast each image shows: nothing of it was read from headers."""
    usable_in_all: int | None = None
    """Images with hope in the set that this is a shard of; None of a whole set."""

    @property
    def files(self) -> list[str]:
        """Of the rows that there is hope for."""
        return self.images.loc[self.images["failure"].eq(""), "path"].tolist()

    @property
    def usable(self) -> int:
        """Images with hope of the whole set: every shard has the same batches, and converts networks or does not."""
        return int(self.images["failure"].eq("").sum()) if self.usable_in_all is None else self.usable_in_all

    def gaps(self) -> str:
        """What is known before any work to stay without a prediction; "" where nothing is."""
        if absent := int(self.images["failure"].eq(NO_FILE).sum()):
            return f"{absent} rows have no file"
        lost = self.images[self.images["failure"] != ""]
        if lost.empty:
            return ""
        path, reason = lost[["path", "failure"]].iloc[0]
        return f"{len(lost)} files cannot be used (first: {path}: {reason})"


def load_test_set(root: str | Path) -> TestSet:
    """Reads ``<root>/test.csv`` and ``<root>/test_images``, or any folder of DICOM files without a test.csv.

    A column ``path`` of test.csv takes the place of ``test_images``, as in :mod:`rsna.dataset.adapters.competition`.
    A row without a file and a file without a row are no errors here: a submission is always complete.

    Raises:
        TableError: No folder, a test.csv that lacks columns or values, a folder without any mammogram.
    """
    root = Path(root).expanduser()
    require_folder(root, "input=")
    root = root.absolute()  # paths go to other processes, and into files
    if competition.table_of(root, "test").is_file():
        return _competition(root)
    return _archive(root)


def _archive(root: Path) -> TestSet:
    archive = scan_archive(root)
    frame = archive.frame.assign(prediction_id=name_breasts(archive.frame))
    prediction_ids = tuple(dict.fromkeys(frame["prediction_id"]))
    lost = pd.DataFrame(archive.failures, columns=["path", "failure"], dtype=str)
    frame = pd.concat([frame, lost.assign(image_id=lost["path"])], ignore_index=True)
    texts = ["patient_id", "image_id", "laterality", "prediction_id", "view", "path", "failure"]
    frame[texts] = frame[texts].fillna("")
    frame["path"] = [str(root / path) for path in frame["path"]]
    notes = archive.lines()
    if (root / "train.csv").is_file():
        notes.insert(0, "train.csv is not read: patients and sides are those of headers; as test.csv it would be")
    return TestSet(frame, prediction_ids, tuple(notes), named=False)


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
        refuse_half_exams(frame, csv)
        frame["prediction_id"] = name_breasts(frame)
    notes = [*listing.notes]
    notes += [printable(f"{error.filename} cannot be read: {error.strerror}") for error in listing.unreadable]
    if len(rowless := listing.rowless):
        first = first_few(rowless["patient_id"] + "/" + rowless["image_id"], 1)
        notes.append(f"{len(rowless)} files have no row in test.csv and are left out (first: {first})")
    exams = exams_of(frame).groupby(frame["prediction_id"]).nunique()
    if len(exams := exams[exams > 1]):
        first = first_few(exams.index)
        notes.append(
            f"{len(exams)} prediction_ids of test.csv hold several exams, which are predicted as one ({first})"
        )
    frame["failure"] = np.where(frame["path"] == "", NO_FILE, "")
    if named and "laterality" in frame.columns:
        known = frame[frame["laterality"].notna()]
        spelt = zip(known["prediction_id"], known["patient_id"], known["laterality"], strict=True)
        fits = [name.startswith(who) and name.rpartition("_")[2][:1].upper() == side for name, who, side in spelt]
        if len(odd := known[~np.array(fits, dtype=bool)]):
            first = first_few(odd["prediction_id"] + " of image " + odd["image_id"])
            notes.append(f"{len(odd):,} rows have a prediction_id unlike their patient_id and laterality ({first})")
    prediction_ids = tuple(dict.fromkeys(frame["prediction_id"]))
    return TestSet(_tell_apart(frame, notes), prediction_ids, tuple(notes), named=True)


def _tell_apart(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Leaves copies of rows out, and gives each image an image_id of its own.

    An image is its patient, its image_id and its file: archives call the images of every patient LCC, RCC and so on.
    """
    image = ["patient_id", "image_id", "path"]
    copies = frame.duplicated([*image, "prediction_id"])
    if copies.any():
        notes.append(
            f"{int(copies.sum())} rows of test.csv repeat an image_id of their patient and prediction_id; each image "
            "counts once"
        )
    frame = frame[~copies].reset_index(drop=True)
    several = frame.duplicated(image)
    if several.any():
        first = first_few(frame.loc[several, "image_id"], 1)
        notes.append(
            f"{int(several.sum())} rows of test.csv name an image under one more prediction_id; it is predicted once "
            f"and counts for each (first: {first})"
        )
    number = frame.groupby(image, sort=False).ngroup()
    named = frame["patient_id"] + "/" + frame["image_id"]
    # Of one patient, too, where the table names its files itself.
    for ids in (named, frame["path"].where(frame["path"].ne(""), named)):
        shared = number.groupby(frame["image_id"]).transform("nunique") > 1
        if shared.any():
            first = first_few(ids[shared], 1)
            notes.append(
                f"{int(shared.sum())} rows of test.csv share an image_id with another image; they are named apart from "
                f"here on (first: {first})"
            )
            frame["image_id"] = frame["image_id"].mask(shared, ids)
    return frame
