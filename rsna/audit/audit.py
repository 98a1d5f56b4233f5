"""Look at a set before anyone trains on it: what it is made of, what cannot be read, what contradicts itself."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from rsna.audit.browse import browse
from rsna.audit.duplicates import find_duplicates
from rsna.audit.issues import Finding, find_suspicious
from rsna.audit.probe import Probe, probe
from rsna.audit.report import AuditReport
from rsna.config.data import PreprocessSettings
from rsna.dataset.table import SUFFIXES, TableError, image_id_of, list_files, read_csv, resolve_paths
from rsna.dataset.walk import promises_dicom, walk_files
from rsna.dicom.frame import may_be_dicom
from rsna.files import write_atomic
from rsna.parallel.pool import map_tasks
from rsna.parallel.progress import Progress

_TEXTS = ("patient_id", "laterality", "view")
"""Columns that a table may leave to the headers."""


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
    """Audits a set in the competition's layout, or any folder of images; nothing needs to be right beforehand.

    Args:
        root: Folder with train.csv or test.csv and its images (in the competition's layout, or by a column path), or
            any folder of DICOM, PNG and JPEG files.
        out: Folder for audit.txt, images.csv, findings.csv and the sheets.
        settings: How the images on the sheets are prepared.
        sheet_images: Images shown of each machine; 0 for no sheets.
        workers: Processes; None for one a core.
        file_timeout: Seconds after which a file counts as unreadable.
        progress: What is called with (done, total, failed); None prints to standard error.

    Raises:
        TableError: There is no such folder, no image in it, or its CSV cannot be read.
        ConfigError: The file of boxes cannot be read.
        PoolError: No worker can be started.
        OSError: The report cannot be written.
    """
    root, out = Path(root).expanduser(), Path(out)
    images, lost = _gather(root)
    paths = {place: path for place, path in enumerate(images["path"]) if path}
    probes, problems = _probe(paths, workers, file_timeout, progress or Progress("audit", "files"))
    images = _with_facts(images, probes, problems)
    image_ids = images["image_id"].tolist()
    findings: list[Finding] = [("unreadable", image_ids[place], problem) for place, problem in problems.items()]
    findings += [("unreadable", path, problem) for path, problem in lost]
    for group in find_duplicates(paths, probes, workers, file_timeout):
        breasts = images.loc[group, "patient_id"] + "_" + images.loc[group, "laterality"]
        findings.append(("equal pixels", " = ".join(image_ids[place] for place in group), " = ".join(breasts)))
    findings += find_suspicious(images)
    report = AuditReport(
        root=root,
        folder=out,
        images=images,
        findings=pd.DataFrame(findings, columns=["kind", "id", "detail"], dtype=str),
        sheets=[],
    )
    if sheet_images:
        report.sheets.extend(_draw(report.readable, settings, out, sheet_images, workers, file_timeout))
    write_atomic(out / "images.csv", images.to_csv(index=False))
    write_atomic(out / "findings.csv", report.findings.to_csv(index=False))
    write_atomic(out / "audit.txt", report.text())
    return report


def _gather(root: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """One row an image: image_id, patient_id, laterality, view, path ("" where there is no file), table columns.

    And (path, reason) of the files and folders that cannot be looked at.
    """
    if not root.is_dir():
        raise TableError(f"{root}: there is no such folder")
    for split in ("train", "test"):
        csv, folder = root / f"{split}.csv", root / f"{split}_images"
        table = read_csv(csv) if csv.is_file() else None
        if table is not None and "path" in table.columns:
            table = _with_texts(table, csv)
            return table.assign(path=resolve_paths(table, root, csv)), []
        if table is not None and folder.is_dir():
            lost: list[OSError] = []
            joined = _join(_with_texts(table, csv), list_files(folder, lost.append))
            return joined, [(str(error.filename), f"{type(error).__name__}: {error.strerror}") for error in lost]
    tree = walk_files(root)
    files = [path for path in tree.files if _may_be_image(path)]
    if not files:
        known = f"train.csv with train_images or a column path, nor any DICOM or {', '.join(SUFFIXES)} file"
        raise TableError(f"{root}: holds neither {known}")
    frame = pd.DataFrame({"image_id": [image_id_of(path) for path in files], "path": [str(path) for path in files]})
    if frame["image_id"].duplicated().any():
        frame["image_id"] = [str(path.relative_to(root).with_name(image_id_of(path))) for path in files]
    return frame.assign(**dict.fromkeys(_TEXTS, "")), tree.lost


def _may_be_image(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES or promises_dicom(path):
        return True
    try:
        with path.open("rb") as stream:
            return may_be_dicom(stream.read(132))
    except OSError:
        return True  # and is probed, which says why it cannot be read


def _with_texts(table: pd.DataFrame, csv: Path) -> pd.DataFrame:
    """The table with ids, laterality and view as text, "" where it does not say."""
    missing = [column for column in ("image_id", "patient_id") if column not in table.columns]
    if missing:
        raise TableError(f"{csv}: has no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    for column in ("image_id", *_TEXTS):
        table[column] = table[column].fillna("").astype(str) if column in table.columns else ""
    return table


def _join(table: pd.DataFrame, files: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    keys = list(zip(table["patient_id"], table["image_id"], strict=True))
    table["path"] = [files.get(key, "") for key in keys]
    rowless = sorted(files.keys() - set(keys))
    others = pd.DataFrame(rowless, columns=["patient_id", "image_id"], dtype=str)
    others = others.assign(path=[files[key] for key in rowless], laterality="", view="", in_table=False)
    joined = table.assign(in_table=True)
    return pd.concat([joined, others], ignore_index=True) if rowless else joined


def _probe(
    paths: Mapping[int, str], workers: int | None, file_timeout: float, progress: Progress
) -> tuple[dict[int, Probe], dict[int, str]]:
    """Place → facts, and place → why there are none."""
    places = list(paths)
    probes: dict[int, Probe] = {}
    problems: dict[int, str] = {}
    outcomes = map_tasks(probe, paths.values(), workers=workers, timeout=file_timeout)
    for done, outcome in enumerate(outcomes, start=1):
        place = places[outcome.index]
        if outcome.value is not None:
            probes[place] = outcome.value
        elif outcome.failure is not None:
            problems[place] = f"{outcome.failure.kind}: {outcome.failure.message}"
        progress(done, len(places), len(problems))
    progress.close()
    return probes, problems


def _with_facts(images: pd.DataFrame, probes: Mapping[int, Probe], problems: Mapping[int, str]) -> pd.DataFrame:
    """Adds what the headers say, and lets it fill in what the table does not."""
    images = images.copy()
    seen = [probes.get(place) for place in range(len(images))]
    images["problem"] = [problems.get(place, "") for place in range(len(images))]
    for column in _TEXTS:
        images[f"header_{column}"] = [getattr(one, column) if one else "" for one in seen]
        images[column] = images[column].mask(images[column].eq(""), images[f"header_{column}"])
    for column in ("modality", "presentation_intent", "syntax", "photometric", "window_function"):
        images[column] = [getattr(one, column) if one else "" for one in seen]
    for column in ("bits_stored", "windows"):
        images[column] = [str(getattr(one, column)) if one else "" for one in seen]
    images["size"] = [f"{one.rows}×{one.columns}" if one else "" for one in seen]
    machine = pd.Series([one.machine if one else "" for one in seen], index=images.index)
    if "machine_id" in images.columns:
        given = images["machine_id"].map(lambda value: "" if pd.isna(value) else str(value).removesuffix(".0"))
        machine = given.mask(given.eq(""), machine)
    images["machine"] = machine
    return images


def _draw(
    images: pd.DataFrame, settings: PreprocessSettings, out: Path, n: int, workers: int | None, file_timeout: float
) -> list[Path]:
    sheets: list[Path] = []
    for machine, group in images.groupby("machine", sort=True):
        name = f"machine-{quote(str(machine), safe=' ') or 'unknown'}"
        report = browse(group, settings, out, n=n, name=name, workers=workers, file_timeout=file_timeout)
        sheets += report.sheets
    return sheets
