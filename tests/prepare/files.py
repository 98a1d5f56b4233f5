"""Mammograms as files, for the tests of this room."""

import contextlib
import fcntl
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
import pandas as pd
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, generate_uid

from tests.prepare import phantoms

Syntax = Literal["native", "jpeg2000", "jpeg_lossless"]

_UIDS = {"native": ExplicitVRLittleEndian, "jpeg2000": JPEG2000Lossless, "jpeg_lossless": JPEGLosslessSV1}


def write_dicom(path: Path, display: npt.NDArray[Any], syntax: Syntax = "native", **elements: Any) -> Path:
    """Writes (H, W) ``display`` in [0, 1] as 12 stored bits; ``elements`` are further values by keyword."""
    stored = np.clip(np.rint(display * 4095), 0, 4095).astype(np.uint16)
    if elements.get("PhotometricInterpretation") == "MONOCHROME1":
        stored = 4095 - stored
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = _UIDS[syntax]
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 16, 12, 11
    dataset.PixelRepresentation, dataset.PhotometricInterpretation = 0, "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    if syntax == "native":
        dataset.PixelData = stored.tobytes()
    else:
        dataset.PixelData = encapsulate([_encode(stored, syntax)])
        dataset["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _encode(stored: npt.NDArray[np.uint16], syntax: Syntax) -> bytes:
    if syntax == "jpeg_lossless":
        return bytes(imagecodecs.jpeg8_encode(stored, lossless=True, predictor=1, bitspersample=12))
    return bytes(imagecodecs.jpeg2k_encode(stored, level=0, codecformat="j2k", bitspersample=12, reversible=True))


def write_set(root: Path, count: int = 8, rows: int = 320, columns: int = 256) -> pd.DataFrame:
    """A table of small mammograms in turning syntaxes and sides; the same call writes the same pixels."""
    table = []
    for number in range(count):
        syntax: Syntax = ("native", "jpeg2000", "jpeg_lossless")[number % 3]  # type: ignore[assignment]
        side = "right" if number % 2 else "left"
        image, _ = phantoms.breast(rows, columns, side=side, muscle=number % 4 > 1, seed=number)
        image_id = f"{1000 + number}"
        path = write_dicom(root / "train_images" / "1" / f"{image_id}.dcm", phantoms.with_label(image), syntax)
        table.append(
            (str(number // 4), image_id, "R" if number % 2 else "L", "MLO" if number % 4 > 1 else "CC", str(path))
        )
    return pd.DataFrame(table, columns=["patient_id", "image_id", "laterality", "view", "path"])


def write_picture(path: Path, display: npt.NDArray[Any], bits: int = 8) -> Path:
    """Writes (H, W) ``display`` in [0, 1] as PNG or JPEG, by the ending of ``path``."""
    dtype = np.uint8 if bits == 8 else np.uint16
    cv2.imwrite(str(path), np.rint(np.clip(display, 0, 1) * ((1 << bits) - 1)).astype(dtype))
    return path


@contextlib.contextmanager
def stalled(path: Path) -> Iterator[Path]:
    """A regular file that whoever opens it waits for, as on a network disk that is gone.

    The kernel holds an open back while another process has a lease of the file, for 45 s (fcntl(2), F_SETLEASE).
    """
    path.write_bytes(b"never read")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # which would tell the holder of the lease, and end it
    with path.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        try:
            yield path
        finally:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, before)
