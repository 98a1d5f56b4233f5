"""BMCD as a folder: recent and earlier views of one breast of each woman, named as somebody typed."""

from collections.abc import Sequence
from pathlib import Path

from tests.dataset.adapters.folders import write_film, write_workbook

CASES = (("Right", "MALIGNANT"), ("Left", "DCIS"), ("Left", "BENIGN"), ("Right", "NOT AVAILABLE"))
"""Side and biopsy of suspicious cases, from folder 1 on."""


def write(root: Path, cases: Sequence[tuple[str, str]] = CASES, normal: int = 2) -> Path:
    """Suspicious cases and as many normal ones; folders of either kind are numbered from 1."""
    sheets: dict[str, list[list[object]]] = {}
    about = [
        "Age (at the time of the recent mammogram)",
        "Available mammograms",
        "BI-RADS categories for breast density",
    ]
    for kind, sides in (("Normal", [("Left", "")] * normal), ("Suspicious", cases)):
        header = ["Folder #", "Breast (Right/Left)", *about, "BI-RADS categories for classification "]
        header += ["Biopsy results"] * (kind == "Suspicious")
        sheet: list[list[object]] = [[f"{kind} cases"], [], header]
        for number, (side, biopsy) in enumerate(sides, start=1):
            birads = "4b" if kind == "Suspicious" else 1
            sheet.append([number, side, 50 + number, "2017-2019", "b", birads, *([biopsy] if biopsy else [])])
            folder = root / "Dataset" / f"{kind}_cases" / str(number)
            for place, view in enumerate(("CC", "MLO")):
                recent = "recemt" if (kind, number, view) == ("Suspicious", 3, "CC") else "recent"
                ending = "DCM" if number == 2 else "dcm"
                seed = 2 * number + place + 20 * (kind == "Normal")
                write_film(folder / f"{view}_{recent}.{ending}", seed, side[0], Modality="MG")
                write_film(folder / f"{view}_prior.{ending}", seed + 50, side[0], Modality="MG")
                if kind == "Suspicious":
                    write_film(folder / f"{view}_{recent}_GT.jpg", seed)
        sheets[f"{kind}_cases"] = sheet
    write_workbook(root / "Description.xlsx", sheets)
    return root
