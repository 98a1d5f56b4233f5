"""A table from any folder of DICOM files: ids, laterality and view from the tags, labels from a CSV."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pandas as pd

from rsna.dataset.table import TableError, image_id_of, read_csv, refuse_rows
from rsna.dataset.walk import promises_dicom, walk_files
from rsna.dicom import ColourImage, DicomError, Localizer, MultiFrame, NoPixels, NotDicom, open_mammogram
from rsna.files import atomic_path, first_few, write_atomic

_COLUMNS = ["patient_id", "image_id", "laterality", "view", "age", "machine_id", "path"]

_OTHER_KINDS = (ColourImage, Localizer, MultiFrame, NoPixels)
"""Whole files that are something else than one mammogram."""

_YEARS = {"Y": 1, "M": 12, "W": 52, "D": 365}
"""Units of an Age String (PS3.5 6.2), as parts of a year."""

_FAILURES_SHOWN = 10

_KEYS = (["image_id"], ["patient_id", "laterality"], ["patient_id"])
"""What labels may be joined on; the first that the CSV has."""

_GIVEN = "\0given"
"""Behind the name of a column that headers and CSV both have, while they are compared."""

_SHOWN = 3
"""Examples that a note lists."""

Reasons = list[tuple[str, str]]
"""(path below the folder, reason)."""


@dataclass
class Archive:
    """What was found in a folder."""

    frame: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=_COLUMNS))
    """patient_id, image_id, laterality, view, age (whole years), machine_id, path (below the folder), then the other
    columns of the labels."""
    failures: Reasons = field(default_factory=list)
    """What may have been a mammogram and cannot be used: unreadable files and folders, images without a side."""
    left_out: Reasons = field(default_factory=list)
    """What is no mammogram to be read: other modalities, tomosynthesis, reports, raw images beside processed ones."""
    others: list[str] = field(default_factory=list)
    """Files that are no DICOM at all."""
    notes: list[str] = field(default_factory=list)
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
            lines.append(f"{len(self.others):,} files are no DICOM (first: {first_few(self.others)})")
        return lines


def write_table(folder: Path, out: Path, labels: Path | None = None) -> list[str]:
    """Writes the table of an archive, and beside it ``<out>_left_out.csv`` with what is not in it and why.

    Paths are relative in a table beside or above its images, so that both can be moved together; whole elsewhere.

    Returns:
        Lines for a person.

    Raises:
        TableError: ``out`` is there already; see also :func:`scan_archive`.
    """
    if out.exists():
        raise TableError(f"{out}: is there already and is not overwritten; remove it, or name another with out=FILE")
    archive = scan_archive(folder, labels)
    images, beside = folder.resolve(), out.parent.resolve()
    above = images.relative_to(beside) if images.is_relative_to(beside) else images
    frame = archive.frame.assign(path=[str(above / path) for path in archive.frame["path"]])
    with atomic_path(out) as temporary:
        frame.to_csv(temporary, index=False)
    views = ", ".join(f"{view or 'without view'} {n:,}" for view, n in frame["view"].value_counts().items())
    lines = [f"{out}: {len(frame):,} images of {frame['patient_id'].nunique():,} patients ({views})"]
    lines += [f"note: {line}" for line in archive.lines()]
    lines += [f"cannot be used: {path}: {reason}" for path, reason in archive.failures[:_FAILURES_SHOWN]]
    if missing := archive.failures + archive.left_out:
        listed = out.with_name(f"{out.stem}_left_out.csv")
        write_atomic(listed, pd.DataFrame(missing, columns=["path", "reason"]).to_csv(index=False))
        counts = f"{len(archive.failures):,} files that cannot be used, {len(archive.left_out):,} left out"
        lines.append(f"{listed}: {counts}")
    return lines


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
    archive = Archive()
    headers = _read_headers(folder, archive)
    if len(headers):
        headers["image_id"] = _image_ids(headers["path"].tolist(), headers["uid"].tolist(), archive.notes)
        frame, parents = headers[_COLUMNS], headers["parent"]
        if labels is None:
            frame = _name_patients(frame, parents)
        else:
            frame, notes = _join_labels(frame, parents, labels)
            archive.notes += notes
        sided = frame["laterality"].isin(["L", "R"])
        reason = "ImageLaterality (0020,0062) and Laterality (0020,0060) name neither L nor R, and no label does"
        archive.failures += [(path, reason) for path in frame.loc[~sided, "path"]]
        raw = _has_processed_twin(frame, headers["study"], headers["intent"].where(sided, ""), archive)
        archive.frame = frame[sided & ~raw].reset_index(drop=True)
    archive.failures.sort()
    archive.left_out.sort()
    if archive.frame.empty:
        first = next((f"; first: {path}: {reason}" for path, reason in [*archive.failures, *archive.left_out]), "")
        raise TableError(
            f"{folder}: holds no mammogram ({len(archive.failures)} files cannot be used, {len(archive.left_out)} are "
            f"left out, {len(archive.others)} are no DICOM{first})"
        )
    return archive


def age_in_years(text: str) -> int | None:
    """(0010,1010) Patient's Age, such as 045Y or 018M (PS3.5 6.2), in whole years; None where it is malformed."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", text.strip().upper())
    return int(match[1]) // _YEARS[match[2]] if match else None


