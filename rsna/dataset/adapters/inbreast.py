"""INbreast: ``INbreast.csv``, and ``AllDICOMs/<image>_<patient>_MG_<side>_<view>_ANON.dcm``.

The table calls every patient "removed"; a hash in the names of files tells them apart. These call the oblique view ML.
"""

from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import (
    birads_cancer,
    birads_category,
    breast_maximum,
    density_letter,
    find_images,
    find_table,
    paths_of,
    rowless,
)
from rsna.dataset.exams import order_exams
from rsna.dataset.table import LabelUnit, read_rows, refuse_rows, require_columns

TABLES = ("INbreast.csv", "INbreast.xlsx")

LAYOUT = f"{TABLES[0]} with AllDICOMs/<image>_<patient>_MG_<side>_<view>_ANON.dcm"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="INbreast",
    source="https://doi.org/10.1016/j.acra.2011.09.014",
    images=410,
    patients=115,
    licence="on request from its authors, for research",
    release="ask",
    unit="image",
    cancer={
        "birads45": "BI-RADS 4a, 4b, 4c, 5 or 6 of any image of the breast",
        "birads5": "BI-RADS 5 or 6 of any image of the breast",
    },
    defects=(
        "the pathology of its biopsies is not in the release: BI-RADS stands in for it",
        "no patient ids in the table: patients are told by the hash in the names of files",
        "categories have letters (4a); some densities are blank; rows of nothing at the end of the table",
        "names of files call MLO views ML; the table's view is taken",
        "INbreast.xls is read after it was saved as CSV or .xlsx",
    ),
)

_NAME = r"(?P<image>\d+)_(?P<patient>[0-9a-fA-F]+)_MG_(?P<side>[LR])_(?P<view>[A-Z]+)_ANON$"


def matches(root: Path, split: Split) -> bool:
    """Whether the table is there."""
    return split == "train" and find_table(root, *TABLES) is not None


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads the table, and patients from the names of files."""
    notes: list[str] = []
    source = find_table(root, *TABLES) or root / TABLES[0]
    table = read_rows(source, notes)
    require_columns(table, ("File Name", "laterality", "view", "Acquisition date", "ACR", "BIRADS"), source)
    table = table[table["File Name"].notna()]
    files = find_images(root / "AllDICOMs", (".dcm",))
    names = pd.Series(list(files.by_name()), dtype=object)
    found = names.str.extract(_NAME).assign(path=list(files.by_name().values())).dropna()
    found = found.drop_duplicates("image").set_index("image")
    image = pd.to_numeric(table["File Name"], errors="coerce").astype("Int64").astype("string")
    refuse_rows(image.isna(), table["File Name"], source, "rows have a File Name that is no number")
    category = birads_category(table["BIRADS"])
    strange = table["BIRADS"].notna() & category.isna()
    refuse_rows(strange, table["File Name"], source, "rows have a Bi-Rads that is no category of BI-RADS")
    frame = pd.DataFrame(
        {
            "image_id": image.astype(str),
            # A row without a file is of nobody known; it is said to have no file.
            "patient_id": image.map(found["patient"]).fillna("unknown " + image.astype(str)),
            "exam_id": table["Acquisition date"].convert_dtypes().astype("string").fillna("unknown").astype(str),
            "laterality": table["laterality"].fillna(image.map(found["side"])),
            "view": table["view"].fillna(image.map(found["view"]).replace("ML", "MLO")),
            "path": paths_of(image, dict(zip(found.index, found["path"], strict=True))),
            "cancer": birads_cancer(category, cancer_from),
            "breast_birads": table["BIRADS"].astype("string"),
            "density": density_letter(table["ACR"]),
        }
    )
    notes += rowless(files.besides(frame["path"]), source)
    times = frame["exam_id"].where(frame["exam_id"].ne("unknown"), "")
    frame["exam_number"] = order_exams(frame, times)
    frame["cancer"] = breast_maximum(frame, "cancer", ["patient_id", "exam_id", "laterality"], notes, "image")
    return Listing(frame, source, unreadable=files.unreadable, notes=tuple(notes))
