import pickle
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from rsna.config.data import PreprocessSettings
from rsna.dicom import DicomError, open_mammogram
from rsna.dicom.box import Box
from rsna.dicom.decode import Stored
from rsna.dicom.file import Mammogram
from rsna.prepare.file_task import PickledDataset, Source, prepare_source, prepare_source_each
from rsna.prepare.image import prepare_image
from tests.prepare import files, phantoms

SETTINGS = PreprocessSettings(size=(128, 64))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exam") / "folder" / "1.dcm"
    header = {"PatientID": "p7", "ImageLaterality": "R", "ViewPosition": "MLO"}
    return files.write_dicom(path, phantoms.breast(640, 512)[0], "jpeg2000", **header)


@pytest.mark.parametrize("form", ["path", "bytes", "data set"])
def test_every_form_of_a_source_gives_the_same_pixels_and_what_its_header_says(file: Path, form: str) -> None:
    source: Source = str(file)
    if form == "bytes":
        source = file.read_bytes()
    elif form == "data set":
        source = PickledDataset(pickle.dumps(pydicom.dcmread(file)))
    prepared = prepare_source(source, SETTINGS)
    pixels, geometry = prepare_image(file, SETTINGS)
    np.testing.assert_array_equal(prepared.pixels, pixels)
    assert prepared.geometry == geometry
    assert prepared.tags == open_mammogram(file).tags


def test_a_picture_has_no_header(tmp_path: Path) -> None:
    path = files.write_picture(tmp_path / "1.png", phantoms.breast(320, 256)[0])
    assert prepare_source(str(path), SETTINGS).tags is None


def test_the_stages_add_up_to_the_time_it_took_and_full_size_takes_longer_to_decode(tmp_path: Path) -> None:
    large = files.write_dicom(tmp_path / "large.dcm", phantoms.breast(1600, 1280)[0], "jpeg2000")
    seconds = []
    for settings in (SETTINGS, replace(SETTINGS, full_resolution=True)):
        best = float("inf")
        for _ in range(3):
            started = time.perf_counter()
            prepared = prepare_source(str(large), settings)
            took = time.perf_counter() - started
            assert min(prepared.read, prepared.decode, prepared.prepare) > 0
            assert took / 2 < prepared.read + prepared.decode + prepared.prepare <= took
            best = min(best, prepared.decode)
        seconds.append(best)
    assert seconds[1] > 2 * seconds[0]


def test_a_source_that_is_no_image_raises_its_own_error() -> None:
    with pytest.raises(DicomError):
        prepare_source(b"no image at all", SETTINGS)


@pytest.mark.parametrize("syntax", ["jpeg2000", "native"])
def test_several_settings_share_one_decode_of_each_level_and_change_no_byte(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write_dicom(tmp_path / "1.dcm", phantoms.breast(1600, 1280)[0], syntax)
    small, margin = replace(SETTINGS, size=(120, 60)), replace(SETTINGS, margin=0.2)
    settings = [
        SETTINGS, small, replace(SETTINGS, size=(700, 500)), margin, replace(SETTINGS, crop="none", bits=16),
        replace(SETTINGS, full_resolution=True), SETTINGS,
    ]  # fmt: skip
    alone = [prepare_source(str(path), one) for one in settings]
    levels: list[int] = []
    decode = Mammogram.decode

    def counting(self: Mammogram, level: int = 0, *box: Box | None) -> Stored:
        levels.append(level)
        return decode(self, level, *box)

    monkeypatch.setattr(Mammogram, "decode", counting)
    together = prepare_source_each(str(path), settings)
    assert sorted(set(levels)) == sorted(levels)
    assert len(levels) == 1 if syntax == "native" else len(levels) >= 2
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert (one.geometry, one.doubts, one.tags) == (other.geometry, other.doubts, other.tags)
    assert together[0] is together[-1]
    assert [one.decode > 0 for one in together[:-1]] == [True] + [False] * 5
