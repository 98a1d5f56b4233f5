"""Look at a set before anyone trains on it: what it is made of, what cannot be read, what contradicts itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from rsna.audit.browse import browse
from rsna.audit.probe import Probe, find_duplicates, probe
from rsna.config.data import PreprocessSettings
from rsna.dataset.adapters import find_adapter
from rsna.dataset.table import LABELS, SUFFIXES, TableError, image_id_of
from rsna.dataset.walk import promises_dicom, walk_files
from rsna.dicom.frame import may_be_dicom
from rsna.files import write_atomic
from rsna.parallel.pool import map_tasks
from rsna.parallel.progress import Progress

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
    header_laterality, header_view, and in failure why the file cannot be read ("" where it can)."""
    issues: pd.DataFrame
    """kind, id, detail: unreadable files, equal pixels, contradictions, missing views."""
    sheets: list[Path]
    """Contact sheets, machine by machine."""

    @property
    def readable(self) -> pd.DataFrame:
        """The images whose file can be read."""
        return self.images[self.images["path"].ne("") & self.images["failure"].eq("")]

    def counts(self, attribute: str) -> pd.Series:
        """Readable images by value of one of `ATTRIBUTES`, the most frequent first; "" is shown as (not said)."""
        return self.readable[attribute].replace("", "(not said)").value_counts()

    def text(self) -> str:
        """The report for a person; ends with a line break."""
        lines = [f"{self.root}: {self._sums()}"]
        for attribute, title in ATTRIBUTES.items():
            lines += ["", title]
            counts = self.counts(attribute)
            lines += [f"  {count:>9,}  {value}" for value, count in counts.head(_VALUES_SHOWN).items()]
            if len(counts) > _VALUES_SHOWN:
                lines.append(f"  {counts.iloc[_VALUES_SHOWN:].sum():>9,}  {len(counts) - _VALUES_SHOWN} others")
        lines += ["", f"{len(self.issues):,} issues" if len(self.issues) else "nothing suspicious"]
        for kind, group in self.issues.groupby("kind", sort=False):
            lines.append(f"  {len(group):>9,}  {kind}")
            shown = group.head(_ISSUES_SHOWN)
            lines += [f"             {row.id}  {row.detail}".rstrip() for row in shown.itertuples()]
            if len(group) > len(shown):
                lines.append(f"             … {len(group) - len(shown):,} more in issues.csv")
        lines += ["", f"{self.folder}: images.csv, issues.csv" + (f", {len(self.sheets)} sheets" * bool(self.sheets))]
        return "\n".join(lines) + "\n"

    def _sums(self) -> str:
        images, breasts = self.images, self.images.groupby(["patient_id", "laterality"])
        sums = [f"{len(images):,} images", f"{images['patient_id'].nunique():,} patients", f"{len(breasts):,} breasts"]
        if "cancer" in images.columns:
            positive = breasts["cancer"].max().eq(1)
            sums.append(f"{int(positive.sum()):,} breasts with cancer ({positive.mean():.1%})")
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
    progress: Progress | None = None,
) -> AuditReport:
    """Audits a set in a layout that an adapter knows, or any folder of images; nothing needs to be right beforehand.

    Args:
        root: Folder of the set, or any folder of DICOM, PNG and JPEG files.
        out: Folder for audit.txt, images.csv, issues.csv and the sheets.
        settings: How the images on the sheets are prepared.
        sheet_images: Images shown of each machine; 0 for no sheets.
        workers: Processes; None for one a core.
        file_timeout: Seconds after which a file counts as unreadable.
        progress: What is called with (done, total, failed); None prints to standard error.

    Raises:
        TableError: There is no such folder, no image in it, or its table cannot be read.
    """
    root, out = Path(root).expanduser(), Path(out)
    images, unreadable = _find_images(root)
    paths = {place: path for place, path in enumerate(images["path"]) if path}

    places, progress = list(paths), progress or Progress("audit", "files")
    probes: dict[int, Probe] = {}
    failures: dict[int, str] = {}
    for done, outcome in enumerate(map_tasks(probe, paths.values(), workers=workers, timeout=file_timeout), start=1):
        if outcome.value is not None:
            probes[places[outcome.index]] = outcome.value
        else:
            failures[places[outcome.index]] = str(outcome.failure)
        progress(done, len(paths), len(failures))
    progress.close()
    images = _with_headers(images, probes).assign(failure=[failures.get(place, "") for place in images.index])

    image_ids = images["image_id"].tolist()
    issues: list[Issue] = [("unreadable", image_ids[place], failure) for place, failure in failures.items()]
    issues += [("unreadable", path, reason) for path, reason in unreadable]
    for group in find_duplicates(paths, probes, workers, file_timeout):
        breasts = images.loc[group, "patient_id"] + "_" + images.loc[group, "laterality"]
        issues.append(("equal pixels", " = ".join(image_ids[place] for place in group), " = ".join(breasts)))
    issues += _find_contradictions(images)
    found = pd.DataFrame(issues, columns=["kind", "id", "detail"], dtype=str)
    report = AuditReport(root=root, folder=out, images=images, issues=found, sheets=[])

    if sheet_images:
        for machine, readable in report.readable.groupby("machine", sort=True):
            name = f"machine-{quote(str(machine), safe=' ') or 'unknown'}"
            drawn = browse(
                readable, settings, out, n=sheet_images, name=name, workers=workers, file_timeout=file_timeout
            )
            report.sheets.extend(drawn.sheets)
    write_atomic(out / "images.csv", images.to_csv(index=False))
    write_atomic(out / "issues.csv", report.issues.to_csv(index=False))
    write_atomic(out / "audit.txt", report.text())
    return report


