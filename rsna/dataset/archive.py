"""A table from any folder of DICOM files: ids, laterality and view from the tags, labels from a CSV."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rsna.dataset.labels import join_labels, read_labels
from rsna.dataset.table import TableError, image_id_of
from rsna.dataset.walk import promises_dicom, walk_files
from rsna.dicom import ColourImage, DicomError, Localizer, MultiFrame, NoPixels, NotDicom, Tags, open_mammogram

_COLUMNS = ["patient_id", "image_id", "laterality", "view", "age", "machine_id", "path"]

_OTHER_KINDS = (ColourImage, Localizer, MultiFrame, NoPixels)
"""Whole files that are something else than one mammogram."""

_YEARS = {"Y": 1, "M": 12, "W": 52, "D": 365}
"""Units of an Age String (PS3.5 6.2), as parts of a year."""

_SHOWN = 3
"""Examples that a line lists."""

Reasons = list[tuple[str, str]]
"""(path below the folder, reason)."""


@dataclass(frozen=True)
class Archive:
    """What was found in a folder."""

    frame: pd.DataFrame
    """patient_id, image_id, laterality, view, age (whole years), machine_id, path (below the folder), then the other
    columns of the labels."""
    failures: Reasons
    """What may have been a mammogram and is lost: files and folders that cannot be read, images without a side."""
    left_out: Reasons
    """What is no mammogram to be read: other modalities, tomosynthesis, reports, raw images beside processed ones."""
    others: tuple[str, ...]
    """Files that are no DICOM at all."""
    notes: tuple[str, ...]
    """What did not fit: labels without image, images without labels, headers that contradict labels."""

    def lines(self) -> list[str]:
        """Everything but the failures, summed up for a person."""
        kinds: dict[str, Reasons] = {}
        for path, reason in self.left_out:
            kinds.setdefault(reason.partition(": ")[0], []).append((path, reason))
        lines = list(self.notes)
        for group in sorted(kinds.values(), key=len, reverse=True):
            lines.append(f"{len(group):,} files are left out (first: {': '.join(group[0])})")
        if self.others:
            lines.append(f"{len(self.others):,} files are no DICOM ({_first(self.others)})")
        return lines


@dataclass
class _Found:
    """What a scan comes upon."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: Reasons = field(default_factory=list)
    left_out: Reasons = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scan_archive(folder: Path, labels: Path | None = None) -> Archive:
    """Reads the header of every file below ``folder``; links are followed, what is hidden is passed over.

    A file's name is its image_id where names differ, else its SOP Instance UID is, else its path. A missing PatientID
    is taken from the labels, or from the folder that the file lies in.

    Args:
        folder: Any folder.
        labels: CSV joined on image_id, or else on patient_id and laterality, or else on patient_id. Its columns fill
            in what the headers do not say.

    Raises:
        TableError: No folder, no mammogram in it, labels without a key or for none of the images.
    """
    if not folder.is_dir():
        raise TableError(f"{folder}: there is no such folder")
    found = _Found()
    _read_headers(folder, found)
    facts = pd.DataFrame(found.rows, columns=[*_COLUMNS, "uid", "study", "intent", "parent"])
    facts["age"] = facts["age"].astype("Int64")
    if len(facts):
        facts["image_id"] = _image_ids(facts["path"].tolist(), facts["uid"].tolist(), found.notes)
    frame = _labelled(facts, labels, found.notes) if len(facts) else facts[_COLUMNS]
    keep = _with_a_side(frame, found)
    keep &= ~_raw_twins(frame, facts["study"], facts["intent"], keep, found)
    frame = frame[keep].reset_index(drop=True)
    if frame.empty:
        raise TableError(f"{folder}: holds no mammogram{_counted(found)}")
    return Archive(frame, sorted(found.failures), sorted(found.left_out), tuple(found.others), tuple(found.notes))


