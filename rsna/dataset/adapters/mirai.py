"""The table that Mirai reads: patients followed over years, an exam's years to cancer in each of its images; both ways.

Columns patient_id, exam_id, laterality, view, file_path, years_to_cancer (100 for none), years_to_last_followup,
split_group. Its label is of an exam: which breast it is, the format does not say.
"""

import os
from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import path_id
from rsna.dataset.exams import exams_of, order_exams
from rsna.dataset.table import LabelUnit, TableError, read_rows, refuse_rows
from rsna.files import first_few
from rsna.table_file import read_columns

COLUMNS = (
    "patient_id", "exam_id", "laterality", "view", "file_path", "years_to_cancer", "years_to_last_followup",
    "split_group",
)  # fmt: skip

LAYOUT = f"a CSV with the columns {', '.join(COLUMNS)}"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="Mirai's CSV",
    source="https://github.com/yala/Mirai",
    images=None,
    patients=None,
    licence="that of the images it names",
    release="ask",
    unit="exam",
    cancer={"pathology": "years_to_cancer = 0: cancer within a year of the exam, in one of its breasts"},
    default="pathology",
    defects=(
        "a label is of an exam, and both of its breasts have it: one of the two is mostly wrong",
        "no dates: exams are ordered by years_to_last_followup, where these differ",
    ),
)

_NEVER = 100
"""years_to_cancer where there was none (Mirai's README)."""

_GROUPS = ("train", "dev", "test")
"""Parts that Mirai knows, by patient."""

_VIEWS = ("LCC", "LMLO", "RCC", "RMLO")
"""What Mirai needs of an exam."""


def matches(root: Path, split: Split) -> bool:
    """Whether a CSV of the folder has these columns."""
    return split == "train" and bool(_tables(root))


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads the table; relative paths begin in its folder."""
    tables = _tables(root)
    if len(tables) != 1:
        found = f"holds {first_few(path.name for path in tables)}" if tables else "holds none"
        raise TableError(f"{root}: {found}; expected {LAYOUT}, one file")
    notes: list[str] = []
    table = read_rows(tables[0], notes, COLUMNS[:5])
    years = pd.to_numeric(table["years_to_cancer"], errors="coerce")
    wrong = table["years_to_cancer"].notna() & ~(years.ge(0) & years.mod(1).eq(0))
    refuse_rows(wrong, table["file_path"], tables[0], "rows have years_to_cancer that are no whole number of years")
    paths = table["file_path"].astype(str)
    stems = paths.map(lambda path: Path(path).stem)
    frame = (
        table.drop(columns="file_path")
        .rename(columns={"split_group": "split"})
        .assign(
            image_id=stems if stems.is_unique else paths.str.lstrip("/").map(path_id),
            path=[str(root / path) if os.path.isfile(root / path) else "" for path in paths],  # noqa: PTH113
            cancer=years.eq(0).astype(float).mask(years.isna()),
        )
    )
    if "years_to_last_followup" in table.columns:
        followed = pd.to_numeric(table["years_to_last_followup"], errors="coerce")
        times = (1000 - followed).map("{:09.3f}".format, na_action="ignore").fillna("")
        frame["exam_number"] = order_exams(frame, times.astype(str))
    exams = int(frame.loc[frame["cancer"].eq(1), ["patient_id", "exam_id"]].drop_duplicates().shape[0])
    notes.append(f"{tables[0]}: does not say in which breast: both of {exams:,} exams with cancer have it")
    return Listing(frame, tables[0], "rows have a file_path where no file is", notes=tuple(notes))


def to_mirai(images: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Images of a table as Mirai reads them, in ``COLUMNS``.

    Args:
        images: Columns of :mod:`rsna.dataset.adapters`, checked.
        notes: A line is added on what the format cannot say.
    """
    exam = exams_of(images)
    exam = exam.mask(exam.eq(""), images["patient_id"])
    of_exam = [images["patient_id"], exam]
    label = images["cancer"].groupby(of_exam).transform("max")
    # Free of cancer is an exam of which every image is known to be: the breast without a label may be the one.
    label = label.mask(label.eq(0) & images["cancer"].isna().groupby(of_exam).transform("any"))
    views = (images["laterality"] + images["view"]).where(lambda one: one.isin(_VIEWS))
    whole = views.groupby(of_exam).transform("nunique").eq(len(_VIEWS))
    given = images["split"] if "split" in images.columns else pd.Series("train", index=images.index)
    group = given.where(given.isin(_GROUPS), "train")
    leaks = group.groupby(images["patient_id"]).transform("nunique").gt(1)
    table = pd.DataFrame(
        {
            "patient_id": images["patient_id"],
            "exam_id": exam,
            "laterality": images["laterality"],
            "view": images["view"],
            "file_path": images["path"],
            "years_to_cancer": label.map({1.0: 0, 0.0: _NEVER}).astype("Int64"),
            "years_to_last_followup": 0,
            "split_group": group.mask(leaks, "train"),
        }
    )
    for wrong, what in (
        (label.isna(), "images of exams without a label are left out"),
        (label.notna() & ~whole, "images are of exams that lack one of the four views, which Mirai needs"),
    ):
        if wrong.any():
            notes.append(f"{int(wrong.sum()):,} {what} (first: {first_few(images.loc[wrong, 'image_id'])})")
    if leaks.any():
        patients = images.loc[leaks, "patient_id"].unique()
        notes.append(
            f"{len(patients):,} patients are of several parts, and all in train (first: {first_few(patients)})"
        )
    notes.append("years are those of the exam itself: 0 to a cancer, 0 followed up; a cancer is the exam's, of no side")
    return table[label.notna()]


def _tables(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    found = [path for path in sorted(root.iterdir()) if path.suffix.lower() == ".csv" and path.is_file()]
    return [path for path in found if set(COLUMNS[:6]) <= set(read_columns(path))]
