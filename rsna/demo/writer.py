"""The files of a part of the sample: its tables, and each scene as its machine would have stored it."""

import csv
import io
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileMetaDataset, dcmread, uid
from pydicom.encaps import encapsulate
from pydicom.errors import InvalidDicomError

from rsna.config.data import Split
from rsna.demo.films import draw_film
from rsna.demo.machines import Exposure, Machine, expose
from rsna.demo.plan import MALIGNANT, DemoSettings, Patient, Shot, plan_patients
from rsna.demo.scene import draw_scene
from rsna.files import WriteError, write_atomic
from rsna.parallel.pool import map_tasks
from rsna.parallel.progress import Progress

_DATE = "20221118"
"""Content Date of every file, so that it is not today's."""

_LEVELS = 5
"""Times that a JPEG 2000 codestream can be halved, as in the competition's files."""

_TIMEOUT = 600.0
"""Seconds a patient's images may take; they take one where nothing else runs."""

TRAIN_COLUMNS = (
    "site_id", "patient_id", "image_id", "laterality", "view", "age", "cancer", "biopsy", "invasive", "BIRADS",
    "implant", "density", "machine_id", "difficult_negative_case",
)  # fmt: skip
TEST_COLUMNS = (
    "site_id", "patient_id", "image_id", "laterality", "view", "age", "implant", "machine_id", "prediction_id",
)  # fmt: skip
LESION_COLUMNS = ("image_id", "kind", "malignant", "x", "y", "radius")

Row = dict[str, Any]


def is_simulated(image: object) -> bool:
    """Whether a file is one of the sample's, wherever it lies: its SOP Instance UID is made of its Instance Number."""
    if not isinstance(image, (str, Path)):
        return False
    try:
        header = dcmread(image, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "InstanceNumber"])
        return bool(header.SOPInstanceUID == _uid("image", int(header.InstanceNumber)))
    except (InvalidDicomError, OSError, AttributeError, TypeError, ValueError):
        return False


def write_split(folder: Path, settings: DemoSettings, split: Split, workers: int | None) -> None:
    """Writes the images and tables of a split into ``folder``; see :func:`rsna.demo.sample.write_demo`."""
    patients = plan_patients(settings, split)
    write_patient = _write_films if settings.films else _write_patient
    write = partial(write_patient, folder / f"{split}_images", settings.seed)
    lesions: list[Row] = []
    with Progress(f"draw the sample ({split})", len(patients), "patients") as progress:
        for outcome in progress.over(map_tasks(write, patients, workers=workers, timeout=_TIMEOUT)):
            if outcome.value is None:
                patient = outcome.task.patient_id
                if outcome.failure and outcome.failure.kind == WriteError.__name__:
                    raise OSError(f"the embedded sample: {outcome.failure.message}")
                raise RuntimeError(f"the embedded sample's patient {patient} was not written: {outcome.failure}")
            lesions += outcome.value
    labelled = [_table_row(patient, shot) for patient in patients for shot in patient.shots]
    _write_csv(folder / f"{split}.csv", TRAIN_COLUMNS if split == "train" else TEST_COLUMNS, labelled)
    _write_csv(folder / f"{split}_lesions.csv", LESION_COLUMNS, lesions)
    if split == "test":
        _write_csv(folder / "test_labels.csv", (*TRAIN_COLUMNS, "prediction_id"), labelled)


def _write_patient(images: Path, seed: int, patient: Patient) -> list[Row]:
    """Writes a patient's images; returns its rows of ``<split>_lesions.csv``."""
    lesions = []
    for shot in patient.shots:
        rng = np.random.default_rng([seed, shot.image_id])
        drawn = draw_scene(patient, shot, rng)
        exposure = expose(patient.machine, drawn.picture, drawn.air, rng)
        path = images / str(patient.patient_id) / f"{shot.image_id}.dcm"
        write_atomic(path, dicom_bytes(patient, shot, exposure))
        lesions += [
            {
                "image_id": shot.image_id,
                "kind": finding.kind,
                "malignant": int(finding.kind in MALIGNANT),
                "x": round(x),
                "y": round(y),
                "radius": round(finding.size / patient.machine.pitch, 1),
            }
            for finding, x, y in drawn.centres
        ]
    return lesions


