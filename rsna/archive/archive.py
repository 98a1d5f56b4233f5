"""A table from any folder of DICOM files: ids, laterality and view from the tags, labels from a CSV."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from rsna.archive.copies import find_copies
from rsna.archive.labels import INTERNAL, Labels, join_labels, name_exams, without_internal
from rsna.archive.patients import identity
from rsna.dataset.exams import count_exams
from rsna.dataset.table import SUFFIXES, TableError, image_id_of
from rsna.dataset.walk import promises_dicom, require_folder, walk_files
from rsna.dicom import ColourImage, DicomError, MultiFrame, NoPixels, NotDicom, NotMammogram, open_mammogram
from rsna.files import atomic_path, first_few, printable, write_atomic
from rsna.parallel.progress import Progress
from rsna.table_file import one_line

_COLUMNS = [
    "patient_id", "image_id", "exam_id", "exam_date", "exam_number", "laterality", "view", "kind", "age", "implant",
    "machine_id", "header_notes", "path",
]  # fmt: skip

_OTHER_KINDS = (ColourImage, MultiFrame, NoPixels, NotMammogram)
"""Whole files that are something else than one mammogram."""

_PACKED = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".iso")
"""Endings of files that may hold images."""

_FAILURES_SHOWN = 10

Reasons = list[tuple[str, str]]
"""(path below the folder, reason)."""


@dataclass
class Archive:
    """What was found in a folder."""

    frame: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=_COLUMNS))
    """patient_id, image_id, exam_id, exam_date (ISO, "" where unknown), exam_number (in time, 1 for a patient's first;
    missing where unknown), laterality, view, kind ("2D", "generated 2D", …), age (whole years), implant (0 or 1, where
    any header says it), machine_id, header_notes (what had to be interpreted), path (below the folder), then the other
    columns of the labels."""
    failures: Reasons = field(default_factory=list)
    """What may have been a mammogram and cannot be used: unreadable files and folders, images without a side."""
    left_out: Reasons = field(default_factory=list)
    """What is no mammogram to be read: other modalities, tomosynthesis, reports, copies, raw images beside processed
    ones."""
    others: list[str] = field(default_factory=list)
    """Files that are no DICOM at all."""
    notes: list[str] = field(default_factory=list)
    """What was guessed, and what did not fit: labels without image, images without labels, headers that contradict
    labels."""

    @property
    def packed(self) -> list[str]:
        """Those of ``others`` that may hold images."""
        return [path for path in self.others if path.lower().endswith(_PACKED)]

    def lines(self) -> list[str]:
        """Everything but the failures, summed up for a person."""
        kinds: dict[str, Reasons] = {}
        for path, reason in self.left_out:
            kinds.setdefault(reason.partition(": ")[0], []).append((path, reason))
        lines = [printable(note) for note in self.notes]
        for group in sorted(kinds.values(), key=len, reverse=True):
            lines.append(f"{len(group):,} files are left out (first: {printable(': '.join(group[0]))})")
        if self.others:
            lines.append(f"{len(self.others):,} files are no DICOM (first: {printable(first_few(self.others))})")
        if self.packed:
            first = printable(first_few(self.packed))
            lines.append(
                f"{len(self.packed):,} of these are archives, and nobody looks into them: unpack them ({first})"
            )
        return lines


def write_table(folder: Path, out: Path, labels: Path | None = None) -> list[str]:
    """Writes the table of an archive, and beside it ``<out>_left_out.csv`` with what is not in it and why.

    Paths are relative in a table beside or above its images, so that both can be moved together; whole elsewhere.

    Returns:
        Lines for a person.

    Raises:
        TableError: ``out`` is there already; see also :func:`scan_archive`.
    """
    refuse_existing(out)
    archive = scan_archive(folder, labels)
    return save_table(archive.frame, folder, out, archive.lines(), archive.failures, archive.left_out)


def refuse_existing(out: Path) -> None:
    """Raises a TableError where a table would be overwritten."""
    if out.exists():
        raise TableError(f"{out}: is there already and is not overwritten; remove it, or name another with out=FILE")


def save_table(
    frame: pd.DataFrame, folder: Path, out: Path, notes: Sequence[str], failures: Reasons, left_out: Reasons
) -> list[str]:
    """Writes images whose ``path`` begins in ``folder``, or is whole, and the list of what is not among them.

    Returns:
        Lines for a person.
    """
    images, beside = folder.resolve(), out.parent.resolve()
    above = images.relative_to(beside) if images.is_relative_to(beside) else images
    frame = frame.assign(path=[str(above / path) for path in frame["path"]])
    with atomic_path(out) as temporary:
        frame.to_csv(temporary, index=False)
    views = ", ".join(f"{view or 'without view'} {n:,}" for view, n in frame["view"].value_counts().items())
    exams = f"{count_exams(frame):,} exams of {frame['patient_id'].nunique():,} patients"
    lines = [f"{out}: {len(frame):,} images, {exams} ({views})"]
    lines += [f"note: {line}" for line in notes]
    lines += [f"cannot be used: {printable(path)}: {printable(reason)}" for path, reason in failures[:_FAILURES_SHOWN]]
    if missing := failures + left_out:
        listed = out.with_name(f"{out.stem}_left_out.csv")
        write_atomic(listed, pd.DataFrame(missing, columns=["path", "reason"]).to_csv(index=False))
        lines.append(f"{listed}: {len(failures):,} files that cannot be used, {len(left_out):,} left out")
    return lines


def scan_archive(folder: Path, labels: Path | None = None) -> Archive:
    """Reads the header of every file below ``folder``; links are followed, what is hidden is passed over.

    Copies count once. A file's name is its image_id where names differ, else its SOP Instance UID is, else its path.
    Whose image it is and of which exam is told by :func:`rsna.archive.patients.name_patients`.

    Args:
        folder: Any folder.
        labels: CSV joined on image_id, or else on patient_id with exam and laterality as far as it has them, or else on
            exam_id. Its columns fill in what the headers do not say.

    Raises:
        TableError: No folder, no mammogram in it, labels without a key or for none of the images.
    """
    require_folder(folder)
    archive = Archive()
    given = Labels.read(labels) if labels else None
    headers = _read_headers(folder, archive)
    if len(headers):
        labelled = given.image_ids if given else ()
        copies, notes = find_copies(folder, headers["path"].tolist(), headers["uid"].tolist(), labelled)
        archive.left_out += copies
        archive.notes += notes
        headers = headers[~headers["path"].isin([path for path, _ in copies])].reset_index(drop=True)
        archive.notes += _kinds_of_notes(headers)
        archive.notes += _one_blank(headers)
        headers["image_id"] = _image_ids(headers["path"].tolist(), headers["uid"].tolist(), archive.notes)
        name = folder.resolve().name
        with Progress("tell patients and exams apart"):
            frame, notes = join_labels(headers, given, name) if given else name_exams(headers, name)
        archive.notes += notes
        sided = frame["laterality"].isin(["L", "R"])
        reason = "ImageLaterality (0020,0062) and Laterality (0020,0060) name neither L nor R, and no label does"
        archive.failures += [(path, reason) for path in frame.loc[~sided, "path"]]
        raw = _has_processed_twin(frame, frame["intent"].where(sided, ""), archive)
        archive.frame = without_internal(frame[sided & ~raw]).reset_index(drop=True)
        for kind, paths in archive.frame.groupby("kind")["path"]:
            if kind != "2D":
                archive.notes.append(f"{len(paths):,} images are {kind} (first: {paths.iloc[0]})")
    archive.failures.sort()
    archive.left_out.sort()
    if archive.frame.empty:
        first = next((f"; first: {path}: {reason}" for path, reason in [*archive.failures, *archive.left_out]), "")
        pictures = any(Path(path).suffix.lower() in SUFFIXES for path in archive.others)
        mend = "; of pictures a table has to say patient, side and path" if pictures else ""
        mend += f"; {len(archive.packed)} are archives: unpack them" if archive.packed else ""
        raise TableError(
            f"{folder}: holds no mammogram ({len(archive.failures)} files cannot be used, {len(archive.left_out)} are "
            f"left out, {len(archive.others)} are no DICOM{first}){mend}"
        )
    return archive


def _read_headers(folder: Path, archive: Archive) -> pd.DataFrame:
    """A row for each mammogram, with what its header says; everything else is put down in ``archive``."""
    rows = []
    tree = walk_files(folder)
    archive.failures += tree.failures
    archive.left_out += [(path, f"Link: leads to the same as {first}") for path, first in tree.links]
    with Progress("read headers", len(tree.files), "files") as progress:
        for path in progress.over(tree.files):
            progress.failed = len(archive.failures)
            name = str(path.relative_to(folder))
            try:
                mammogram = open_mammogram(path)
                tags = mammogram.tags
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
                    **identity(tags, name),
                    "header_notes": "; ".join(mammogram.notes),
                    "implant": None if tags.implant is None else int(tags.implant),
                    "machine_id": tags.machine,
                    "uid": tags.sop_instance_uid,
                }
            )
    columns = dict.fromkeys([*_COLUMNS, *INTERNAL])
    headers = pd.DataFrame(rows, columns=[*columns]).astype(dict.fromkeys(("age", "implant", "exam_number"), "Int64"))
    return headers.drop(columns="implant") if headers["implant"].isna().all() else headers


def _kinds_of_notes(headers: pd.DataFrame) -> list[str]:
    """A line for each kind of note, with the first of it: notes are of a kind where they differ in what they quote."""
    notes = headers.set_index("path")["header_notes"].str.split("; ").explode()
    notes = notes[notes.ne("")]
    kinds = notes.groupby(notes.str.replace(r"'[^']*'", "", regex=True), sort=False)
    return [f"{len(kind):,} headers: {kind.iloc[0]} (first: {kind.index[0]})" for _, kind in kinds]


def _one_blank(headers: pd.DataFrame) -> list[str]:
    """Patient IDs with one blank for any, which is how tables are read; in place."""
    given = headers["patient_id"]
    headers["patient_id"] = given.map(one_line)
    changed = given.str.strip().ne(headers["patient_id"])
    if not changed.any():
        return []
    shown = first_few(sorted({repr(one) for one in given[changed]}))
    return [f"{int(changed.sum()):,} images have a Patient ID (0010,0020) of which blanks become one blank ({shown})"]


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


def _has_processed_twin(frame: pd.DataFrame, intent: pd.Series, archive: Archive) -> pd.Series:
    """FOR PROCESSING images whose exam has the same breast and view FOR PRESENTATION, too."""
    exposure = frame[["patient_id", "exam_id", "laterality", "view", "kind"]].agg("\0".join, axis=1)
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
