"""What one file is, without preparing it: header facts, and a thumbnail by which equal pixels are found."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.uid import UID

from rsna.dicom.file import Mammogram
from rsna.prepare.image import read_overview
from rsna.prepare.source import open_image

THUMBNAIL = 24
"""Pixels along both sides of a thumbnail, whatever the image's aspect."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Facts of a file that can be read. Text is "" where the file does not say; a picture says almost nothing."""

    rows: int
    columns: int
    syntax: str
    """Transfer syntax by name, or the kind of picture."""
    bits_stored: int
    photometric: str
    """MONOCHROME1 or MONOCHROME2."""
    window_function: str
    """LINEAR, LINEAR_EXACT, SIGMOID; LUT where a VOI LUT takes its place; none where there is no window."""
    windows: int
    """How many there are to choose from."""
    patient_id: str
    laterality: str
    view: str
    modality: str
    """MG, and whatever else lies in a folder."""
    presentation_intent: str
    """FOR PRESENTATION or FOR PROCESSING."""
    machine: str
    """Manufacturer and model."""
    thumbnail: npt.NDArray[np.float32]
    """(24, 24) stored values, averaged."""


def probe(path: str) -> Probe:
    """Reads the header and a small level of the pixels; what a worker does.

    Raises:
        DicomError, PictureError, OSError: The file cannot be read.
    """
    image = open_image(path)
    stored = read_overview(image)
    thumbnail = cv2.resize(stored.astype(np.float32), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    rows, columns = image.size
    if not isinstance(image, Mammogram):
        kind = Path(path).suffix.lower().lstrip(".").replace("jpeg", "jpg").upper()
        bits = 8 * stored.itemsize
        return Probe(rows, columns, kind, bits, "MONOCHROME2", "none", 0, "", "", "", "", "", "", thumbnail)
    tags, grayscale = image.tags, image.grayscale
    windows = len(grayscale.luts or grayscale.windows)
    function = "LUT" if grayscale.luts else grayscale.function if grayscale.windows else "none"
    return Probe(
        rows=rows,
        columns=columns,
        syntax=UID(tags.transfer_syntax).name,
        bits_stored=tags.bits_stored,
        photometric=tags.photometric,
        window_function=function,
        windows=windows,
        patient_id=tags.patient_id,
        laterality=tags.laterality,
        view=tags.view,
        modality=tags.modality,
        presentation_intent=tags.presentation_intent,
        machine=f"{tags.manufacturer} {tags.model}".strip(),
        thumbnail=thumbnail,
    )


def pixel_hash(path: str) -> str:
    """SHA-256 of the stored values at full size: equal for equal pixels in whatever syntax; what a worker does.

    Raises:
        DicomError, PictureError, OSError: The file cannot be read.
    """
    stored = open_image(path).decode()
    values = np.ascontiguousarray(stored, dtype=np.int32 if stored.dtype.kind == "i" else np.uint16)
    return hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()
