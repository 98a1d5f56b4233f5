"""Mirai's CSV with its images: two exams of one patient, an exam that leads to a cancer, paths whole and relative."""

from pathlib import Path

from rsna.dataset.adapters.mirai import COLUMNS
from tests.dataset.adapters.folders import write_csv, write_film

EXAMS = [
    ("p1", "e1", 2, 4, "train"),
    ("p1", "e2", 0, 2, "train"),
    ("p2", "e3", 100, 5, "test"),
    ("p3", "e4", "", "", "dev"),
]


def write(root: Path) -> Path:
    rows = []
    for number, (patient, exam, years, followed, group) in enumerate(EXAMS):
        for place, (side, view) in enumerate([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]):
            name = f"images/{exam}/{side}_{view}.png"
            write_film(root / name, 4 * number + place, side)
            path = str(root / name) if place % 2 else name
            rows.append([patient, exam, side, view, path, years, followed, group])
    write_csv(root / "mirai_train.csv", COLUMNS, rows)
    return root
