"""CDD-CESM as The Cancer Imaging Archive publishes it: the low-energy images of contrast-enhanced mammography.

``P39_R_DM_CC.jpg`` is a low-energy image, which reads as a mammogram does, ``P39_R_CM_CC.jpg`` the subtracted one of
the same exposure, which does not and is left out. Sheet ``all`` of the workbook has a row an image.
"""

import re
from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import (
    birads_category,
    breast_maximum,
    density_letter,
    find_images,
    find_table,
    paths_of,
    rowless,
    values_of,
)
from rsna.dataset.table import LabelUnit, read_rows, refuse_rows
from rsna.files import first_few

TABLES = ("Radiology manual annotations.xlsx", "Radiology-manual-annotations.xlsx", "Radiology-manual-annotations.csv")

LAYOUT = f"{TABLES[0]} with P<n>_<side>_DM_<view>.jpg anywhere below"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="CDD-CESM",
    source="https://www.cancerimagingarchive.net/collection/cdd-cesm/",
    images=1003,
    patients=326,
    licence="CC BY 4.0",
    release="yes",
    unit="image",
    cancer={"pathology": "Pathology Classification/ Follow up = Malignant, in any image of the breast"},
    default="pathology",
    defects=(
        "a diagnostic set: a third of the images are malignant",
        "JPEG of 8 bits; the 1,003 subtracted images are left out, as they show contrast agent alone",
        "names of images have blanks that their files lack, and some images have several rows",
        "Patient_ID is not everywhere the number in the image's name, which stands; only sheet all is read",
    ),
)

_PATHOLOGY = "Pathology Classification/ Follow up"
_NAME = re.compile(r"(P\d+)_([LR])_(DM|CM)_(CC|MLO)[_\d]*")


def matches(root: Path, split: Split) -> bool:
    """Whether the radiologists' annotations are there."""
    return split == "train" and find_table(root, *TABLES) is not None


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads sheet ``all``, of which the name of each image says whose, which side and view it is."""
    notes: list[str] = []
    source = find_table(root, *TABLES) or root / TABLES[0]
    table = read_rows(source, notes, ("Image_name", _PATHOLOGY), sheet="all")
    name = table["Image_name"].map(_plain)
    refuse_rows(
        ~name.str.fullmatch(_NAME.pattern), table["Image_name"], source, "rows have a name other than P39_R_DM_CC"
    )
    blanks = int(name.ne(table["Image_name"]).sum())
    if blanks:
        notes.append(f"{blanks:,} rows have an Image_name with blanks, which are passed over")
    parts = name.str.extract(_NAME.pattern)
    pathology = {"Normal": 0, "Benign": 0, "Malignant": 1}
    files = find_images(root, (".jpg", ".jpeg"))
    places = {_plain(stem): path for stem, path in files.by_name().items()}
    frame = pd.DataFrame(
        {
            "patient_id": parts[0],
            "image_id": name,
            "laterality": parts[1],
            "view": parts[3],
            "path": paths_of(name, places),
            "cancer": values_of(table[_PATHOLOGY], pathology, name, source),
            **{new: table[old] for old, new in (("age", "age"), ("Machine", "machine_id")) if old in table.columns},
        }
    )
    notes += rowless(
        (name for name in files.besides(frame["path"]) if _NAME.fullmatch(_plain(Path(name).stem))), source
    )
    if "Breast density (ACR)" in table.columns:
        frame["density"] = density_letter(table["Breast density (ACR)"])
    if "BIRADS" in table.columns:  # 3$2 are those of two findings
        frame["breast_birads"] = birads_category(table["BIRADS"].astype("string").str.split("$").map(max, "ignore"))
    if "patient_id" in table.columns:
        other = table["patient_id"].str.upper().str.removeprefix("P").ne(parts[0].str[1:])
        if other.any():
            notes.append(
                f"{int(other.sum()):,} rows have another Patient_ID than their image's name, which stands "
                f"(first: {first_few(name[other])})"
            )
    # Ahead of leaving any out: what the subtracted image shows is in the breast, too.
    frame["cancer"] = breast_maximum(frame, "cancer", ["patient_id", "laterality"], notes, "image")
    frame = frame[parts[2].eq("DM")]
    notes.append(f"{len(table) - len(frame):,} rows are of subtracted images, which are left out")
    again = frame["image_id"].duplicated()
    if again.any():
        notes.append(f"{int(again.sum()):,} rows are of an image that has one already, and count with it")
    return Listing(frame[~again], source, unreadable=files.unreadable, notes=tuple(notes))


def _plain(name: str) -> str:
    return re.sub(r"\s+", "", name).removesuffix(".jpg")
