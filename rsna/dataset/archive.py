"""A table from any folder of DICOM files: ids, laterality and view from the tags, labels from a CSV."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rsna.dataset.table import TableError, read_csv
from rsna.dicom import DicomError, open_mammogram
from rsna.dicom.errors import NotDicom


@dataclass(frozen=True)
class Archive:
    """What was found in a folder."""

    frame: pd.DataFrame
    """patient_id, image_id, laterality, view, age (years), machine_id, path (below the folder), then joined labels."""
    skipped: pd.DataFrame
    """path and reason of every DICOM file that is no mammogram that can be used."""
    others: int
    """Files that are no DICOM at all."""


def scan_archive(folder: Path, labels: Path | None = None) -> Archive:
    """Reads the header of every file below ``folder``.

    A file's name is its image_id where names differ, else its SOP Instance UID is. A missing PatientID is taken from
    the folder that the file lies in. Links are not followed.

    Args:
        folder: Any folder.
        labels: CSV joined on image_id, or else on patient_id and laterality, or else on patient_id.

    Raises:
        TableError: No folder, no mammogram in it, labels without a key or for none of the images.
    """
    if not folder.is_dir():
        raise TableError(f"{folder}: there is no such folder")
    rows, skipped, others = [], [], 0
    for path in _files(folder):
        name = str(path.relative_to(folder))
        try:
            tags = open_mammogram(path).tags
        except NotDicom:
            others += 1
            continue
        except DicomError as error:
            skipped.append((name, str(error)))
            continue
        if tags.laterality not in ("L", "R"):
            skipped.append((name, "ImageLaterality (0020,0062) and Laterality (0020,0060) name neither L nor R"))
            continue
        patient = tags.patient_id or path.parent.name
        machine = f"{tags.manufacturer} {tags.model}".strip()
        age = tags.patient_age.strip("0Yy") or None
        rows.append((patient, path.stem, tags.sop_instance_uid, tags.laterality, tags.view, age, machine, name))
    if not rows:
        raise TableError(
            f"{folder}: holds no mammogram ({len(skipped)} DICOM files cannot be used, {others} are others)"
        )
    columns = ["patient_id", "image_id", "uid", "laterality", "view", "age", "machine_id", "path"]
    frame = pd.DataFrame(rows, columns=columns)
    if frame["image_id"].duplicated().any():
        frame["image_id"] = frame["uid"]
    frame = frame.drop(columns="uid")
    if labels:
        frame = _join(frame, labels)
    return Archive(frame, pd.DataFrame(skipped, columns=["path", "reason"]), others)


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            # Sockets and pipes are no files; opening one fails, or waits for ever.
            if not name.startswith(".") and not path.is_symlink() and path.is_file():
                yield path


def _join(frame: pd.DataFrame, labels: Path) -> pd.DataFrame:
    table = read_csv(labels)
    candidates = (["image_id"], ["patient_id", "laterality"], ["patient_id"])
    keys = next((k for k in candidates if set(k) <= set(table.columns)), None)
    if keys is None:
        raise TableError(f"{labels}: needs a column image_id or patient_id to be joined on")
    doubled = table[keys].duplicated()
    if doubled.any():
        raise TableError(
            f"{labels}: {int(doubled.sum())} rows repeat an earlier {' and '.join(keys)}; keep one of each"
        )
    added = [c for c in table.columns if c not in frame.columns]
    joined = frame.merge(table[[*keys, *added]], on=keys, how="left", indicator=True)
    if not joined["_merge"].eq("both").any():
        raise TableError(f"{labels}: no {' and '.join(keys)} of it is in the folder (first: {table[keys[0]].iloc[0]})")
    return joined.drop(columns="_merge")
