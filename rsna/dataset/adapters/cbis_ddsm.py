"""CBIS-DDSM: films of DDSM with verified pathology, as The Cancer Imaging Archive publishes it, or converted to JPEG.

``Mass-Training_P_00001_LEFT_CC/<study>/<series>/1-1.dcm`` and four tables of abnormalities; or ``csv/dicom_info.csv``
with ``jpeg/<series>/1-1.jpg``. Masks and crops lie in folders whose names have the number of an abnormality, so that
the path columns of the tables, in which they are swapped here and there, are not needed.
"""

import re
from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import breast_maximum, density_letter, find_images, find_table, paths_of, rowless, values_of
from rsna.dataset.table import LabelUnit, TableError, read_rows, require_columns
from rsna.files import first_few

TABLES = tuple(f"{kind}_case_description_{part}_set.csv" for kind in ("mass", "calc") for part in ("train", "test"))

LAYOUT = f"{TABLES[0]} and the like, with Mass-Training_P_00001_LEFT_CC/… or csv/dicom_info.csv and jpeg/"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="CBIS-DDSM (Curated Breast Imaging Subset of DDSM)",
    source="https://www.cancerimagingarchive.net/collection/cbis-ddsm/",
    images=3103,
    patients=1566,
    licence="CC BY 3.0",
    release="yes",
    unit="lesion",
    cancer={"pathology": "pathology = MALIGNANT of any abnormality in the breast"},
    default="pathology",
    defects=(
        "digitised films of four American sites (1988 to 1999), not digital mammograms",
        "every breast has an abnormality: there are no normal ones, and prevalence means nothing",
        "a row is an abnormality: an image stands in as many rows as it has, and in both kinds of tables",
        "masks and crops are swapped in the path columns; images are found by their folders' names",
        "31 patients stand in both official parts (column split): make folds by patient",
        "`breast density` in one table is `breast_density` in the other",
        "the JPEG conversion has 8 bits a pixel",
    ),
)

_CASE = re.compile(r"(Mass|Calc)-(Training|Test)_(P_\d+)_(LEFT|RIGHT)_(CC|MLO)")
"""Folder of a whole image; those of its masks and crops end in _1, _2."""


def matches(root: Path, split: Split) -> bool:
    """Whether one of the tables is there, or in csv/."""
    return split == "train" and any(find_table(folder, *TABLES) for folder in (root, root / "csv"))


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads the abnormalities of every table, and finds the one image that those of a view stand for."""
    notes: list[str] = []
    folder = root if find_table(root, *TABLES) else root / "csv"
    tables = [table for name in TABLES if (table := find_table(folder, name))]
    rows = pd.concat([_abnormalities(table, notes) for table in tables], ignore_index=True)
    if lacking := [name for name in TABLES if not find_table(folder, name)]:
        notes.append(f"{folder}: has no {', '.join(lacking)}: a breast may have a malignant abnormality there")
    converted = find_table(root / "csv", "dicom_info.csv") or find_table(root, "dicom_info.csv")
    paths, unreadable = _jpegs(root, converted, notes) if converted else _dicoms(root)
    breast = ["patient_id", "laterality"]
    rows["path"] = paths_of(rows["case"], paths)
    notes += rowless(sorted(paths.keys() - set(rows["case"])), folder)
    rows["cancer"] = rows.groupby(["image_id"])["cancer"].transform("max")
    rows["cancer"] = breast_maximum(rows, "cancer", breast, notes, "view")
    images = rows.groupby("image_id", sort=False)
    kinds = images["kind"].agg(lambda kind: " and ".join(sorted(set(kind))))
    parts = images["split"].agg(lambda part: "both" if part.nunique() > 1 else part.iloc[0])
    path = images["path"].agg(lambda found: next((one for one in found if one), ""))
    frame = rows.drop_duplicates("image_id").drop(columns="case")
    frame = frame.assign(
        **{
            "kind": frame["image_id"].map(kinds),
            "split": frame["image_id"].map(parts),
            "path": frame["image_id"].map(path),
        }
    ).rename(columns={"kind": "abnormality"})
    several = rows.groupby("image_id")["case"].nunique().gt(1)
    if several.any():
        what = "images stand in several tables, each with a copy of the file, of which one is taken"
        notes.append(f"{folder}: {int(several.sum()):,} {what} (first: {first_few(several.index[several])})")
    both = rows.groupby("patient_id")["split"].nunique().gt(1)
    if both.any():
        what = "patients stand in both official parts, so that a split by the column split leaks"
        notes.append(f"{folder}: {int(both.sum()):,} {what} (first: {first_few(both.index[both])})")
    return Listing(frame.reset_index(drop=True), folder, unreadable=unreadable, notes=tuple(notes))


def _abnormalities(source: Path, notes: list[str]) -> pd.DataFrame:
    """A row an abnormality: case (the folder's name), image_id, patient_id, laterality, view, cancer, …"""
    table = read_rows(source, notes)
    side, view = "left or right breast", "image view"
    require_columns(table, ("patient_id", side, view, "pathology"), source)
    of = source.name.lower()
    kind, part = ("Mass" if "mass" in of else "Calc"), ("train" if "_train_" in of else "test")
    sides, views = (table[column].astype(str).str.strip().str.upper() for column in (side, view))
    malignant = {"MALIGNANT": 1, "BENIGN": 0, "BENIGN_WITHOUT_CALLBACK": 0}
    name = table["patient_id"] + "_" + sides + "_" + views
    density = next((table[column] for column in ("breast_density", "breast density") if column in table.columns), None)
    return pd.DataFrame(
        {
            "case": f"{kind}-{'Training' if part == 'train' else 'Test'}_" + name,
            "patient_id": table["patient_id"],
            "image_id": name,
            "laterality": sides.str[:1],
            "view": views,
            "cancer": values_of(table["pathology"], malignant, table["patient_id"], source),
            "density": density_letter(density) if density is not None else None,
            "kind": kind.lower(),
            "split": part,
        }
    )


def _dicoms(root: Path) -> tuple[dict[str, str], tuple[OSError, ...]]:
    """Case → file, by the name of one of the folders that it lies in."""
    files = find_images(root, (".dcm",))
    cases: dict[str, str] = {}
    for name, path in files.paths.items():
        if case := next((part for part in name.split("/") if _CASE.fullmatch(part)), None):
            cases.setdefault(case, path)
    return cases, files.unreadable


def _jpegs(root: Path, source: Path, notes: list[str]) -> tuple[dict[str, str], tuple[OSError, ...]]:
    """Case → file, by the table of headers that went with the conversion; its paths begin above the folder."""
    table = read_rows(source, notes)
    require_columns(table, ("patient_id", "image_path"), source)
    files = find_images(root, (".jpg", ".jpeg", ".png"))
    by_end = {"/".join(name.split("/")[-2:]): path for name, path in files.paths.items()}
    whole = table[table["patient_id"].astype(str).str.fullmatch(_CASE.pattern)]
    ends = whole["image_path"].astype(str).str.split("/").str[-2:].str.join("/")
    found = {case: by_end[end] for case, end in zip(whole["patient_id"], ends, strict=True) if end in by_end}
    if not found:
        raise TableError(f"{source}: names no whole image that is below {root}; expected {LAYOUT}")
    return found, files.unreadable
