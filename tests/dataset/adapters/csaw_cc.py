"""CSAW-CC as a folder: women of several screening exams in two batches, and all that became of them in the table."""

from collections.abc import Sequence
from pathlib import Path

from tests.dataset.adapters.folders import write_csv, write_film

HEADER = [
    "anon_patientid", "exam_year", "x_age", "x_case", "x_cancer_laterality", "x_type", "x_lymphnode_met", "rad_timing",
    "rad_r1", "rad_r2", "rad_recall", "rad_recall_type_right", "rad_recall_type_left", "imagelaterality",
    "viewposition", "libra_breastarea", "libra_densearea", "libra_percentdensity", "anon_filename",
]  # fmt: skip

Exam = tuple[int, int | str]
"""Year and ``rad_timing``, "" where the woman has no cancer."""

WOMEN: Sequence[tuple[str, Sequence[Exam]]] = (
    ("Left", [(2012, 1), (2010, 3)]),
    ("Right", [(2011, 2)]),
    ("", [(2010, ""), (2014, ""), (2012, "")]),
    ("", [(2015, "")]),
)
"""Side of the cancer, "" for none, and exams as they stand in the table, in no order."""


def write(root: Path, women: Sequence[tuple[str, Sequence[Exam]]] = WOMEN) -> Path:
    """Women from 3 on; numbers at the end of names count a woman's images of a side and view."""
    rows = []
    for place, (sick, exams) in enumerate(women):
        patient, counts = 3 + place, dict.fromkeys(("L_CC", "L_MLO", "R_CC", "R_MLO"), 0)
        for year, timing in exams:
            for side in ("Left", "Right"):
                for view in ("CC", "MLO"):
                    counts[f"{side[0]}_{view}"] += 1
                    name = f"{patient:05}_20990909_{side[0]}_{view}_{counts[f'{side[0]}_{view}']}.dcm"
                    known = [
                        int(bool(sick)),
                        sick,
                        2 if sick else "",
                        0 if sick else "",
                        timing,
                        0,
                        1,
                        int(bool(sick)),
                        0,
                        0,
                    ]
                    rows.append([patient, year, 1, *known, side, view, 900, 90, 10, name])
                    seed = len(rows)
                    write_film(
                        root / f"Batch_{1 + place % 2}" / name, seed, side[0], Modality="MG", StudyDate="20990909"
                    )
    write_csv(root / "CSAW-CC_breast_cancer_screening_data.csv", HEADER, rows)
    return root
