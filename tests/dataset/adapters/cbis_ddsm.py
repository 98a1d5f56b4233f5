"""CBIS-DDSM as a folder, as DICOM or converted: abnormalities in four tables, masks and crops beside whole images."""

from pathlib import Path

from tests.dataset.adapters.folders import write_csv, write_film

HEADER = [
    "patient_id", "{density}", "left or right breast", "image view", "abnormality id", "abnormality type", "assessment",
    "pathology", "subtlety", "image file path", "cropped image file path", "ROI mask file path",
]  # fmt: skip

ROWS = {
    ("mass", "train"): [
        ("P_90001", 3, "LEFT", "CC", 1, "BENIGN"),
        ("P_90001", 3, "LEFT", "CC", 2, "MALIGNANT"),
        ("P_90001", 3, "LEFT", "MLO", 1, "BENIGN"),
        ("P_90002", 2, "RIGHT", "CC", 1, "BENIGN_WITHOUT_CALLBACK"),
    ],
    ("mass", "test"): [("P_90003", 1, "LEFT", "MLO", 1, "BENIGN")],
    ("calc", "train"): [("P_90002", 2, "RIGHT", "CC", 1, "BENIGN")],
    ("calc", "test"): [("P_90002", 2, "LEFT", "CC", 1, "MALIGNANT"), ("P_90004", 4, "RIGHT", "MLO", 1, "BENIGN")],
}
"""90001: two abnormalities in one view, the malignant one not in the other; 90002: in mass and calc, train and test."""


def write(root: Path, converted: bool = False) -> Path:
    """Four patients, seven images of them in six views."""
    infos, made = [], {}
    for (kind, part), rows in ROWS.items():
        density = "breast_density" if kind == "mass" else "breast density"
        table = []
        for place, (patient, letter, side, view, number, pathology) in enumerate(rows):
            case = f"{kind.title()}-{'Training' if part == 'train' else 'Test'}_{patient}_{side}_{view}"
            mask, crop = (f"{case}_{number}/1.3.6/1.3.7/00000{one}.dcm" for one in (1, 0))
            if place % 2:
                mask, crop = crop, mask  # as in the publisher's own tables
            table.append(
                [patient, letter, side, view, number, kind, 4, pathology, 3, f"{case}/1.3/1.4/0.dcm", crop, mask]
            )
            for name, what in ((case, "full mammogram images"), (f"{case}_{number}", "ROI mask images")):
                if name not in made:
                    made[name] = _image(root, name, what, len(made), converted)
                    infos.append([made[name], name, what if patient != "P_90003" else ""])
        header = [column.format(density=density) for column in HEADER]
        write_csv((root / "csv" if converted else root) / f"{kind}_case_description_{part}_set.csv", header, table)
    if converted:
        write_csv(root / "csv" / "dicom_info.csv", ["image_path", "PatientID", "SeriesDescription"], infos)
    return root


def _image(root: Path, case: str, what: str, seed: int, converted: bool) -> str:
    side = "R" if "RIGHT" in case else "L"
    if converted:
        series = f"1.3.6.1.4.1.9590.100.1.2.{seed}"
        write_film(root / "jpeg" / series / "1-1.jpg", seed, side)
        return f"CBIS-DDSM/jpeg/{series}/1-1.jpg"
    place = root / "CBIS-DDSM" / case / "08-29-2017-DDSM-NA-96009" / f"1.000000-{what}-63992" / "1-1.dcm"
    write_film(place, seed, side, Modality="MG", PatientID=case)
    return str(place)
