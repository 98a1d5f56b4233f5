"""A scene as a DICOM file, as its machine would have stored it. The same scene gives the same bytes."""

import io

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalMammographyXRayImageStorageForPresentation,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    generate_uid,
)

from rsna.demo.machines import Exposure, Machine
from rsna.demo.plan import Patient, Shot

_DATE = "20221118"
"""Content Date of every file, so that it is not today's."""

_LEVELS = 5
"""Times that a JPEG 2000 codestream can be halved, as in the competition's files."""


def dicom_bytes(patient: Patient, shot: Shot, exposure: Exposure) -> bytes:
    """A DICOM file (PS3.10) with one compressed frame and the tags that the competition's files carry."""
    frame, syntax = _compress(patient.machine, exposure.stored)
    study = _uid("study", patient.patient_id)
    dataset = Dataset()
    dataset.SOPInstanceUID = _uid("image", shot.image_id)
    dataset.ContentDate = _DATE
    dataset.PatientID = str(patient.patient_id)
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = _uid("series", patient.patient_id)
    dataset.InstanceNumber = str(shot.image_id)
    dataset.ImageLaterality = shot.laterality
    if patient.machine.full_header:
        dataset.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
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
    dataset.file_meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _compress(machine: Machine, stored: npt.NDArray[np.uint16]) -> tuple[bytes, UID]:
    if machine.codec == "jpeg_lossless":
        frame = imagecodecs.jpeg8_encode(stored, lossless=True, predictor=1, bitspersample=machine.precision)
        return bytes(frame), JPEGLosslessSV1
    frame = imagecodecs.jpeg2k_encode(
        stored,
        level=0,
        codecformat="j2k",
        reversible=True,
        bitspersample=machine.precision,
        resolutions=_LEVELS + 1,
    )
    return bytes(frame), JPEG2000Lossless


def _uid(kind: str, number: int) -> UID:
    return generate_uid(entropy_srcs=["rsna demo", kind, str(number)])
