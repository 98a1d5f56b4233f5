"""EMBED as a folder: findings of exams in one table, images of them in another."""

from pathlib import Path

from tests.dataset.adapters.folders import write_csv, write_film

CLINICAL = [
    "empi_anon", "acc_anon", "study_date_anon", "desc", "side", "asses", "numfind", "tissueden", "age_at_study",
    "bside", "path_severity",
]  # fmt: skip

METADATA = [
    "empi_anon", "acc_anon", "anon_dicom_path", "FinalImageType", "ImageLateralityFinal", "ViewPosition", "spot_mag",
    "Manufacturer", "ManufacturerModelName",
]  # fmt: skip

SCREEN, DIAGNOSTIC, ULTRASOUND = "MG Screening Bilateral w/CAD", "MG Diagnostic Left w/CAD", "US Breast Left Limited"

Finding = tuple[str, str, str, str, float | str]
"""side, asses, bside, tissueden, path_severity."""

EXAMS: dict[int, list[tuple[str, str, list[Finding]]]] = {
    # Recalled for the left, whose biopsy a month later was invasive; the right was followed up for two years.
    10: [
        ("2014-01-01", SCREEN, [("L", "A", "", "2", "")]),
        ("2014-02-01", DIAGNOSTIC, [("L", "S", "L", "2", 0)]),
        ("2016-01-10", SCREEN, [("B", "N", "", "2", "")]),
    ],
    # Negative, and a cancer of the left within the year; the right has no later exam.
    20: [("2014-01-01", SCREEN, [("", "N", "", "3", "")]), ("2014-09-01", ULTRASOUND, [("L", "M", "L", "3", 1)])],
    # Recalled and cleared on the left.
    30: [("2014-01-01", SCREEN, [("L", "A", "", "1", "")]), ("2014-03-01", DIAGNOSTIC, [("L", "B", "", "1", "")])],
    # Recalled on both sides; of the pathology only the right's is malignant, though its finding is of both.
    40: [("2014-01-01", SCREEN, [("B", "A", "R", "4", 1), ("L", "A", "L", "4", 4)])],
    # Recalled, biopsied: a lymphoma is no breast cancer, and none is ruled out.
    50: [("2014-01-01", SCREEN, [("L", "A", "L", "4", 5)])],
    # Never seen again.
    60: [("2014-01-01", SCREEN, [("B", "B", "", "2", "")])],
    # A man.
    70: [("2014-01-01", SCREEN, [("B", "N", "", "5", "")]), ("2016-01-01", SCREEN, [("B", "N", "", "5", "")])],
}
"""Patient → date, description and findings of each exam."""


def write(root: Path, reduced: str = "") -> Path:
    """Images of every exam but ultrasounds: four views, a C-view and a spot view of each."""
    clinical, metadata = [], []
    for patient, exams in EXAMS.items():
        for number, (date, desc, findings) in enumerate(exams):
            exam = 100 * patient + number
            for place, (side, asses, of, density, severity) in enumerate(findings, start=1):
                clinical.append([patient, exam, date, desc, side, asses, place, density, 50.5 + number, of, severity])
            shots = [(side, view, "2D", "") for side in "LR" for view in ("CC", "MLO")]
            shots += [("L", "CC", "cview", ""), ("L", "CC", "2D", 1)]
            for place, (side, view, kind, spot) in enumerate(shots):
                if desc == ULTRASOUND:
                    continue
                below = f"cohort_1/{patient}/1.2.{exam}/1.2.{exam}.{place}.dcm"
                about = [kind, side, view, spot, "HOLOGIC, Inc.", "Selenia"]
                metadata.append([patient, exam, f"/mnt/NAS2/mammo/anon_dicom/{below}", *about])
                write_film(root / "images" / below, exam + place, side, Modality="MG")
    write_csv(root / "tables" / f"EMBED_OpenData_clinical{reduced}.csv", CLINICAL, clinical)
    write_csv(root / "tables" / f"EMBED_OpenData_metadata{reduced}.csv", METADATA, metadata)
    return root
