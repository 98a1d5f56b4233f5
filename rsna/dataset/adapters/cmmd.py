"""CMMD, the Chinese Mammography Database, as The Cancer Imaging Archive publishes it.

``CMMD/<ID1>/<study>/<series>/1-1.dcm``, whose names repeat, and ``CMMD_clinicaldata_revision.xlsx`` (or the CSV saved
of it), a row a breast. Side, view and exam stand in the headers alone, the view in View Code Sequence.
"""

import re
from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import breast_maximum, find_images, find_table, path_id, read_headers, values_of
from rsna.dataset.exams import iso_dates, order_exams
from rsna.dataset.table import LabelUnit, read_rows, refuse_rows, require_columns
from rsna.files import first_few

TABLES = ("CMMD_clinicaldata_revision.csv", "CMMD_clinicaldata_revision.xlsx")

LAYOUT = f"{TABLES[1]} (or .csv) with CMMD/<ID1>/<study>/<series>/1-1.dcm"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="CMMD (The Chinese Mammography Database)",
    source="https://www.cancerimagingarchive.net/collection/cmmd/",
    images=5202,
    patients=1775,
    licence="CC BY 4.0",
    release="yes",
    unit="breast",
    cancer={
        "pathology": "classification = Malignant, by biopsy; breasts without a row are unlabelled",
        "pathology_else_normal": "the same, and breasts without a row count as free of cancer",
    },
    default="pathology",
    defects=(
        "every row was biopsied, and most are malignant: no screening set, its prevalence means nothing",
        "30 patients differ by side; 729 breasts that were imaged have no row, and so no label",
        "names of files repeat in every folder: an image_id is its path",
        "the view is in View Code Sequence alone; side and view are read from the headers",
        "8 bits a pixel, but for two images of 16",
    ),
)

_PATIENT = re.compile(r"D[12]-\d+")


def matches(root: Path, split: Split) -> bool:
    """Whether the clinical table is there."""
    return split == "train" and find_table(root, *TABLES) is not None


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads every header, and joins the rows of breasts to it."""
    notes: list[str] = []
    source = find_table(root, *TABLES) or root / TABLES[1]
    breasts = _breasts(source, notes)
    files = find_images(root)
    headers, unreadable = read_headers(files.paths.values())
    # From the patient's folder on, whatever the folders above are called.
    names = pd.Series(list(files.paths), index=headers.index, dtype=object)
    folders = names.str.extract(rf"(?:^|/)(({_PATIENT.pattern})/.*)$")
    frame = headers.assign(
        path=headers.index,
        image_id=folders[0].fillna(names).map(path_id),
        patient_id=headers["patient_id"].mask(headers["patient_id"].eq(""), folders[1]),
        exam_id=headers["study_uid"],
        exam_date=iso_dates(headers["exam_time"].str[:8]),
        laterality=headers["laterality"].mask(headers["laterality"].eq("")),
    ).reset_index(drop=True)
    frame["exam_number"] = order_exams(frame, frame["exam_time"])
    keys = ["patient_id", "laterality"]
    frame = frame.merge(breasts, on=keys, how="left", suffixes=("", "_given"))
    frame["age"] = frame.pop("age_given").fillna(frame["age"].astype(float))
    with_row = frame.set_index(keys).index.isin(breasts.set_index(keys).index)
    bare = ~with_row & frame["laterality"].notna()
    what = "are unlabelled"
    if cancer_from == "pathology_else_normal":
        frame["cancer"], what = frame["cancer"].mask(bare, 0.0), "count as free of cancer"
    if bare.any():
        first = first_few(frame.loc[bare, keys].drop_duplicates().astype(str).agg("_".join, axis=1))
        notes.append(f"{source}: breasts of {int(bare.sum()):,} images have no row and {what} (first: {first})")
    idle = ~breasts.set_index(keys).index.isin(frame.set_index(keys).index)
    if idle.any():
        first = first_few(breasts.loc[idle, keys].agg("_".join, axis=1))
        notes.append(f"{source}: {int(idle.sum()):,} breasts have no image (first: {first})")
    frame = frame.drop(columns=["study_uid", "exam_time"])
    return Listing(frame, source, unreadable=(*files.unreadable, *unreadable), notes=tuple(notes))


def _breasts(source: Path, notes: list[str]) -> pd.DataFrame:
    """patient_id, laterality, cancer, age, abnormality, subtype of each breast with a row."""
    table = read_rows(source, notes)
    require_columns(table, ("ID1", "LeftRight", "age", "abnormality", "classification", "subtype"), source)
    side = table["LeftRight"].astype(str).str.strip().str.upper().str[:1]
    refuse_rows(~side.isin(["L", "R"]), table["ID1"], source, "rows have a LeftRight other than L and R")
    table = table.assign(
        patient_id=table["ID1"].astype(str).str.strip(),
        laterality=side,
        cancer=values_of(table["classification"], {"Malignant": 1, "Benign": 0}, table["ID1"], source),
    )
    keys = ["patient_id", "laterality"]
    table["cancer"] = breast_maximum(table, "cancer", keys, notes, "row")
    return table.drop_duplicates(keys)[[*keys, "cancer", "age", "abnormality", "subtype"]].reset_index(drop=True)
