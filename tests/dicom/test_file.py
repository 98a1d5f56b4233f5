import io
import os
import pickle
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import get_frame
from pydicom.pixels import apply_modality_lut, apply_voi_lut

import rsna
from rsna.dicom import (
    CorruptPixels,
    DicomError,
    MultiFrame,
    NoSuchWindow,
    TooLarge,
    open_mammogram,
    read_mammogram,
)
from tests.dicom_files import breast, dicom_bytes


def test_a_path_its_bytes_and_its_data_set_read_alike(tmp_path):
    data = dicom_bytes(breast(), syntax="jpeg2000", WindowCenter=2000, WindowWidth=1000)
    path = tmp_path / "a.dcm"
    path.write_bytes(data)
    image = read_mammogram(path)
    assert (image.dtype, image.shape) == (np.float32, (120, 90))
    for source in (str(path), data, pydicom.dcmread(path)):
        np.testing.assert_array_equal(read_mammogram(source), image)
    np.testing.assert_array_equal(rsna.read_mammogram(path), image)


def test_the_data_set_that_is_given_is_not_changed():
    dataset = pydicom.dcmread(
        io.BytesIO(
            dicom_bytes(
                breast(),
                PhotometricInterpretation="MONOCHROME1",
                WindowCenter=[1, 2],
                WindowWidth=[3, 4],
                PixelPaddingValue=0,
            )
        )
    )
    before = dataset.to_json()
    read_mammogram(dataset, window=1)
    read_mammogram(dataset, window=None)
    assert dataset.to_json() == before


def test_read_mammogram_takes_window_and_level():
    data = dicom_bytes(breast(), syntax="jpeg2000", WindowCenter=[2000, 100], WindowWidth=[1000, 50])
    mammogram = open_mammogram(data)
    np.testing.assert_array_equal(read_mammogram(data, window=1), mammogram.display(window=1))
    np.testing.assert_array_equal(read_mammogram(data, window=None, level=2), mammogram.display(2, window=None))
    assert read_mammogram(data, level=2).shape == (30, 23)


def test_the_pixels_stay_in_the_file_until_they_are_asked_for(tmp_path):
    data = dicom_bytes(breast(), syntax="jpeg2000")
    path = tmp_path / "a.dcm"
    path.write_bytes(data[: data.index(b"\xff\x4f\xff\x51")])
    mammogram = open_mammogram(path)
    assert mammogram.size == (120, 90)
    assert mammogram.tags.patient_id == "77"
    with pytest.raises(DicomError, match="lacks"):
        mammogram.decode()


def test_errors_name_the_file_the_reason_and_the_remedy(tmp_path):
    path = tmp_path / "tomo.dcm"
    path.write_bytes(dicom_bytes(breast(), NumberOfFrames=60))
    with pytest.raises(MultiFrame) as info:
        open_mammogram(path)
    assert str(info.value) == f"{path}: (0028,0008) Number of Frames is 60. {MultiFrame.remedy}"
    late = tmp_path / "late.dcm"
    late.write_bytes(dicom_bytes(breast(), syntax="jpeg2000", frame=bytes(50)))
    with pytest.raises(CorruptPixels, match=r"late\.dcm"):
        open_mammogram(late).decode()
    with pytest.raises(NoSuchWindow, match=r"tomo|late|bytes"):
        read_mammogram(dicom_bytes(breast()), window=3)


def test_errors_travel_between_processes():
    with pytest.raises(MultiFrame) as info:
        open_mammogram(dicom_bytes(breast(), NumberOfFrames=60))
    copy = pickle.loads(pickle.dumps(info.value))
    assert type(copy) is MultiFrame
    assert str(copy) == str(info.value)


def test_every_error_is_a_value_error_with_a_remedy():
    kinds = DicomError.__subclasses__()
    assert len(kinds) == 13
    for kind in kinds:
        assert issubclass(kind, ValueError)
        assert kind.remedy.endswith(".")
        assert kind.__doc__


def test_a_missing_file_is_the_operating_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_mammogram(tmp_path / "none.dcm")
    with pytest.raises(IsADirectoryError):
        open_mammogram(tmp_path)


def test_max_pixels_is_held_against_the_header():
    data = dicom_bytes(breast(100, 100))
    assert open_mammogram(data, max_pixels=10_000).size == (100, 100)
    with pytest.raises(TooLarge, match="max_pixels"):
        open_mammogram(data, max_pixels=9_999)


REAL = os.environ.get("RSNA_TEST_DATA")


@pytest.mark.skipif(not REAL, reason="RSNA_TEST_DATA names no folder with real competition files")
def test_real_files_equal_pydicom_at_full_size():
    files = sorted(Path(REAL, "rsna", "train_images").glob("*/*.dcm"))
    assert len(files) == 12
    for path in files:
        mammogram = open_mammogram(path)
        stored = mammogram.decode()
        dataset = pydicom.dcmread(path)
        if "JPEG 2000" in dataset.file_meta.TransferSyntaxUID.name:
            reference = dataset.pixel_array
        else:  # pydicom has no permissive decoder of its own; this one shares no code with ours.
            reference = imagecodecs.ljpeg_decode(get_frame(dataset.PixelData, 0, number_of_frames=1))
        np.testing.assert_array_equal(stored, reference)
        image = mammogram.display(stored)[::5]  # pydicom takes seconds for all rows
        stored = stored[::5]
        expected = apply_voi_lut(apply_modality_lut(stored, dataset), dataset) / ((1 << dataset.BitsStored) - 1)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            expected = 1 - expected
        expected[stored == dataset.PixelPaddingValue] = 0
        np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.skipif(not REAL, reason="RSNA_TEST_DATA names no folder with real competition files")
def test_real_files_at_a_level_resemble_the_full_image():
    for path in sorted(Path(REAL, "rsna", "train_images").glob("*/*.dcm")):
        mammogram = open_mammogram(path)
        if mammogram.levels:
            full = mammogram.display(0)
            for level, least in ((1, 40), (2, 35)):
                small = mammogram.display(level)
                reference = cv2.resize(full, small.shape[::-1], interpolation=cv2.INTER_AREA)
                assert -10 * np.log10(np.mean((small - reference) ** 2)) >= least
