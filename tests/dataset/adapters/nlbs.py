"""NL-Breast-Screening as a folder: paths as Windows writes them, some of which lead nowhere."""

from pathlib import Path

from tests.dataset.adapters.folders import write_csv, write_film

HEADER = ["File Path", "Image Laterality", "View Position", "Age", "Cancer", "False Positive"]


def write(root: Path) -> Path:
    """Exams P10 to P13: P11 has cancer on the right, P12 a false alarm; P13's folder lacks, a file of P10 is short."""
    rows = []
    for number in range(10, 14):
        for place, (side, view) in enumerate([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]):
            path = Path("Images", f"P{number}", "Study", f"{side}{view}.dcm")
            cancer, alarm = int(number == 11 and side == "R"), int(number == 12 and side == "L")
            rows.append(["\\".join(path.parts), side, view, 50 + number, cancer, alarm])
            if number != 13:
                # What was unpacked without the folder above, and written on a disk that knows no capitals.
                at = root / path if number == 10 else root / "images" / path.relative_to("Images")
                write_film(at, 4 * number + place, side, Modality="MG", ImageLaterality=side, ViewPosition=view)
    short = root / "Images" / "P10" / "Study" / "LCC.dcm"
    short.write_bytes(short.read_bytes()[:2000])
    write_csv(root / "NLBSP-metadata.csv", HEADER, rows)
    return root
