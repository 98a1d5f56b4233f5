"""A set of breasts unlike each other: of one to four images, some without the other side, with gaps in the table."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from tests.training.tiny import noise, write_picture

VIEWS = ("CC", "MLO", "MLO", "")


def write_breasts(root: Path, patients: int = 16, seed: int = 0) -> Path:
    """Every second patient has a cancer, which one image of the breast shows as a bright disc."""
    generator = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        for side in "LR" if patient % 4 else "L":
            cancer = int(side == "L" and patient % 2)
            images = 1 + (patient + (side == "R")) % 4
            for number in range(images):
                image_id = f"{patient}{side}{number}"
                image = noise(generator)
                if cancer and number == images - 1:
                    cv2.circle(image, (16, 24), 6, 230.0, -1)
                write_picture(root, patient, image_id, image)
                rows.append(
                    {
                        "site_id": 1 + patient % 2,
                        "patient_id": patient,
                        "image_id": image_id,
                        "laterality": side,
                        "view": VIEWS[number],
                        "cancer": cancer,
                        "age": None if patient % 5 == 0 else 40 + patient,
                        "implant": 0,
                        "machine_id": 20 + patient % 3,
                        "density": "ABCD"[patient % 4],
                    }
                )
    pd.DataFrame(rows).to_csv(root / "train.csv", index=False)
    return root
