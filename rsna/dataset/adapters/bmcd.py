"""BMCD, the Breast Micro-Calcifications Dataset, as Zenodo publishes it: one breast of each woman, now and before.

``Dataset/{Normal,Suspicious}_cases/<n>/{CC,MLO}_{recent,prior}.dcm``, and a workbook with a sheet of either kind.
Numbers of folders repeat between the kinds, and file names in every folder.
"""

import re
from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import birads_category, density_letter, find_images, find_table, rowless
from rsna.dataset.table import LabelUnit, read_rows, refuse_rows, require_columns
from rsna.files import first_few

TABLE = "Description.xlsx"

KINDS = ("Normal", "Suspicious")

LAYOUT = f"{TABLE} with {{Normal,Suspicious}}_cases/<n>/{{CC,MLO}}_{{recent,prior}}.dcm, in Dataset or beside it"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="BMCD (Breast Micro-Calcifications Dataset)",
    source="https://zenodo.org/records/5036062",
    images=200,
    patients=100,
    licence="CC BY 4.0",
    release="yes",
    unit="breast",
    cancer={"pathology": "the biopsy was malignant or DCIS; normal cases, BI-RADS 1 and 2, count as free of it"},
    default="pathology",
    defects=(
        "one breast of each woman; of half of the suspicious ones no biopsy is available: without a label",
        "the 200 prior images are left out: what is known is of the recent ones",
        "endings in capitals, one CC_recemt.dcm, and names that repeat: image_id is the path",
    ),
)

_RECENT = re.compile(r"(?:.*/)?(\w+)_cases/(\d+)/(CC|MLO)_re\w+t\.dcm", re.IGNORECASE)
_COLUMNS = {
    "breast": "side", "age": "age", "biradscategoriesforbreast": "density", "biradscategoriesforclass": "birads",
    "biopsy": "biopsy",
}  # fmt: skip
"""How names of columns begin, without blanks and signs, and what is in them."""
_BIOPSY = {"malignant": 1.0, "dcis": 1.0, "benign": 0.0}


def matches(root: Path, split: Split) -> bool:
    """Whether the workbook lies beside the folders of either kind."""
    return split == "train" and find_table(root, TABLE) is not None and _cases(root).is_dir()


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads both sheets, and finds the two recent views of every case."""
    notes: list[str] = []
    files = find_images(_cases(root).parent, (".dcm",))
    recent = {}
    for below, path in files.paths.items():
        if found := _RECENT.fullmatch(below):
            recent[found[1].title(), int(found[2]), found[3].upper()] = path
    source = find_table(root, TABLE) or root / TABLE
    cases = pd.concat([_sheet(source, kind, notes) for kind in KINDS], ignore_index=True)
    frame = pd.concat([cases.assign(view=view) for view in ("CC", "MLO")], ignore_index=True)
    keys = list(zip(frame["kind"], frame["number"], frame["view"], strict=True))
    frame["path"] = [recent.get(key, "") for key in keys]
    frame["image_id"] = frame["patient_id"] + "_" + frame["view"]
    notes.append(f"{len(files.paths) - len(recent):,} files are not called recent, and left out as of earlier exams")
    notes += rowless((f"{kind}_{number}_{view}" for kind, number, view in sorted(recent.keys() - set(keys))), source)
    frame = frame.sort_values(["kind", "number", "view"]).drop(columns=["kind", "number"])
    return Listing(frame, source, unreadable=files.unreadable, notes=tuple(notes))


def _cases(root: Path) -> Path:
    """The folder of normal cases, which may lie in another called Dataset."""
    return next((path for path in (root / "Dataset", root) if path.is_dir()), root) / "Normal_cases"


def _sheet(source: Path, kind: str, notes: list[str]) -> pd.DataFrame:
    """A row a case, of columns that are told by how they begin: their names have notes and blanks behind."""
    table = read_rows(source, notes, ("Folder #",), sheet=f"{kind}_cases")
    named = {}
    for column in table.columns:
        plain = re.sub(r"[\W_]+", "", str(column)).lower()
        if start := next((start for start in _COLUMNS if plain.startswith(start)), ""):
            named[_COLUMNS[start]] = table[column].astype("string").str.strip()
    cells = pd.DataFrame(named, index=table.index)
    require_columns(cells, ("side", "biopsy") if kind == "Suspicious" else ("side",), f"{source}, sheet {kind}_cases")
    number = pd.to_numeric(table["Folder #"], errors="coerce")
    refuse_rows(number.isna(), table["Folder #"].astype(str), source, "rows have a Folder # that is no number")
    biopsy = cells["biopsy"].str.lower().map(_BIOPSY) if kind == "Suspicious" else pd.Series(0.0, index=table.index)
    if (unknown := biopsy.isna()).any():
        said = first_few(sorted(cells.loc[unknown, "biopsy"].fillna("nothing").unique()))
        notes.append(f"{int(unknown.sum()):,} suspicious cases have no result of a biopsy (but {said}), and no label")
    return pd.DataFrame(
        {
            "kind": kind,
            "number": number.astype(int),
            "patient_id": kind + "_" + number.astype(int).astype(str),
            "laterality": cells["side"].str[:1].str.upper(),
            "cancer": biopsy.astype(float),
            "biopsy": biopsy.notna().astype(float) if kind == "Suspicious" else 0.0,
            "age": pd.to_numeric(cells["age"], errors="coerce") if "age" in cells.columns else None,
            "density": density_letter(cells["density"]) if "density" in cells.columns else None,
            "breast_birads": birads_category(cells["birads"]) if "birads" in cells.columns else None,
        }
    )