def _find_images(root: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """One row an image: image_id, patient_id, laterality, view, path ("" where there is no file), table columns.

    And (path, reason) of the files and folders that cannot be looked at.
    """
    if not root.is_dir():
        raise TableError(f"{root}: there is no such folder")
    for split in ("train", "test"):
        if adapter := find_adapter(root, split):
            listing = adapter.read(root, split)
            images = listing.frame.assign(in_table=True).reset_index(drop=True)  # an adapter may have left rows out
            if len(listing.rowless):
                images = pd.concat([images, listing.rowless.assign(in_table=False)], ignore_index=True)
            for column in ("image_id", *_FROM_HEADERS):
                images[column] = images[column].fillna("").astype(str) if column in images.columns else ""
            return images, [(str(e.filename), f"{type(e).__name__}: {e.strerror}") for e in listing.unreadable]
    tree = walk_files(root)
    files = [path for path in tree.files if _may_be_image(path)]
    if not files:
        known = f"train.csv with train_images or a column path, nor any DICOM or {', '.join(SUFFIXES)} file"
        raise TableError(f"{root}: holds neither {known}")
    images = pd.DataFrame({"image_id": [image_id_of(path) for path in files], "path": [str(path) for path in files]})
    if images["image_id"].duplicated().any():
        images["image_id"] = [str(path.relative_to(root).with_name(image_id_of(path))) for path in files]
    return images.assign(**dict.fromkeys(_FROM_HEADERS, "")), tree.failures


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
    facts = [*headers, *(column for column in ATTRIBUTES if column not in _FROM_HEADERS)]
    unsaid = dict.fromkeys(facts, "")
    images = images.copy()
    images[facts] = pd.DataFrame([unsaid | (probes[i].facts if i in probes else {}) for i in images.index])[facts]
    for column, header in zip(_FROM_HEADERS, headers, strict=True):
        images[column] = images[column].mask(images[column].eq(""), images[header])
    if "machine_id" in images.columns:
        # A column of numbers with gaps is read as 49.0.
        given = images["machine_id"].map(lambda value: "" if pd.isna(value) else str(value).removesuffix(".0"))
        images["machine"] = given.mask(given.eq(""), images["machine"])
    return images


def _find_contradictions(images: pd.DataFrame) -> Iterator[Issue]:
    """Applies every rule.

    Args:
        images: One row an image: image_id, patient_id, laterality, view, path (text, "" for missing), the labels
            (0, 1, NaN, and whatever else stands there) where the set has them, header_patient_id,
            header_laterality and header_view ("" where the header does not say), in_table where there is a table.
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
        labelled = images[images["cancer"].isin([0, 1])]
        labels = labelled.groupby(labelled["patient_id"] + "_" + labelled["laterality"])["cancer"].nunique()
        for breast in labels.index[labels > 1]:
            yield "breast with two cancer labels", str(breast), ""

    for what, column in (("laterality", "laterality"), ("view", "view"), ("patient", "patient_id")):
        table, header = images[column], images[f"header_{column}"]
        differs = table.ne("") & header.ne("") & table.ne(header)
        for image_id, ours, theirs in zip(images["image_id"][differs], table[differs], header[differs], strict=True):
            yield f"{what} differs from the header", str(image_id), f"table {ours}, header {theirs}"

    # A set in which no image says its view would have every patient listed.
    if images["view"].ne("").any():
        have = (images["laterality"] + " " + images["view"]).groupby(images["patient_id"]).agg(set)
        for patient, views in have.items():
            if missing := [view for view in _STANDARD_VIEWS if view not in views]:
                yield "patient without the four standard views", str(patient), f"missing {', '.join(missing)}"