def _read_headers(folder: Path, archive: Archive) -> pd.DataFrame:
    """A row for each mammogram, with what its header says; everything else is put down in ``archive``."""
    rows = []
    tree = walk_files(folder)
    archive.failures += tree.failures
    for path in tree.files:
        name = str(path.relative_to(folder))
        try:
            tags = open_mammogram(path).tags
        except OSError as error:
            archive.failures.append((name, f"{type(error).__name__}: {error.strerror}"))
            continue
        except DicomError as error:
            reason = f"{type(error).__name__}: {error.what}. {error.remedy}"
            if isinstance(error, NotDicom) and not promises_dicom(path):
                archive.others.append(name)
            else:
                (archive.left_out if isinstance(error, _OTHER_KINDS) else archive.failures).append((name, reason))
            continue
        # The competition's files have no Modality: what does not say is taken for a mammogram.
        if tags.modality.upper() not in ("", "MG"):
            archive.left_out.append((name, f"Modality (0008,0060) is {tags.modality}, not MG"))
            continue
        rows.append(
            {
                "patient_id": tags.patient_id,
                "laterality": tags.laterality if tags.laterality in ("L", "R") else "",
                "view": tags.view,
                "age": age_in_years(tags.patient_age),
                "machine_id": f"{tags.manufacturer} {tags.model}".strip(),
                "path": name,
                "uid": tags.sop_instance_uid,
                "study": tags.study_instance_uid,
                "intent": tags.presentation_intent,
                "parent": path.parent.name,
            }
        )
    return pd.DataFrame(rows, columns=[*_COLUMNS, "uid", "study", "intent", "parent"]).astype({"age": "Int64"})


def _image_ids(paths: Sequence[str], uids: Sequence[str], notes: list[str]) -> Sequence[str]:
    """One id a file: its name, else its UID, else its path; the first of which no two are alike."""
    names = [image_id_of(path) for path in paths]
    if len(set(names)) == len(names):
        return names
    flat = [image_id_of(path.replace(os.sep, "_")) for path in paths]
    candidates = (("SOP Instance UID (0008,0018)", uids), ("path, / as _", flat), ("path", paths))
    what, ids = next((what, ids) for what, ids in candidates if all(ids) and len(set(ids)) == len(ids))
    repeated = pd.Series(names)[pd.Series(names).duplicated()]
    notes.append(f"file names repeat (first: {first_few(repeated)}), so an image_id is the file's {what}")
    return ids


