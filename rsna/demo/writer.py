"""The sample on disk, in the competition's layout: its tables, and each scene as its machine would have stored it."""

import csv
import io
import os
import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileMetaDataset, uid
from pydicom.encaps import encapsulate

from rsna.config.data import Split
from rsna.config.settings import digest, to_mapping
from rsna.demo.machines import Exposure, Machine, expose
from rsna.demo.plan import MALIGNANT, DemoSettings, Patient, Shot, plan_patients
from rsna.demo.scene import draw_scene
from rsna.files import read_json, write_atomic, write_json
from rsna.parallel.pool import map_tasks

DEMO_VERSION = 1
"""Raised by hand when the same settings give other bytes."""

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


def write_demo(root: str | Path, settings: DemoSettings | None = None, workers: int | None = None) -> None:
    """Writes the embedded sample to ``root``, or leaves it where it is there already with the same settings.

    The competition's layout: ``train.csv``, ``train_images/<patient_id>/<image_id>.dcm``, ``test.csv``,
    ``test_images/``; besides, ``test_labels.csv`` has what the competition keeps to itself, ``train_lesions.csv`` and
    ``test_lesions.csv`` say what was drawn where (x, y, radius in pixels of the file), ``settings.json`` how it was
    made. The bytes are a function of the settings alone, however many ``workers`` (processes; None for one a core)
    there are. The folder appears whole or not at all.

    Raises:
        FileExistsError: ``root`` holds something that is no embedded sample.
    """
    settings = settings or DemoSettings()
    root = Path(root)
    made_with = demo_digest(settings)
    if _digest_of(root) == made_with:
        return
    if root.is_file() or (root.is_dir() and _digest_of(root) is None and any(root.iterdir())):
        raise FileExistsError(f"{root} holds something else than the embedded sample: name another folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = root.with_name(f".{root.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for split in ("train", "test"):
            _write_split(temporary, settings, split, workers)
        write_json(
            temporary / "settings.json",
            {"digest": made_with, "version": DEMO_VERSION, "settings": to_mapping(settings)},
        )
        _put_in_place(temporary, root, made_with)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def demo_digest(settings: DemoSettings) -> str:
    """What the sample's bytes depend on, 12 hexadecimal characters."""
    return digest(settings, DEMO_VERSION)


def _digest_of(root: Path) -> str | None:
    path = root / "settings.json"
    if not path.is_file():
        return None
    found = read_json(path)
    return str(found["digest"]) if isinstance(found, dict) and "digest" in found else None


def _put_in_place(temporary: Path, root: Path, made_with: str) -> None:
    old = root.with_name(f".{root.name}.{os.getpid()}.old")
    if root.exists():
        root.rename(old)
    try:
        temporary.rename(root)
    except OSError:
        if _digest_of(root) != made_with:  # else another process was faster, with the same bytes
            if old.exists() and not root.exists():
                old.rename(root)
            raise
    shutil.rmtree(old, ignore_errors=True)


def _write_split(folder: Path, settings: DemoSettings, split: Split, workers: int | None) -> None:
    patients = plan_patients(settings, split)
    write = partial(_write_patient, folder / f"{split}_images", settings.seed)
    lesions: list[Row] = []
    for outcome in map_tasks(write, patients, workers=workers, timeout=_TIMEOUT):
        if outcome.value is None:
            patient = outcome.task.patient_id
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
