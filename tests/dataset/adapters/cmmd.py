"""CMMD as a folder: names that repeat, breasts without a row, views as codes, an image of 16 bits."""

from pathlib import Path

from tests.dataset.adapters.folders import CC, MLO, view_code, write_csv, write_film, write_workbook

HEADER = ["ID1", "LeftRight", "Age", "number", "abnormality", "classification", "subtype"]

ROWS = [
    ["D1-9001", "L", 44, 2, "calcification", "Benign", None],
    ["D1-9002", "L", 51, 2, "mass", "Malignant", None],
    ["D1-9002", "R", 51, 2, "mass", "Benign", None],
    ["D2-9003", "R", 60, 2, "mass", "Benign", None],
    ["D2-9003", "R", 60, 2, "both", "Malignant", "Luminal B"],
    ["D2-9099", "L", 39, 2, "mass", "Malignant", "HER2-enriched"],
]
"""Of 9001 the right breast has no row; 9002 differs by side; a breast of 9003 has two rows; 9099 was not downloaded."""


def write(root: Path, workbook: bool = False) -> Path:
    """Three patients, two of them with both breasts imaged."""
    images = root / "manifest-1616439774456" / "CMMD"
    for number, (patient, sides) in enumerate([("D1-9001", "LR"), ("D1-9002", "LR"), ("D2-9003", "R")]):
        series = images / patient / f"07-18-2010-NA-NA-{number}0379" / "1.000000-NA-70244"
        shots = [(side, code) for side in sides for code in (CC, MLO)]
        for place, (side, code) in enumerate(shots, start=1):
            deep = patient == "D2-9003" and code == CC
            write_film(
                series / f"1-{place}.dcm", 10 * number + place, side, bits=16 if deep else 8, Modality="MG",
                PatientID=patient, StudyInstanceUID=f"1.2.{number}", StudyDate="20100718", ImageLaterality=side,
                PatientAge="070Y", **view_code(code),
            )  # fmt: skip
        (series / "LICENSE").write_text("CC BY 4.0", encoding="utf-8")
    if workbook:
        write_workbook(root / "CMMD_clinicaldata_revision.xlsx", {"Sheet1": [HEADER, *ROWS]})
    else:
        write_csv(root / "CMMD_clinicaldata_revision.csv", HEADER, ROWS)
    return root
