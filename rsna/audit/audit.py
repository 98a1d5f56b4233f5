"""Look at a set before anyone trains on it: what it is made of, what cannot be read, what contradicts itself."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from rsna.archive.patients import identity, name_patients
from rsna.audit.browse import browse
from rsna.audit.probe import Probe, find_duplicates, probe
from rsna.config.data import PreprocessSettings
from rsna.dataset.adapters import competition, find_adapter, read_unlabelled
from rsna.dataset.exams import count_exams, exams_of, name_breasts
from rsna.dataset.folds import UNKNOWN, name_parts
from rsna.dataset.prevalence import LabelCounts, label_doubts
from rsna.dataset.table import LABELS, SUFFIXES, TableError, image_id_of
from rsna.dataset.walk import promises_dicom, require_folder, walk_files
from rsna.dicom.frame import may_be_dicom
from rsna.files import file_name, first_few, printable, write_atomic
from rsna.parallel.pool import map_tasks
from rsna.parallel.progress import Progress
from rsna.prepare.value_range import FEW_LEVELS, measured
from rsna.table_file import one_line

if TYPE_CHECKING:
    from rsna.parallel.cluster import Cluster

_FROM_HEADERS = ("patient_id", "laterality", "view")
"""Columns that a table may leave to the headers."""

ATTRIBUTES = {
    "modality": "modality",
    "presentation_intent": "presentation intent",
    "syntax": "transfer syntax",
    "machine": "machine",
    "size": "size, rows × columns",
    "bits_stored": "bits stored",
    "photometric": "photometric interpretation",
    "window_function": "window function",
    "windows": "windows to choose from",
    "view": "view",
    "laterality": "laterality",
    "kind": "kind of view",
}
"""Columns of the images that are counted, and what they are called."""

Issue = tuple[str, str, str]
"""(kind, id of the image, breast or patient, detail)."""

_STANDARD_VIEWS = tuple(f"{side} {view}" for side in "LR" for view in ("CC", "MLO"))
"""The four images of a screening examination."""

_CONTRADICTIONS = (
    ("cancer without a biopsy", {"cancer": 1, "biopsy": 0}),
    ("invasive without cancer", {"invasive": 1, "cancer": 0}),
    ("difficult negative case with cancer", {"difficult_negative_case": 1, "cancer": 1}),
)
"""Values of two labels that no image can have at once."""

_NO_BREAST_SHOWN = 60
"""Images without a breast that are drawn: five sheets."""

_VALUES_SHOWN, _ISSUES_SHOWN = 12, 5
"""What the text lists before it only counts."""


@dataclass(frozen=True)
class AuditReport:
    """What an audit found."""

    root: Path
    """The folder that was looked at."""
    folder: Path
    """Where audit.txt, images.csv, issues.csv and the sheets are."""
    images: pd.DataFrame
    """One row an image: the table's columns, path ("" where there is no file), `ATTRIBUTES`, header_patient_id,
    header_laterality, header_view, header_notes (what had to be interpreted), and in failure why the file cannot be
    read ("" where it can)."""
    issues: pd.DataFrame
    """kind, id, detail: unreadable files, equal pixels, contradictions, missing views."""
    sheets: list[Path]
    """Contact sheets, machine by machine."""
    value_range: str = ""
    """What was measured for files without a window, and how training will show them."""
    notes: tuple[str, ...] = ()
    """How the table was read, and whose images a folder holds, where that had to be guessed."""

    @property
    def readable(self) -> pd.DataFrame:
        """The images whose file can be read."""
        return self.images[self.images["path"].ne("") & self.images["failure"].eq("")]

    def counts(self, attribute: str) -> pd.Series:
        """Readable images by value of one of `ATTRIBUTES`, the most frequent first; "" is shown as (not said)."""
        return self.readable[attribute].replace("", "(not said)").value_counts()

    def text(self) -> str:
        """The report for a person; ends with a line break."""
        lines = [f"{self.root}: {self._sums()}", *(f"note: {note}" for note in self.notes)]
        for attribute, title in ATTRIBUTES.items():
            lines += ["", title]
            counts = self.counts(attribute)
            lines += [f"  {count:>9,}  {printable(str(value))}" for value, count in counts.head(_VALUES_SHOWN).items()]
            if len(counts) > _VALUES_SHOWN:
                lines.append(f"  {counts.iloc[_VALUES_SHOWN:].sum():>9,}  {len(counts) - _VALUES_SHOWN} others")
        lines += ["", "value range", f"  {self.value_range}"] * bool(self.value_range)
        lines += ["", f"{len(self.issues):,} issues" if len(self.issues) else "nothing suspicious"]
        for kind, group in self.issues.groupby("kind", sort=False):
            lines.append(f"  {len(group):>9,}  {kind}")
            shown = group.head(_ISSUES_SHOWN)
            lines += [
                f"             {printable(str(row.id))}  {printable(str(row.detail))}".rstrip()
                for row in shown.itertuples()
            ]
            if len(group) > len(shown):
                lines.append(f"             … {len(group) - len(shown):,} more in issues.csv")
        lines += ["", f"{self.folder}: images.csv, issues.csv" + (f", {len(self.sheets)} sheets" * bool(self.sheets))]
        return "\n".join(lines) + "\n"

    def _sums(self) -> str:
        images = self.images
        known = images[images["patient_id"].ne("")]  # what cannot be read is nobody's
        shown = known[known["laterality"].isin(["L", "R"])]
        patients, exams, breasts = known["patient_id"].nunique(), count_exams(known), name_breasts(shown).nunique()
        of = f"{exams:,} exams of " if exams > patients else ""
        sums = [f"{len(images):,} images", f"{of}{patients:,} patients", f"{breasts:,} breasts"]
        if bare := len(images) - len(shown):
            sums[-1] += f" ({bare:,} images do not tell whose or which)"
        if "cancer" in images.columns:
            sums.append(str(LabelCounts.of(shown)))
        unreadable = int(images["failure"].ne("").sum())
        return ", ".join(sums) + f"; {unreadable:,} files cannot be read"


def audit(
    root: str | Path,
    out: str | Path,
    settings: PreprocessSettings,
    *,
    sheet_images: int = 12,
    workers: int | None = None,
    file_timeout: float = 60.0,
    cluster: "Cluster | None" = None,
) -> AuditReport:
    """Audits a set in a layout that an adapter knows, or any folder of images; nothing needs to be right beforehand.

    Args:
        root: Folder of the set, or any folder of DICOM, PNG, JPEG and PGM files.
        out: Folder for audit.txt, images.csv, issues.csv and the sheets.
        settings: How the images on the sheets are prepared.
        sheet_images: Images shown of each machine; 0 for no sheets.
        workers: Processes; None for one a core.
        file_timeout: Seconds after which a file counts as unreadable.
        cluster: Whose nodes look at the files; None for this machine, which draws the sheets in any case.

    Raises:
        TableError: There is no such folder, no image in it, or its table cannot be read.
        ClusterError: The nodes of the cluster cannot do it.
    """
    root, out = Path(root).expanduser(), Path(out)
    images, found_early, notes = _find_images(root)
    paths = {place: path for place, path in enumerate(images["path"]) if path}

    places = list(paths)
    probes: dict[int, Probe] = {}
    failures: dict[int, str] = {}
    if cluster:
        cluster.require_visible(list(paths.values())[:1])
    settings, found = measured(settings, paths.values())
    task = partial(probe, settings=settings)
    with Progress("audit", len(paths), "files") as progress:
        for outcome in map_tasks(task, paths.values(), workers=workers, timeout=file_timeout, cluster=cluster):
            if outcome.value is not None:
                probes[places[outcome.index]] = outcome.value
            else:
                failures[places[outcome.index]] = str(outcome.failure)
            progress.step(failed=outcome.value is None)
    images = _with_headers(images, probes).assign(failure=[failures.get(place, "") for place in images.index])

    image_ids = images["image_id"].tolist()
    issues: list[Issue] = [("unreadable", image_ids[place], failure) for place, failure in failures.items()]
    issues += found_early
    if "in_table" not in images.columns:
        images, guesses = _name_patients(images, probes, root)
        notes = (*notes, *guesses)
    for group in find_duplicates(paths, probes, workers, file_timeout, cluster):
        breasts = name_breasts(images)[group]
        issues.append(("equal pixels", " = ".join(image_ids[place] for place in group), " = ".join(breasts)))
    issues += [
        ("values fill a small part of their range", image_ids[place], seen.unused)
        for place, seen in probes.items()
        if seen.unused
    ]
    for place, seen in probes.items():
        if seen.grey_levels < FEW_LEVELS:
            issues.append(("few grey levels", image_ids[place], f"{seen.grey_levels} of 256 as displayed"))
    no_breast = [place for place, seen in probes.items() if not seen.breast_found]
    issues += [("breast not found", image_ids[place], "crop=breast keeps the whole image") for place in no_breast]
    issues += _find_contradictions(images)
    table = pd.DataFrame(issues, columns=["kind", "id", "detail"], dtype=str)
    report = AuditReport(root, out, images, table, [], str(found or ""), notes)

    if sheet_images:
        draw = partial(browse, settings=settings, out=out, workers=workers, file_timeout=file_timeout)
        machines = list(report.readable.groupby("machine", sort=True))
        with Progress("contact sheets", len(machines) + bool(no_breast), "sets of sheets") as progress:
            for machine, readable in progress.over(machines):
                name = f"machine-{file_name(str(machine))}" if machine else "no-machine"
                report.sheets.extend(draw(readable, n=sheet_images, name=name).sheets)
            if no_breast:
                report.sheets.extend(draw(images.loc[no_breast], n=_NO_BREAST_SHOWN, name="no-breast").sheets)
    write_atomic(out / "images.csv", images.to_csv(index=False))
    write_atomic(out / "issues.csv", report.issues.to_csv(index=False))
    write_atomic(out / "audit.txt", report.text())
    return report


def _find_images(root: Path) -> tuple[pd.DataFrame, list[Issue], tuple[str, ...]]:
    """One row an image: image_id, patient_id, laterality, view, path ("" where there is no file), table columns.

    And the files and folders that cannot be looked at or lead to others; and how the table was read.
    """
    require_folder(root)
    for split in ("train", "test"):
        if adapter := find_adapter(root, split):
            listing = read_unlabelled(root, split, adapter)
            images = listing.frame.assign(in_table=True).reset_index(drop=True)  # an adapter may have left rows out
            if len(listing.rowless):
                images = pd.concat([images, listing.rowless.assign(in_table=False)], ignore_index=True)
            for column in ("image_id", *_FROM_HEADERS):
                images[column] = images[column].fillna("").astype(str) if column in images.columns else ""
            locked: list[Issue] = [
                ("unreadable", str(e.filename), f"{type(e).__name__}: {e.strerror}") for e in listing.unreadable
            ]
            other = competition.table_of(root, "test")
            unseen = split == "train" and other.is_file()
            notes = (f"{other.name} and its images are not looked at: only those of {listing.source}",) * unseen
            return images, locked, (*listing.notes, *notes)
    tree = walk_files(root)
    with Progress("look for images", len(tree.files), "files") as progress:
        files = [path for path in progress.over(tree.files) if _may_be_image(path)]
    if not files:
        known = f"train.csv with train_images or a column path, nor any DICOM or {', '.join(SUFFIXES)} file"
        raise TableError(f"{root}: holds neither {known}")
    images = pd.DataFrame({"image_id": [image_id_of(path) for path in files], "path": [str(path) for path in files]})
    if images["image_id"].duplicated().any():
        images["image_id"] = [str(path.relative_to(root).with_name(image_id_of(path))) for path in files]
    issues: list[Issue] = [("unreadable", path, reason) for path, reason in tree.failures]
    issues += [("another name of a file or folder", path, first) for path, first in tree.links]
    return images.assign(**dict.fromkeys(_FROM_HEADERS, "")), issues, ()


def _may_be_image(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES or promises_dicom(path):
        return True
    try:
        with path.open("rb") as stream:
            return may_be_dicom(stream.read(132))
    except OSError:
        return True  # and is probed, which says why it cannot be read


def _with_headers(images: pd.DataFrame, probes: dict[int, Probe]) -> pd.DataFrame:
    """Adds what the headers say, and lets it fill in what the table does not."""
    headers = [f"header_{column}" for column in _FROM_HEADERS]
    facts = [
        *headers,
        "header_exam_id",
        "header_image_uid",
        "header_notes",
        *(column for column in ATTRIBUTES if column not in _FROM_HEADERS),
    ]
    unsaid = dict.fromkeys(facts, "")
    images = images.copy()
    images[facts] = pd.DataFrame([unsaid | (probes[i].facts if i in probes else {}) for i in images.index])[facts]
    for column, header in zip(_FROM_HEADERS, headers, strict=True):
        images[column] = images[column].mask(images[column].eq(""), images[header])
    if "machine_id" in images.columns:
        given = name_parts(images["machine_id"])
        images["machine"] = given.mask(given.eq(UNKNOWN), images["machine"])
    return images


def _name_patients(images: pd.DataFrame, probes: dict[int, Probe], root: Path) -> tuple[pd.DataFrame, list[str]]:
    """Patients and exams of a folder without a table, as `rsna table` has them, and lines on what it guesses."""
    paths = images["path"].tolist()
    known = {place: seen.tags for place, seen in probes.items() if seen.tags}
    if not known:
        return images, []
    rows = [
        identity(tags, os.path.relpath(paths[place], root)) | {"patient_id": one_line(tags.patient_id)}
        for place, tags in known.items()
    ]
    named, guesses = name_patients(pd.DataFrame(rows, index=[*known]).astype({"age": "Int64"}), root.resolve().name)
    patients = named["patient_id"].reindex(images.index).fillna(images["patient_id"])
    return images.assign(patient_id=patients, exam_id=named["exam_id"].reindex(images.index).fillna("")), guesses


def _find_contradictions(images: pd.DataFrame) -> Iterator[Issue]:
    """Applies every rule.

    Args:
        images: One row an image: image_id, patient_id, laterality, view, path (text, "" for missing), the labels
            (0, 1, NaN, and whatever else stands there) where the set has them, header_patient_id,
            header_laterality, header_view, header_exam_id, header_image_uid and header_notes ("" where the header
            does not say), in_table where there is a table.
    """
    for image_id, count in images["image_id"].value_counts(sort=False).items():
        if count > 1:
            yield "image_id in several rows", str(image_id), f"{count} rows"

    for row in images[images["path"].eq("")].itertuples():
        yield "row without a file", str(row.image_id), f"patient {row.patient_id}"
    if "in_table" in images.columns:
        for row in images[~images["in_table"]].itertuples():
            yield "file without a row", str(row.image_id), str(row.path)

    for label in [label for label in LABELS if label in images.columns]:
        for image_id in images.loc[images[label].notna() & ~images[label].isin([0, 1]), "image_id"]:
            yield "label outside {0, 1}", str(image_id), label
    for kind, values in _CONTRADICTIONS:
        if set(values) <= set(images.columns):
            for row in images[(images[list(values)] == pd.Series(values)).all(axis=1)].itertuples():
                yield kind, str(row.image_id), f"patient {row.patient_id}, {row.laterality}"
    if "cancer" in images.columns:
        labelled = images[images["cancer"].isin([0, 1]) & images["laterality"].isin(["L", "R"])]
        labels = labelled.groupby(name_breasts(images))["cancer"].nunique()
        for breast in labels.index[labels > 1]:
            yield "breast with two cancer labels", str(breast), ""

        for doubt in label_doubts(images, "population"):
            yield "odd labels", "cancer", doubt

    for row in images[images["header_notes"].ne("")].itertuples():
        yield "header that had to be interpreted", str(row.image_id), str(row.header_notes)
    for what, column in (("laterality", "laterality"), ("view", "view"), ("patient", "patient_id")):
        table, header = images[column], images[f"header_{column}"]
        if column == "patient_id":
            if "in_table" not in images.columns:  # where it was guessed, a note says so
                continue
            header = header.map(one_line)  # as tables have it
        differs = table.ne("") & header.ne("") & table.ne(header)
        for image_id, ours, theirs in zip(images["image_id"][differs], table[differs], header[differs], strict=True):
            yield f"{what} differs from the header", str(image_id), f"table {ours}, header {theirs}"

    uids = images[images["header_image_uid"].ne("")].groupby("header_image_uid")["image_id"]
    for uid, ids in uids.agg(list).items():
        if len(ids) > 1:
            yield "SOP Instance UID (0008,0018) in several files", " = ".join(ids), str(uid)
    studies = images["header_exam_id"].mask(images["header_exam_id"].eq("")).groupby(name_breasts(images)).unique()
    for breast, of in studies.items():
        if len(of := [study for study in of if pd.notna(study)]) > 1:
            yield "breast of several studies (0020,000D)", str(breast), f"{first_few(of)}; give the table an exam_id"

    # A set in which no image says its view would have every patient listed.
    if images["view"].ne("").any():
        keys = [images["patient_id"], exams_of(images)]
        several = keys[1].groupby(keys[0]).nunique()
        have = (images["laterality"] + " " + images["view"]).groupby(keys).agg(set)
        for key, views in zip(have.index.tolist(), have, strict=True):
            patient, exam = key
            missing = [view for view in _STANDARD_VIEWS if view not in views]
            if patient and missing:  # an unreadable file is nobody's
                who = f"{patient}, exam {exam}" if several[patient] > 1 else str(patient)
                yield "patient without the four standard views", who, f"missing {', '.join(missing)}"
