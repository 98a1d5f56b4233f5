"""Windows and look-up tables that show next to nothing: applied as they stand, and noted."""

import numpy as np
import pytest

from rsna.dicom import open_mammogram, read_mammogram
from tests.dicom_files import breast, dicom_bytes, lut_item

RAMP = np.arange(4096, dtype=np.uint16)


def window(center, width, **elements):
    return {"WindowCenter": center, "WindowWidth": width, **elements}


def notes(bits=12, **elements):
    return open_mammogram(dicom_bytes(breast(bits=bits), bits, **elements)).notes


FEW = [
    (window(2048, 1), "Width '1' shows '2' of 256 greys"),
    (window(2048, 2), "Width '2' shows '3' of 256 greys"),
    (window(4090, 20), "Width '20' shows '17' of 256 greys"),
    (window(2048, 20, VOILUTFunction="LINEAR_EXACT"), "shows '22' of 256 greys"),
    (window(2048, 4, VOILUTFunction="SIGMOID"), "shows '13' of 256 greys"),
    (window(2048, 1e6), "shows '2' of 256 greys"),
    (window(2048, 1e6, VOILUTFunction="SIGMOID"), "shows '2' of 256 greys"),
    (window(2048, 4096, RescaleSlope="1e-9", RescaleIntercept=0), "shows '1' of 256 greys"),
    (window(40, 400), "covers '239' of the '4096' values that can be stored"),
    (window(128, 256), "covers '255' of the '4096' values"),
    (window(2048, 4096, RescaleSlope=16, RescaleIntercept=0), "covers '256' of the '4096' values"),
    ({"VOILUTSequence": [lut_item(0, 16, RAMP)]}, "nothing brighter than '6' % of white"),
    ({"VOILUTSequence": [lut_item(0, 16, RAMP * 4)]}, "LUT Descriptor says '16' bits, its entries have '14'"),
    ({"VOILUTSequence": [lut_item(0, 12, RAMP // 2048 * 4095)]}, "VOI LUT Sequence shows '2' of 256 greys"),
    (
        {"VOILUTSequence": [lut_item(0, 12, RAMP)], "RescaleSlope": 16, "RescaleIntercept": 0},
        "VOI LUT Sequence covers '256' of the '4096' values",
    ),
    ({"ModalityLUTSequence": [lut_item(0, 16, RAMP)]}, "Modality LUT Sequence shows nothing brighter than '6' %"),
    (window(32768, 65536, ModalityLUTSequence=[lut_item(0, 16, RAMP)]), "shows '17' of 256 greys"),
]


@pytest.mark.parametrize(("elements", "note"), FEW, ids=[note for _, note in FEW])
def test_few_greys_are_noted(elements, note):
    assert len(notes(**elements)) == 1
    assert note in notes(**elements)[0]


def test_every_choice_has_its_note_and_pixels_stay_as_they_are():
    assert len(notes(**window([2048, 2048, 100], [4096, 1, 10]))) == 2
    image = read_mammogram(dicom_bytes(breast(), VOILUTSequence=[lut_item(0, 16, RAMP)]))
    np.testing.assert_allclose(image, breast() / 65535, atol=1e-6)


@pytest.mark.parametrize(
    "elements",
    [
        {},
        window(2048, 4096),
        window(1000, 300),
        window(3300, 800, VOILUTFunction="SIGMOID"),
        window(0, 4096, RescaleSlope=-1, RescaleIntercept=2047),
        window(16, 32, RescaleSlope="0.0078125", RescaleIntercept=0),
        {"VOILUTSequence": [lut_item(0, 12, RAMP)]},
        {"VOILUTSequence": [lut_item(1000, 16, RAMP[::8] * 16)]},
        window(2048, 4096, ModalityLUTSequence=[lut_item(0, 16, RAMP)]),
    ],
)
def test_what_shows_the_breast_is_not_noted(elements):
    assert notes(**elements) == ()


def test_bits_stored_of_16_may_hold_12_and_few_bits_have_few_greys():
    assert notes(16, **window(1802, 1092)) == ()
    assert notes(4, **window(8, 16)) == ()
    assert notes(3) == ()


def test_a_slope_that_vanishes_beside_its_intercept_rescales_nothing():
    for elements in ({}, window(2048, 4096)):
        data = dicom_bytes(breast(), RescaleSlope="1e-20", RescaleIntercept=5, **elements)
        assert "values are not rescaled" in open_mammogram(data).notes[0]
        np.testing.assert_allclose(read_mammogram(data), breast() / 4095, atol=1e-6)
