"""NL-Breast-Screening as the Federated Research Data Repository publishes it: a Canadian screening programme.

``NLBSP-metadata.csv`` has a row an image, and its ``File Path`` was written on Windows. The second folder of the path
is taken for the patient, as the table names none.
"""

from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import find_images, find_table, path_id, rowless
from rsna.dataset.table import LabelUnit, read_rows, refuse_rows, require_columns
from rsna.files import first_few

TABLE = "NLBSP-metadata.csv"

LAYOUT = f"{TABLE} with the files that its column File Path names"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="NL-Breast-Screening",
    source="https://doi.org/10.20383/103.01349",
    images=26988,
    patients=None,
    licence="CC BY 4.0",
    release="yes",
    unit="breast",
    cancer={"pathology": "Cancer = 1, proven by biopsy (about 150 exams)"},
    default="pathology",
    defects=(
        "paths have backslashes, and lead to some folders that are missing: rows without a file are listed",
        "a truncated file: it cannot be read, and is counted among the failures",
        "no patient ids: a folder counts as a patient, with one exam (5,997 exams)",
        "where Cancer names both breasts of an exam, one of them is mostly wrong: said, and left as it is",
        "False Positive (recalled, no cancer) is kept as false_positive; it is known only afterwards",
    ),
)


def matches(root: Path, split: Split) -> bool:
    """Whether the table of images is there."""
    return split == "train" and find_table(root, TABLE) is not None


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads the table, and finds each file by its path, or else by that without its first folder."""
    notes: list[str] = []
    source = find_table(root, TABLE) or root / TABLE
    table = read_rows(source, notes, ("File Path", "Image Laterality", "View Position"))
    require_columns(table, ("cancer",), source)
    given = table["File Path"].str.replace("\\", "/", regex=False).str.removeprefix("./").str.strip("/ ")
    refuse_rows(given.str.count("/").lt(2), given, source, "rows have a File Path of fewer than two folders")
    files = find_images(root)
    places = pd.Series(files.paths, dtype=object).rename(str.casefold)
    below = pd.concat([places, places.rename(_without_first)])  # whatever the folder above is called here
    # Of several, none is guessed.
    places, below = (found[~found.index.duplicated(keep=False)] for found in (places, below))
    wanted = given.str.casefold()
    path = given.map(files.paths).fillna(wanted.map(places)).fillna(wanted.map(_without_first).map(below)).fillna("")
    frame = pd.DataFrame(
        {
            "patient_id": given.str.split("/").str[1],
            "image_id": given.map(path_id),
            "laterality": table["Image Laterality"].str[:1].str.upper(),
            "view": table["View Position"].str.upper(),
            "path": path,
            "cancer": table["cancer"],
            **{new: table[old] for old, new in (("age", "age"), ("False Positive", "false_positive")) if old in table},
        }
    )
    notes += rowless(files.besides(path), source)
    sides = frame[frame["cancer"].eq(1)].groupby("patient_id")["laterality"].nunique()
    if (both := sides.index[sides > 1]).size:
        notes.append(f"{len(both):,} exams have cancer in both breasts (first: {first_few(both)})")
    if (lost := path.eq("")).any():
        folders = given[lost].str.rpartition("/")[0].nunique()
        notes.append(f"{int(lost.sum()):,} rows of {folders:,} folders have no file")
    return Listing(frame, source, unreadable=files.unreadable, notes=tuple(notes))


def _without_first(path: str) -> str:
    return path.partition("/")[2]