def age_in_years(text: str) -> int | None:
    """(0010,1010) Patient's Age, such as 045Y or 018M (PS3.5 6.2), in whole years; None where it is malformed."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", text.strip().upper())
    return int(match[1]) // _YEARS[match[2]] if match else None


def _read_headers(folder: Path, found: _Found) -> None:
    tree = walk_files(folder)
    found.failures += tree.lost
    for path in tree.files:
        name = str(path.relative_to(folder))
        try:
            tags = open_mammogram(path).tags
        except OSError as error:
            found.failures.append((name, f"{type(error).__name__}: {error.strerror}"))
        except NotDicom as error:
            if promises_dicom(path):
                found.failures.append((name, _reason(error)))
            else:
                found.others.append(name)
        except _OTHER_KINDS as error:
            found.left_out.append((name, _reason(error)))
        except DicomError as error:
            found.failures.append((name, _reason(error)))
        else:
            if tags.modality.upper() in ("", "MG"):
                found.rows.append(_row(tags, name, path.parent.name))
            else:
                found.left_out.append((name, f"Modality (0008,0060) is {tags.modality}, not MG"))


def _row(tags: Tags, name: str, parent: str) -> dict[str, Any]:
    return {
        "patient_id": tags.patient_id,
        "laterality": tags.laterality if tags.laterality in ("L", "R") else "",
        "view": tags.view,
        "age": age_in_years(tags.patient_age),
        "machine_id": f"{tags.manufacturer} {tags.model}".strip(),
        "path": name,
        "uid": tags.sop_instance_uid,
        "study": tags.study_instance_uid,
        "intent": tags.presentation_intent,
        "parent": parent,
    }


def _image_ids(paths: Sequence[str], uids: Sequence[str], notes: list[str]) -> Sequence[str]:
    """One id a file: its name, else its UID, else its path; the first of which no two are alike."""
    names = [image_id_of(path) for path in paths]
    if len(set(names)) == len(names):
        return names
    flat = [image_id_of(path.replace(os.sep, "_")) for path in paths]
    candidates = (("SOP Instance UID (0008,0018)", uids), ("path, / as _", flat), ("path", paths))
    what, ids = next((what, ids) for what, ids in candidates if all(ids) and len(set(ids)) == len(ids))
    repeated = pd.Series(names)[pd.Series(names).duplicated()]
    notes.append(f"file names repeat ({_first(repeated)}), so an image_id is the file's {what}")
    return ids


def _labelled(facts: pd.DataFrame, labels: Path | None, notes: list[str]) -> pd.DataFrame:
    """The table's columns, with what the labels add and fill in."""
    frame = facts[_COLUMNS]
    by_folder = frame["patient_id"].mask(frame["patient_id"].eq(""), facts["parent"])
    if labels is None:
        return frame.assign(patient_id=by_folder)
    table, keys = read_labels(labels)
    if "patient_id" in keys:
        frame = frame.assign(patient_id=by_folder)
    frame, said = join_labels(frame, table, keys, labels)
    notes += said
    return frame.assign(patient_id=frame["patient_id"].mask(frame["patient_id"].eq(""), facts["parent"]))


def _with_a_side(frame: pd.DataFrame, found: _Found) -> pd.Series:
    sided = frame["laterality"].isin(["L", "R"])
    reason = "ImageLaterality (0020,0062) and Laterality (0020,0060) name neither L nor R, and no label does"
    found.failures += [(path, reason) for path in frame.loc[~sided, "path"]]
    return sided


def _raw_twins(frame: pd.DataFrame, study: pd.Series, intent: pd.Series, keep: pd.Series, found: _Found) -> pd.Series:
    """FOR PROCESSING images whose study has the same breast and view FOR PRESENTATION, too."""
    shown = frame["patient_id"] + "\0" + study + "\0" + frame["laterality"] + "\0" + frame["view"]
    raw = intent.eq("FOR PROCESSING") & keep
    twin = raw & frame["view"].ne("") & shown.isin(shown[intent.eq("FOR PRESENTATION") & keep])
    reason = "Presentation Intent (0008,0068) is FOR PROCESSING, and the view is there FOR PRESENTATION"
    found.left_out += [(path, reason) for path in frame.loc[twin, "path"]]
    alone = frame.loc[raw & ~twin, "path"]
    if len(alone):
        found.notes.append(
            f"{len(alone):,} images are FOR PROCESSING (0008,0068) and are kept, as their view is not there "
            f"FOR PRESENTATION ({_first(alone)})"
        )
    return twin


def _reason(error: DicomError) -> str:
    return f"{type(error).__name__}: {error.what}. {error.remedy}"


def _counted(found: _Found) -> str:
    parts = [
        f"{len(found.failures)} files cannot be used",
        f"{len(found.left_out)} are left out",
        f"{len(found.others)} are no DICOM",
    ]
    first = next(iter([*found.failures, *found.left_out]), None)
    return f" ({', '.join(parts)}" + (f"; first: {': '.join(first)})" if first else ")")


def _first(names: Iterable[str]) -> str:
    names = list(names)
    return f"first: {', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}"
