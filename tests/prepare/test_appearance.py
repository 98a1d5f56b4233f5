"""How an image looks, in numbers that can be checked by hand."""

import numpy as np
import pytest

from rsna.config.data import PreprocessSettings
from rsna.prepare.appearance import appearance, look
from rsna.prepare.geometry import fit
from tests.prepare import phantoms
from tests.prepare.files import write_dicom


def test_numbers_are_those_of_the_picture():
    pixels = np.zeros((10, 10), np.uint8)
    pixels[:, :4], pixels[:5, :2] = 51, 153
    found = appearance(pixels, fit((0, 0, 50, 100), (200, 100), (10, 10), False, False))
    assert (found.long_side, found.crop_area, found.breast_area) == (200, 0.25, 0.4)
    assert found.brightness == pytest.approx((0.2 * 30 + 0.6 * 10) / 40)
    assert found.contrast == pytest.approx(np.std([0.2] * 30 + [0.6] * 10))
    black = appearance(np.zeros((4, 4), np.uint16), fit((0, 0, 4, 4), (4, 4), (4, 4), False, False))
    assert (black.breast_area, black.brightness, black.contrast) == (0, 0, 0)


def test_a_file_says_its_machine(tmp_path):
    image, _ = phantoms.breast(160, 120, side="left", muscle=False, seed=1)
    file = tmp_path / "1.dcm"
    write_dicom(file, image, "native", Manufacturer="ACME", ManufacturerModelName="X 1")
    found, machine = look(str(file), PreprocessSettings(size=(64, 32)))
    assert machine == "ACME X 1"
    assert found.long_side == 160
    assert 0 < found.brightness < 1
