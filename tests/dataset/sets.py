"""Sets in the competition's layout, for the tests of this room."""

from pathlib import Path

import pandas as pd


def make_set(root: Path, rows: list[dict], split: str = "train", suffix: str = ".dcm") -> Path:
    """Writes a set whose files are empty: tables look at names and sizes alone."""
    frame = pd.DataFrame(rows)
    root.mkdir(parents=True, exist_ok=True)
    frame.to_csv(root / f"{split}.csv", index=False)
    for row in rows:
        file = root / f"{split}_images" / str(row["patient_id"]) / f"{row['image_id']}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 10)
    return root


def rows(**changes):
    """The four images of patient 7, cancer on the left; ``changes`` are those of the second."""
    base = [
        {"patient_id": 7, "image_id": 70 + i, "laterality": side, "view": view, "cancer": int(side == "L")}
        for i, (side, view) in enumerate([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")])
    ]
    base[1].update(changes)
    return base
