"""What stands beside the breast or against it and is no part of it: labels, letters, wires.

``sharp`` is (h, w) the picture hardly blurred, ``threshold`` the grey level between its air and its skin. All lengths
are shares of the picture's long side, as in `rsna.prepare.crop`, which takes out what is found here.
"""

import cv2
import numpy as np
import numpy.typing as npt

from rsna.prepare.masks import Grey, Mask, grown, opened_wide

_LABEL_EDGE = 0.007
"""Width of a label's edge: within it a label falls from half of white to air, where skin takes longer."""

_LABEL_AREA = (0.001, 0.06)
"""Shares of the picture that a label takes."""

_LABEL_RIM = 0.55
"""How much of its rim stands against air; a calcification has none, a bright strip of skin one side."""

_LETTER_LEVEL = 0.25
"""How bright letters beside the breast are at least, between skin and white."""

_WRITING_LEVEL = 0.1
"""How bright the strokes of writing are at least, between skin and white, once they have blurred."""

_WRITING_BODY = 0.045
"""Radius of the disc that the body of a breast holds everywhere, where a nipple and a label stand out from it."""

_WRITING_RIM, _WRITING_AIR = 0.7, 0.6
"""How much of the rim and of the whole of writing has air next to it: the skin has it on one side alone."""

_WRITING_GAPS = 0.2
"""How much of writing is dark, between its strokes; a nipple has no gaps."""

_WRITING_STEEP = 0.22
"""Mean difference of neighbouring pixels in writing, of what lies between skin and white."""

_WRITING_AREA = 0.0002
"""Share of the picture that writing takes at least; less is dust."""

_WRITING_RADIUS = 3
"""Pixels of a label's edge below which strokes and the gaps between them have run into one another."""

_NEIGHBOURS = np.ones((3, 3), np.uint8)


def find_labels(sharp: Grey, threshold: float) -> Mask:
    """Boxes and blocks of letters, beside the breast or against it: white, and cut off from the air by a sharp edge."""
    radius = max(1, round(max(sharp.shape) * _LABEL_EDGE))
    square, larger = (np.ones((2 * side + 1, 2 * side + 1), np.uint8) for side in (radius, radius + 1))
    high = (sharp > threshold + 0.5 * (255 - threshold)).astype(np.uint8)
    # Letters close up to a block, while calcifications and a bright line of skin are too thin to stay.
    high = cv2.morphologyEx(cv2.morphologyEx(high, cv2.MORPH_CLOSE, larger), cv2.MORPH_OPEN, square)
    n, pieces, stats, _ = cv2.connectedComponentsWithStats(high, connectivity=4)
    rim = high > cv2.erode(high, _NEIGHBOURS)
    against_air = cv2.erode(sharp, square)[rim] <= threshold
    shares = np.bincount(pieces[rim], against_air, n) / np.maximum(np.bincount(pieces[rim], minlength=n), 1)
    areas = stats[:, cv2.CC_STAT_AREA] / sharp.size
    picked = (shares >= _LABEL_RIM) & (areas >= _LABEL_AREA[0]) & (areas <= _LABEL_AREA[1])
    picked[0] = False
    return np.asarray(cv2.dilate(picked[pieces].astype(np.uint8), square), dtype=np.uint8)


def find_writing(sharp: Grey, threshold: float, tissue: Mask) -> Mask | None:
    """Thin letters and rims against the breast, which blur to less than white, with what lies between them; or None."""
    radius = max(1, round(max(sharp.shape) * _LABEL_EDGE))
    if radius < _WRITING_RADIUS:
        return None
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    high = (sharp > threshold + _WRITING_LEVEL * (255 - threshold)).astype(np.uint8)
    # A nipple or a label stands out from the body of the breast, and does not hold a disc of this size.
    high &= ~opened_wide(grown(tissue, 0), _WRITING_BODY * max(sharp.shape))
    blocks = cv2.morphologyEx(cv2.morphologyEx(high, cv2.MORPH_CLOSE, square), cv2.MORPH_OPEN, _NEIGHBOURS)
    n, pieces, stats, _ = cv2.connectedComponentsWithStats(blocks, connectivity=8)
    rim = blocks > cv2.erode(blocks, _NEIGHBOURS)
    by_air = cv2.erode(sharp, square) <= threshold
    steep = cv2.morphologyEx(sharp, cv2.MORPH_GRADIENT, _NEIGHBOURS)

    def mean(values: npt.NDArray[np.generic], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        return np.bincount(pieces[where], values[where], n) / np.maximum(np.bincount(pieces[where], minlength=n), 1)

    inside = blocks > 0
    picked = (
        (mean(by_air, rim) >= _WRITING_RIM)
        & (mean(by_air, inside) >= _WRITING_AIR)
        & (mean(high == 0, inside) >= _WRITING_GAPS)
        & (mean(steep, inside) >= _WRITING_STEEP * (255 - threshold))
        & (stats[:, cv2.CC_STAT_AREA] >= _WRITING_AREA * sharp.size)
    )
    picked[0] = False
    if not picked.any():
        return None
    return np.asarray(cv2.dilate(picked[pieces].astype(np.uint8), square), dtype=np.uint8)


def find_letters(beside: Mask, near: Mask, sharp: Grey, threshold: float) -> Mask:
    """Pieces beside the breast that are bright somewhere and go on beyond what is near: letters, rims, wires."""
    high = sharp > threshold + _LETTER_LEVEL * (255 - threshold)
    n, pieces = cv2.connectedComponents(beside, connectivity=8)
    goes_on, is_high = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    goes_on[pieces[near == 0]], is_high[pieces[high]] = True, True
    picked = goes_on & is_high
    picked[0] = False
    return np.asarray(picked[pieces], dtype=np.uint8)