def _write_films(images: Path, seed: int, patient: Patient) -> list[Row]:
    """Writes a patient's images as digitised films, on which nobody says where the findings are."""
    for shot in patient.shots:
        film = draw_film(patient, shot, np.random.default_rng([seed, shot.image_id]))
        encoded = bytes(imagecodecs.png_encode(film.picture))
        write_atomic(images / str(patient.patient_id) / f"{shot.image_id}.png", encoded)
    return []


def _table_row(patient: Patient, shot: Shot) -> Row:
    breast = next(b for b in patient.breasts if b.laterality == shot.laterality)
    return {
        "site_id": patient.machine.site_id,
        "patient_id": patient.patient_id,
        "image_id": shot.image_id,
        "laterality": shot.laterality,
        "view": shot.view,
        "age": patient.age,
        "cancer": int(breast.cancer),
        "biopsy": int(breast.biopsy),
        "invasive": int(breast.invasive),
        "BIRADS": breast.birads,
        "implant": int(patient.implant),
        "density": patient.density if patient.machine.site_id == 1 else None,
        "machine_id": patient.machine.machine_id,
        "difficult_negative_case": breast.difficult,
        "prediction_id": f"{patient.patient_id}_{shot.laterality}",
    }


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """A CSV with empty fields for None, as the competition writes missing values."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())


def dicom_bytes(patient: Patient, shot: Shot, exposure: Exposure) -> bytes:
    """A DICOM file (PS3.10) with one compressed frame and the tags that the competition's files carry."""
    frame, syntax = _compress(patient.machine, exposure.stored)
    dataset = Dataset()
    dataset.SOPInstanceUID = _uid("image", shot.image_id)
    dataset.ContentDate = _DATE
    dataset.PatientID = str(patient.patient_id)
    dataset.StudyInstanceUID = _uid("study", patient.patient_id)
    dataset.SeriesInstanceUID = _uid("series", patient.patient_id)
    dataset.InstanceNumber = str(shot.image_id)
    dataset.ImageLaterality = shot.laterality
    if patient.machine.full_header:
        dataset.SOPClassUID = uid.DigitalMammographyXRayImageStorageForPresentation
        dataset.Modality = "MG"
        dataset.ViewPosition = shot.view
    # The image pixel module (PS3.3 C.7.6.3) and what turns stored values into display values (C.11).
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if patient.machine.inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = exposure.stored.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = patient.machine.bits
    dataset.HighBit = patient.machine.bits - 1
    dataset.PixelRepresentation = 0
    if exposure.padding is not None:
        dataset.PixelPaddingValue = exposure.padding
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = patient.machine.sign
    dataset.WindowCenter = [str(centre) for centre, _ in exposure.windows]
    dataset.WindowWidth = [str(width) for _, width in exposure.windows]
    dataset.RescaleIntercept = "0"
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "US"
    if patient.machine.sigmoid:
        dataset.VOILUTFunction = "SIGMOID"
    dataset.LossyImageCompression = "00"
    dataset.PixelData = encapsulate([frame])
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = uid.DigitalMammographyXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _compress(machine: Machine, stored: npt.NDArray[np.uint16]) -> tuple[bytes, uid.UID]:
    if machine.codec == "jpeg_lossless":
        frame = imagecodecs.jpeg8_encode(stored, lossless=True, predictor=1, bitspersample=machine.precision)
        return bytes(frame), uid.JPEGLosslessSV1
    frame = imagecodecs.jpeg2k_encode(
        stored, level=0, codecformat="j2k", reversible=True, bitspersample=machine.precision, resolutions=_LEVELS + 1
    )
    return bytes(frame), uid.JPEG2000Lossless


def _uid(kind: str, number: int) -> uid.UID:
    return uid.generate_uid(entropy_srcs=["rsna demo", kind, str(number)])
