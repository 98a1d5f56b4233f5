"""CDD-CESM as a folder: two images of each exposure, and a workbook in which one sheet is right."""

from collections.abc import Sequence
from pathlib import Path

from tests.dataset.adapters.folders import write_film, write_workbook

HEADER = [
    "Image_name", "Patient_ID", "Side", "Type", "Age", "Breast density (ACR)", "BIRADS", "Findings", "View", "Tags",
    "Machine", "Pathology Classification/ Follow up",
]  # fmt: skip

CASES = (("Malignant", "Normal"), ("Benign", "Malignant"), ("Normal", "Benign"))
"""Pathology of the left and the right breast, a patient each."""


def write(root: Path, cases: Sequence[tuple[str, str]] = CASES) -> Path:
    """Patients from P7 on. Of the first one an MLO is benign beside a malignant CC, and a CC has two rows."""
    rows, subtracted = [], []
    for number, pair in enumerate(cases):
        for place, (side, view) in enumerate([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]):
            pathology = "Benign" if (number, side, view) == (0, "L", "MLO") else pair[side == "R"]
            name = f"P{7 + number}_{side}_{{}}_{view}" + ("_2" if (number, side, view) == (1, "R", "MLO") else "")
            about = [
                side,
                "DM",
                40 + number,
                "C",
                "5$2" if pathology == "Malignant" else 2,
                "mass",
                view,
                "",
                2,
                pathology,
            ]
            blank = f" {name.format('DM')} " if place == 2 else name.format("DM").replace("_CC", " _CC")
            rows.append([blank, 7 + number + 90 * (number == 2 and place == 0), *about])
            if (number, place) == (0, 0):
                rows.append(rows[-1])
            subtracted.append([name.format("CM"), 7 + number, side, "CESM", 40 + number, "_", *about[4:]])
            folders = root / "PKG - CDD-CESM" / "CDD-CESM"
            seed = 4 * number + place
            write_film(folders / "Low energy images of CDD-CESM" / f"{name.format('DM')}.jpg", seed, side)
            write_film(folders / "Subtracted images of CDD-CESM" / f"{name.format('CM')}.jpg", seed, side)
    # The sheets of findings number patients otherwise.
    mass = [[row[0], 1000 - int(row[1]), *row[2:-1], "Benign"] for row in rows]
    sheets = {"all": [HEADER, *rows, *subtracted], "mass_description": [HEADER, *mass]}
    write_workbook(root / "Radiology manual annotations.xlsx", sheets)
    return root
