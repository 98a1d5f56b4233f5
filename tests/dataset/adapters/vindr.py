"""VinDr-Mammo as a folder: exams of four views, a BI-RADS a breast, findings in a table of their own."""

from collections.abc import Sequence
from pathlib import Path

from tests.dataset.adapters.folders import write_csv, write_film

HEADER = [
    "study_id", "series_id", "image_id", "laterality", "view_position", "height", "width", "breast_birads",
    "breast_density", "split",
]  # fmt: skip


def write(root: Path, birads: Sequence[tuple[int, int]] = ((1, 4), (5, 2), (3, 1)), first: int = 0) -> Path:
    """An exam for each pair, of its left and right breast, numbered from ``first``, whose headers have no age."""
    rows, findings = [], []
    for number, pair in enumerate(birads, first):
        study = f"{number:02}" + "ab" * 15
        for place, (side, view) in enumerate([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]):
            image = f"{number:02}{place:02}" + "cd" * 14
            category = pair[side == "R"]
            split = "test" if number == first + len(birads) - 1 else "training"
            rows.append([study, "ef" * 16, image, side, view, 96, 64, f"BI-RADS {category}", "DENSITY C", split])
            # What is marked twice stands twice.
            findings += [[study, image, side, view, f"BI-RADS {category}", box] for box in range(1 + (category > 2))]
            age = {"PatientAge": f"{50 + number:03}Y"} if number > first else {}
            write_film(
                root / "images" / study / f"{image}.dicom", 4 * number + place, side, Modality="MG",
                Manufacturer="IMS s.r.l.", ManufacturerModelName="GIOTTO", ImageLaterality=side,
                ViewPosition=view, **age,
            )  # fmt: skip
    write_csv(root / "breast-level_annotations.csv", HEADER, rows)
    finding = ["study_id", "image_id", "laterality", "view_position", "finding_birads", "xmin"]
    write_csv(root / "finding_annotations.csv", finding, findings)
    write_csv(root / "metadata.csv", ["SOP Instance UID", "Manufacturer"], [[row[2], "IMS s.r.l."] for row in rows])
    return root
