"""INbreast as a folder: semicolons, categories with letters, blank densities, patients in the names of files alone."""

from pathlib import Path

from tests.dataset.adapters.folders import write_csv, write_film

HEADER = ["Patient ID", "Patient age", "Laterality", "View", "Acquisition date", "File Name", "ACR", "Bi-Rads"]

ROWS = [
    ("aa" * 8, "R", "CC", 201001, 90000001, 2, "4a"),
    ("aa" * 8, "R", "MLO", 201001, 90000002, 2, "2"),
    ("aa" * 8, "L", "CC", 201001, 90000003, "", "1"),
    ("aa" * 8, "L", "MLO", 201102, 90000004, 2, "6"),
    ("bb" * 8, "L", "CC", 201001, 90000005, 4, "3"),
    ("bb" * 8, "L", "MLO", 201001, 90000006, 4, "5"),
]
"""Patient a has a second exam; the views of a's right and b's left breast differ in their category."""


def write(root: Path) -> Path:
    rows: list[list[object]] = []
    for seed, (patient, side, view, date, number, density, birads) in enumerate(ROWS):
        name = f"{number}_{patient}_MG_{side}_{'ML' if view == 'MLO' else view}_ANON.dcm"
        write_film(root / "AllDICOMs" / name, seed, side, Modality="MG", PatientID="removed")
        rows.append(["removed", "removed", side, view, date, number, density, birads])
    nothing = [[""] * len(HEADER)] * 3
    write_csv(root / "INbreast.csv", HEADER, [*rows, *nothing], delimiter=";")
    return root
