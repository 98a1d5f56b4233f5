"""CSAW-CC as the Swedish National Data Service hands it out: screening exams of women with and without cancer.

A row of the CSV is an image, ``<patient>_<date>_<side>_<view>_<n>.dcm``, wherever below the folder its batch was
unpacked. The date in names is one constant: exams are told apart, and put in order, by ``exam_year``.
"""

from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import find_images, find_table, paths_of, rowless, values_of
from rsna.dataset.exams import order_exams
from rsna.dataset.table import LabelUnit, read_rows, require_columns

TABLES = ("CSAW-CC_breast_cancer_screening_data.csv", "anon_dataset_nonhidden_211125.csv")

LAYOUT = f"{TABLES[0]} with <patient>_<date>_<side>_<view>_<n>.dcm anywhere below"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="CSAW-CC (mammography)",
    source="https://doi.org/10.5878/45vm-t798",
    images=98788,
    patients=8723,
    licence="on request to the Karolinska Institutet, for research; the table alone is open",
    release="ask",
    unit="breast",
    cancer={
        "screening": "the breast's cancer was found at this exam or within 60 days (rad_timing 1)",
        "two_years": "found within two years of this exam (rad_timing 1 and 2); later (3) is free of it at this exam",
    },
    default="screening",
    defects=(
        "a case-control set: about a tenth of the women have cancer, of screened ones 0.5 %",
        "interval cancers and exams two years and more before a cancer are named apart in cancer_timing; by screening, "
        "neither has a label",
        "each x_ and rad_ column is known only afterwards, and gives the label away: none of them is taken over",
        "the date in file names is the same for all, so exams are in the order of exam_year",
        "about a dozen views stand twice in an exam: all are taken",
    ),
)

TIMING = {1.0: "screen-detected", 2.0: "interval", 3.0: "earlier"}
"""``rad_timing``: days from exam to diagnosis, below 60, below 730, or more."""

_CANCER = {
    "screening": {"screen-detected": 1.0},
    "two_years": {"screen-detected": 1.0, "interval": 1.0, "earlier": 0.0},
}
"""Labels of the breast with the cancer; of any other time it has none."""


def matches(root: Path, split: Split) -> bool:
    """Whether the table of screening exams is there."""
    return split == "train" and find_table(root, *TABLES) is not None


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads the table; of what is known only afterwards, no more than the label needs."""
    notes: list[str] = []
    source = find_table(root, *TABLES) or root / TABLES[0]
    needed = ("anon_patientid", "exam_year", "imagelaterality", "viewposition", "anon_filename", "x_case")
    table = read_rows(source, notes, needed, ids=("anon_patientid", "exam_year"))
    require_columns(table, ("x_cancer_laterality", "rad_timing"), source)
    files = find_images(root, (".dcm",))
    name = table["anon_filename"].str.replace(r"\.dcm$", "", case=False, regex=True)
    sides = ("imagelaterality", "x_cancer_laterality")
    side, sick_side = (table[column].astype("string").str[:1].str.upper() for column in sides)
    sided = sick_side.isin(["L", "R"])  # of a case without a side, nobody knows which breast
    case = values_of(table["x_case"], {"0": 0, "1": 1}, name, source)
    sick = case.eq(1) & (sick_side.eq(side) | ~sided)
    timing = values_of(table["rad_timing"], {f"{number:g}": number for number in TIMING}, name, source)
    timing = timing.map(TIMING).fillna("unknown").where(sick, "")
    cancer = timing.map(_CANCER[cancer_from]).where(sided).where(sick, 0.0)
    exams = pd.DataFrame({"patient_id": table["anon_patientid"], "exam_id": table["exam_year"]})
    frame = exams.assign(
        image_id=name,
        exam_number=order_exams(exams, exams["exam_id"]),
        laterality=side,
        view=table["viewposition"],
        path=paths_of(name, files.by_name()),
        cancer=cancer,
        cancer_timing=timing,
    )
    notes += rowless(files.besides(frame["path"]), source)
    for when, rows in frame[sick].groupby("cancer_timing"):
        breasts = len(rows.drop_duplicates(["patient_id", "exam_id", "laterality"]))
        label = {1.0: "are cancer", 0.0: "count as free of it"}.get(rows["cancer"].max(), "have no label")
        notes.append(f"{breasts:,} exams of a breast with cancer are {when} (cancer_timing), and {label}")
    return Listing(frame, source, unreadable=files.unreadable, notes=tuple(notes))