def _has_processed_twin(frame: pd.DataFrame, study: pd.Series, intent: pd.Series, archive: Archive) -> pd.Series:
    """FOR PROCESSING images whose study has the same breast and view FOR PRESENTATION, too."""
    exposure = frame["patient_id"] + "\0" + study + "\0" + frame["laterality"] + "\0" + frame["view"]
    raw = intent.eq("FOR PROCESSING")
    twin = raw & frame["view"].ne("") & exposure.isin(exposure[intent.eq("FOR PRESENTATION")])
    reason = "Presentation Intent (0008,0068) is FOR PROCESSING, and the view is there FOR PRESENTATION"
    archive.left_out += [(path, reason) for path in frame.loc[twin, "path"]]
    alone = frame.loc[raw & ~twin, "path"]
    if len(alone):
        archive.notes.append(
            f"{len(alone):,} images are FOR PROCESSING (0008,0068) and are kept, as their view is not there "
            f"FOR PRESENTATION (first: {first_few(alone)})"
        )
    return twin


def _join_labels(frame: pd.DataFrame, parents: pd.Series, labels: Path) -> tuple[pd.DataFrame, list[str]]:
    """Adds the columns of a CSV; where header and CSV both have a value, the header's stands.

    ``parents`` are the folders of the files: each stands for a patient that neither header nor CSV names. Returns the
    frame in its own order, reindexed, and notes on what did not fit.
    """
    # Where the images are is known better from having found them.
    table = read_csv(labels).drop(columns="path", errors="ignore")
    keys = next((k for k in _KEYS if set(k) <= set(table.columns)), None)
    if keys is None:
        raise TableError(f"{labels}: needs a column image_id or patient_id to be joined on")
    key, names = " and ".join(keys), table[keys].astype(str).agg("_".join, axis=1)
    refuse_rows(table.duplicated(keys), names, labels, f"rows repeat an earlier {key}; keep one of each")
    if "patient_id" in keys:
        frame = _name_patients(frame, parents)
    joined = frame.merge(table, on=keys, how="left", suffixes=("", _GIVEN), indicator="\0side")
    bare = joined.pop("\0side").eq("left_only")
    if bare.all():
        raise TableError(f"{labels}: no {key} of it is in the folder (first: {first_few(names)})")
    notes = []
    if bare.any():
        first = first_few(joined["path"][bare])
        notes.append(f"{int(bare.sum()):,} images have no row in {labels} (first: {first})")
    idle = ~table.set_index(keys).index.isin(frame.set_index(keys).index)
    if idle.any():
        notes.append(f"{int(idle.sum()):,} rows of {labels} have no image (first: {first_few(names[idle])})")
    for column in [c for c in frame.columns if c + _GIVEN in joined.columns]:
        header, given = joined[column], joined[column + _GIVEN]
        joined[column], differs = _fill(header, given)
        if differs.any():
            sides = zip(joined["image_id"][differs], _text(header[differs]), _text(given[differs]), strict=True)
            shown = "; ".join(f"{image_id}: {ours}, not {theirs}" for image_id, ours, theirs in islice(sides, _SHOWN))
            notes.append(
                f"{int(differs.sum()):,} images have another {column} in {labels} than in their header, which stands "
                f"({shown})"
            )
    added = [c for c in table.columns if c not in frame.columns]
    # Whole numbers stay such where some images have no label.
    joined = joined[[*frame.columns, *added]].assign(**joined[added].convert_dtypes())
    return _name_patients(joined, parents), notes


def _name_patients(frame: pd.DataFrame, parents: pd.Series) -> pd.DataFrame:
    """Patients that nothing names are called by the folder that their file lies in."""
    return frame.assign(patient_id=frame["patient_id"].mask(frame["patient_id"].eq(""), parents))


def _fill(header: pd.Series, given: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The header's value, or the given one where there is none; and where the two differ."""
    if pd.api.types.is_numeric_dtype(header):
        given = pd.to_numeric(given, errors="coerce").astype("Float64")
        differs = header.ne(given).fillna(False)
        return header.astype("Float64").fillna(given).astype(float).convert_dtypes(), differs.astype(bool)
    text, said = _text(given), header.ne("")
    return header.where(said, text).astype(str), said & text.ne("") & header.ne(text)


def _text(values: pd.Series) -> pd.Series:
    """Values as a person writes them: a whole number has no decimals, a missing value is ""."""
    text = values.astype("string").str.strip().fillna("")
    return text.str.removesuffix(".0") if pd.api.types.is_numeric_dtype(values) else text
