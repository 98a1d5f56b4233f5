"""MIAS and its half-size release mini-MIAS: films of the UK's screening programme, one oblique view of each breast.

``mdb001.pgm`` (or ``mdb001lm.pgm``) and a list of what is on each, a line an abnormality. Two numbers in a row are one
woman's breasts: 001 and 002, 003 and 004.
"""

import re
from pathlib import Path

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.adapters import Facts, Listing
from rsna.dataset.downloads import find_images, find_table, paths_of, rowless
from rsna.dataset.table import LabelUnit, TableError

TABLES = ("Info.txt", "README")

LAYOUT = f"{TABLES[0]} (or {TABLES[1]}) with a line mdb001 …, and mdb001.pgm anywhere below"

LABELS: dict[str, LabelUnit] = {"cancer": "breast"}

FACTS = Facts(
    title="MIAS and mini-MIAS",
    source="https://www.repository.cam.ac.uk/handle/1810/250394",
    images=322,
    patients=161,
    licence="MIAS: CC BY; mini-MIAS: its own agreement, for research",
    release="ask",
    unit="image",
    cancer={"pathology": "severity M (malignant) of any abnormality on the film"},
    default="pathology",
    defects=(
        "digitised films of 8 bits, mini-MIAS of 200 µm a pixel: 1024×1024",
        "one oblique view of each breast, and a third of the films abnormal",
        "names of MIAS say the side, notes of mini-MIAS the other one of the same films: odd numbers are left, by MIAS",
        "patients are pairs of numbers; tissue F, G, D (fatty, glandular, dense) is no BI-RADS density: column tissue",
    ),
)

_LINE = re.compile(
    r"^\s*(mdb(\d{3}))([lr]?)[smlx]?\s+(?:([FGD])\s+)?(CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)\b[ \t]*([BM]?)\b",
    re.MULTILINE,
)


def matches(root: Path, split: Split) -> bool:
    """Whether there is a list of films with a line of the kind."""
    return split == "train" and (table := find_table(root, *TABLES)) is not None and bool(_lines(table))


def read(root: Path, split: Split, cancer_from: str) -> Listing:
    """Reads the list; a film of several abnormalities has several lines."""
    source = find_table(root, *TABLES) or root / TABLES[0]
    lines = pd.DataFrame(_lines(source), columns=["image_id", "number", "letter", "tissue", "kind", "severity"])
    if lines.empty:
        raise TableError(f"{source}: has no line such as mdb001 G CIRC B 535 425 197")
    malignant = lines["severity"].map({"M": 1.0, "B": 0.0}).mask(lines["kind"].eq("NORM"), 0.0)
    films = lines.assign(malignant=malignant).groupby("image_id", sort=True)
    frame = films.agg(
        number=("number", "first"), letter=("letter", "max"), tissue=("tissue", "max"),
        malignant=("malignant", lambda one: one.max() if one.eq(1).any() or one.notna().all() else float("nan")),
    ).reset_index()  # fmt: skip
    number = frame.pop("number").astype(int)
    files = find_images(root)
    places = {stem[:6].lower(): path for stem, path in files.by_name().items()}
    named = frame["image_id"].map(places).astype("string").str.extract(r"(?i)mdb\d{3}([lr])[smlx]?\.\w+$")[0]
    side = named.fillna(frame.pop("letter")).str.upper()
    side = side.mask(side.eq(""))
    frame = frame.assign(
        patient_id=((number + 1) // 2).map("{:03}".format),
        laterality=side.fillna((number % 2).map({1: "L", 0: "R"})),
        view="MLO",
        path=paths_of(frame["image_id"], places),
        cancer=frame.pop("malignant").astype(float),
    )
    notes = [f"{len(lines) - len(frame):,} lines are further abnormalities of a film"]
    notes += rowless(files.besides(frame["path"]), source)
    if side.isna().any():
        notes.append(f"{int(side.isna().sum()):,} films say no side: odd numbers are left, even ones right")
    return Listing(frame, source, unreadable=files.unreadable, notes=tuple(notes))


def _lines(table: Path) -> list[tuple[str, ...]]:
    """Name, number, letter of the side, tissue, abnormality, severity of every line that names a film."""
    try:
        return _LINE.findall(table.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise TableError(f"{table}: cannot be read: {error.strerror}") from error
