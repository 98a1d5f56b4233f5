"""Masks on a small picture of a mammogram, and what is done to them."""

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
"""(h, w) grey levels, air dark."""
Mask = npt.NDArray[np.uint8]
"""(h, w) 1 where something is, 0 elsewhere."""


def filled(mask: Mask) -> Mask:
    """``mask`` without holes."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(mask), contours, -1, 1, thickness=cv2.FILLED), dtype=np.uint8)


def grown(mask: Mask, reach: float) -> Mask:
    """``mask`` without holes and wider by ``reach`` pixels."""
    distance = cv2.distanceTransform(1 - filled(mask), cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(distance <= max(1.0, reach), dtype=np.uint8)


def opened(mask: Mask, reach: float) -> Mask:
    """What of ``mask`` holds a disc of radius ``reach`` pixels."""
    radius = max(1, round(reach))
    # Reflected, so that the opening does not round the breast off where it leaves the picture; replicated, a single
    # bright line along the edge would become a bar as deep as the radius.
    padded = cv2.copyMakeBorder(mask, radius, radius, radius, radius, cv2.BORDER_REFLECT)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.morphologyEx(padded, cv2.MORPH_OPEN, disc)[radius:-radius, radius:-radius], dtype=np.uint8)


def opened_wide(mask: Mask, reach: float) -> Mask:
    """What of ``mask`` holds a disc of radius ``reach`` pixels, by distances.

    As `opened`, but that the disc is a true circle: an element of many pixels costs their number at every pixel.
    """
    radius = max(1, round(reach))
    padded = cv2.copyMakeBorder(mask, radius, radius, radius, radius, cv2.BORDER_REFLECT)
    centres = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5) > radius
    around = cv2.distanceTransform((~centres).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) <= radius
    return np.asarray(around[radius:-radius, radius:-radius], dtype=np.uint8)


def quantile(grey: Grey, share: float, where: npt.NDArray[np.bool_] | None = None) -> float:
    """The value below which ``share``, 0 to 1, of the pixels lie, of those ``where`` says; as `numpy.quantile`.

    From a histogram, since sorting is what most of the time on a small picture went into. At least one pixel is there.
    """
    mask = None if where is None else where.view(np.uint8)
    counts = np.cumsum(cv2.calcHist([grey], [0], mask, [256], [0, 256]).ravel(), dtype=np.int64)
    place = share * (int(counts[-1]) - 1)
    lower = int(place)
    below, above = np.searchsorted(counts, (lower, min(lower + 1, int(counts[-1]) - 1)), side="right").tolist()
    part = place - lower
    return float(below + (above - below) * part if part < 0.5 else above - (above - below) * (1 - part))
