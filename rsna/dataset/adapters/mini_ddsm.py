"""Mini-DDSM as Kaggle has it (miniddsm2): films of DDSM, digitised, four of each patient.

``MINI-DDSM-Complete-PNG-16/<Status>/<n>/C_0001_1.LEFT_CC.png`` and a workbook with a row an image. ``Status`` is the
patient's; which breast is meant is told by the contour of the tumour, which the other breast has not.
"""

import re
from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import density_letter, find_images, find_table, paths_of, rowless, values_of
from rsna.dataset.table import LabelUnit, read_rows, require_columns

TABLES = ("Data-MoreThanTwoMasks.xlsx", "DataWMask.xlsx", "Data-MoreThanTwoMasks.csv", "DataWMask.csv")

IMAGES = ("MINI-DDSM-Complete-PNG-16", "MINI-DDSM-Complete-JPEG-8", ".")

LAYOUT = f"Data-MoreThanTwoMasks/{TABLES[0]} (or {TABLES[1]}) with {IMAGES[0]}/<Status>/<n>/<name>.png"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="Mini-DDSM",
    source="https://www.kaggle.com/datasets/cheddad/miniddsm2",
    images=7808,
    patients=1952,
    licence="DDSM's, free for research with a citation; Kaggle's page names none of its own",
    release="ask",
    unit="patient",
    cancer={"pathology": "Status = Cancer, proven by pathology, in the breast with the contour of a tumour"},
    default="pathology",
    defects=(
        "Status is the patient's: a breast without a contour counts as free of cancer",
        "where a patient with cancer has no contour at all, neither breast has a label",
        "digitised films with labels and bright edges; 12 bits and fewer in PNG of 16, measured before training",
        "films of DDSM, as CBIS-DDSM's: patients of both sets are one and the same",
        "a diagnostic set: a third of the patients have cancer",
    ),
)


def matches(root: Path, split: Split) -> bool:
    """Whether one of the workbooks is there."""
    return split == "train" and _table(root) is not None


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads the workbook, and gives each breast of a patient with cancer what its contours say."""
    notes: list[str] = []
    source = _table(root) or root / TABLES[0]
    table = read_rows(source, notes, ("fileName", "Side", "view", "Status"))
    files = find_images(next(root / name for name in IMAGES if (root / name).is_dir()), (".png", ".jpg"))
    stem = table["fileName"].str.replace(r"\.(png|jpe?g)$", "", regex=True, flags=re.IGNORECASE)
    require_columns(table, ("Tumour_Contour",), source)
    contours = [table[c] for c in table.columns if str(c).startswith("Tumour_Contour")]
    drawn = pd.concat([c.notna() & c.astype("string").str.strip().ne("-") for c in contours], axis=1).any(axis=1)
    patient, side = stem.str.partition(".")[0], table["Side"].str[:1].str.upper()
    malignant = values_of(table["Status"], {"Cancer": 1, "Benign": 0, "Normal": 0}, stem, source).eq(1)
    located = drawn.groupby(patient).transform("any")
    here = drawn.groupby([patient, side]).transform("any")
    frame = pd.DataFrame(
        {
            "patient_id": patient,
            "image_id": stem,
            "laterality": side,
            "view": table["view"],
            "path": paths_of(stem, files.by_name()),
            "cancer": (malignant & here).astype(float).mask(malignant & ~located),
            "status": table["Status"].str.strip(),
            **({"age": table["age"]} if "age" in table.columns else {}),
            **({"density": density_letter(table["density"])} if "density" in table.columns else {}),
        }
    )
    films = (name for name in files.besides(frame["path"]) if "mask" not in name.lower())
    notes += rowless(films, source)
    free = frame[malignant & located & ~here].drop_duplicates(["patient_id", "laterality"])
    notes.append(f"{len(free):,} breasts of patients with cancer have no contour, and count as free of it")
    if unknown := patient[malignant & ~located].nunique():
        notes.append(f"{unknown:,} patients with cancer have no contour on either side, and no label")
    return Listing(frame, source, unreadable=files.unreadable, notes=tuple(notes))


def _table(root: Path) -> Path | None:
    return find_table(root / "Data-MoreThanTwoMasks", *TABLES) or find_table(root, *TABLES)
