"""Mini-DDSM as a folder: four films of each patient, twelve bits in PNG of sixteen, and masks beside them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.dataset.adapters.folders import write_workbook
from tests.prepare.phantoms import breast

HEADER = [
    "fullPath", "fileName", "View", "Side", "Status", "Tumour_Contour", "Tumour_Contour2", "Age", "Density",
]  # fmt: skip

CASES = (("Cancer", "L"), ("Benign", "R"), ("Normal", ""), ("Cancer", ""))
"""Status of a patient, and the side on which a contour is drawn."""


def write(root: Path, cases: Sequence[tuple[str, str]] = CASES) -> Path:
    """A patient for each case; contours are drawn on one of the breast's views alone."""
    rows = []
    for number, (status, drawn) in enumerate(cases, start=1):
        folder = root / "MINI-DDSM-Complete-PNG-16" / status / f"{number:04}"
        folder.mkdir(parents=True)
        for place, (side, view) in enumerate((side, view) for side in ("LEFT", "RIGHT") for view in ("CC", "MLO")):
            stem = f"{status[0]}_{number:04}_1.{side}_{view}"
            film = np.rint(breast(96, 64, side=side.lower(), seed=4 * number + place)[0] * 4000).astype(np.uint16)
            cv2.imwrite(str(folder / f"{stem}.png"), film)
            contour = "-"
            if side[0] == drawn and view == "MLO":
                contour = f"{status}\\{number:04}\\{stem}_Mask.png"
                cv2.imwrite(str(folder / f"{stem}_Mask.png"), film)
            rows.append([f"{status}\\{number:04}\\{stem}.png", f"{stem}.png", view, side, status, contour, "-", 60, 2])
        (folder / f"TAPE_{status[0]}_{number:04}_1.COMB.16_PGM").touch()
    write_workbook(root / "Data-MoreThanTwoMasks" / "Data-MoreThanTwoMasks.xlsx", {"Sheet1": [HEADER, *rows]})
    return root
