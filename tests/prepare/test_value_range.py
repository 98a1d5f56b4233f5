import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rsna.config.data import PreprocessSettings
from rsna.config.settings import ConfigError
from rsna.prepare.hashing import preprocessing_hash
from rsna.prepare.image import prepare_image
from rsna.prepare.source import open_image
from rsna.prepare.value_range import Measured, RangeFound, _extremes_of, find_range, grey_levels, measured, narrowed
from tests.prepare import phantoms
from tests.prepare.files import write_dicom

measure = _extremes_of


def crash_or_measure(path: str) -> tuple[int, int] | None:
    """What a decoder with a fault does with some files; in a worker."""
    if Path(path).parent.name == "crash":
        os.abort()
    return measure(path)


SETTINGS = PreprocessSettings(size=(128, 96), crop="none", orientation="keep")


def _pictures(folder: Path, bits: int = 12, count: int = 3, offset: int = 0) -> list[str]:
    """Sixteen-bit PNG whose values have ``bits`` bits."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in range(count):
        display, _ = phantoms.breast(128, 96, seed=seed)
        stored = np.rint(display * ((1 << bits) - 1)).astype(np.uint16) + np.uint16(offset)
        stored[0, 0] = offset + (1 << bits) - 1
        cv2.imwrite(str(folder / f"{seed}.png"), stored)
        paths.append(str(folder / f"{seed}.png"))
    return paths


def _dicom(folder: Path, count: int = 3, **elements: Any) -> list[str]:
    """Values of twelve bits under Bits Stored 16, without a window."""
    elements = {"BitsStored": 16, "HighBit": 15} | elements
    return [
        str(write_dicom(folder / f"{seed}.dcm", phantoms.breast(128, 96, seed=seed)[0], **elements))
        for seed in range(count)
    ]


@pytest.mark.parametrize("kind", [_pictures, _dicom])
def test_values_that_fill_a_sixteenth_of_their_range_are_shown_by_the_sets_own(tmp_path: Path, kind: Any) -> None:
    paths = kind(tmp_path)
    assert grey_levels(prepare_image(paths[0], SETTINGS)[0]) < 20
    settings, found = measured(SETTINGS, paths)
    assert settings.value_range == (0, 4095)
    assert grey_levels(prepare_image(paths[0], settings)[0]) > 100
    assert found is not None
    assert "preprocess.value_range=[0,4095]" in str(found)
    assert preprocessing_hash(settings) != preprocessing_hash(SETTINGS)


def test_a_picture_of_sixteen_bits_and_a_file_of_twelve_become_the_same_image(tmp_path: Path) -> None:
    display, _ = phantoms.breast(128, 96)
    dicom = write_dicom(tmp_path / "a.dcm", display)
    cv2.imwrite(str(tmp_path / "a.png"), np.rint(display * 4095).astype(np.uint16))
    settings, _ = measured(SETTINGS, [str(tmp_path / "a.png"), str(dicom)])
    one, other = (prepare_image(path, settings)[0] for path in (dicom, tmp_path / "a.png"))
    np.testing.assert_array_equal(one, other)


def test_the_range_is_the_sets_not_the_images(tmp_path: Path) -> None:
    dark, bright = _pictures(tmp_path / "dark", bits=8), _pictures(tmp_path / "bright", bits=12)
    settings, _ = measured(SETTINGS, [*dark, *bright])
    assert settings.value_range == (0, 4095)
    levels = [prepare_image(paths[0], settings)[0].mean() for paths in (dark, bright)]
    assert levels[0] * 8 < levels[1]


def test_inverted_images_are_shown_within_the_range_too(tmp_path: Path) -> None:
    paths = _dicom(tmp_path, PhotometricInterpretation="MONOCHROME1")
    settings, _ = measured(SETTINGS, paths)
    pixels, _ = prepare_image(paths[0], settings)
    np.testing.assert_array_equal(pixels, prepare_image(_dicom(tmp_path / "plain")[0], settings)[0])


@pytest.mark.parametrize(
    "elements", [{"WindowCenter": 2048, "WindowWidth": 4096}, {"BitsStored": 12, "HighBit": 11}], ids=str
)
def test_windows_and_fitting_headers_are_left_alone(tmp_path: Path, elements: dict[str, Any]) -> None:
    assert measured(SETTINGS, _dicom(tmp_path, **elements)) == (SETTINGS, None)


def test_a_window_is_left_out_where_none_is_wanted_and_wins_where_one_is(tmp_path: Path) -> None:
    paths = _dicom(tmp_path, WindowCenter=1000, WindowWidth=500)
    unwindowed = PreprocessSettings(size=(128, 96), crop="none", orientation="keep", window=None)
    settings, _ = measured(unwindowed, paths)
    assert settings.value_range == (0, 4095)
    ranged = PreprocessSettings(size=(128, 96), crop="none", orientation="keep", value_range=(0, 100))
    np.testing.assert_array_equal(prepare_image(paths[0], ranged)[0], prepare_image(paths[0], SETTINGS)[0])


def test_eight_bits_are_what_they_are(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 48), 9, np.uint8))
    assert measured(SETTINGS, [str(tmp_path / "a.png")]) == (SETTINGS, None)


def test_what_is_burnt_in_at_full_scale_does_not_count(tmp_path: Path) -> None:
    paths = _pictures(tmp_path)
    stored = cv2.imread(paths[0], cv2.IMREAD_UNCHANGED)
    stored[:6, :20] = 65535
    cv2.imwrite(paths[0], stored)
    assert measured(SETTINGS, paths)[0].value_range == (0, 4095)


def test_a_broken_pixel_does_not_count(tmp_path: Path) -> None:
    paths = _pictures(tmp_path)
    stored = cv2.imread(paths[0], cv2.IMREAD_UNCHANGED)
    stored[60, 40:44] = 50000
    cv2.imwrite(paths[0], stored)
    assert measured(SETTINGS, paths)[0].value_range == (0, 4095)


def test_a_file_that_crashes_whoever_decodes_it_costs_the_measurement_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsna.prepare.value_range._extremes_of", crash_or_measure)
    (tmp_path / "crash").mkdir()
    crashing = _pictures(tmp_path / "crash", count=1)
    settings, found = measured(SETTINGS, [*crashing, *_pictures(tmp_path)])
    assert settings.value_range == (0, 4095)
    assert found is not None
    assert found.n_images == 3


def test_values_far_from_zero_have_a_range_of_their_own(tmp_path: Path) -> None:
    settings, _ = measured(SETTINGS, _pictures(tmp_path, bits=10, offset=32768))
    assert settings.value_range == (32768, 33791)


def test_padding_does_not_count(tmp_path: Path) -> None:
    paths = _dicom(tmp_path, PixelPaddingValue=60000)
    for path in paths:
        content = bytearray(Path(path).read_bytes())
        content[-400:] = np.full(200, 60000, "<u2").tobytes()
        Path(path).write_bytes(content)
    assert measured(SETTINGS, paths)[0].value_range == (0, 4095)


def test_a_range_that_is_given_is_kept_and_nothing_is_measured(tmp_path: Path) -> None:
    settings = PreprocessSettings(value_range=(0, 1023))
    assert measured(settings, ["nowhere.png"]) == (settings, None)
    with pytest.raises(ConfigError, match="value_range"):
        PreprocessSettings(value_range=(5, 5))


def test_files_that_cannot_be_read_are_left_to_preparing(tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    (tmp_path / "torn.dcm").write_bytes(b"nothing")
    paths = [str(tmp_path / "torn.png"), str(tmp_path / "torn.dcm"), str(tmp_path / "absent.dcm")]
    assert measured(SETTINGS, paths) == (SETTINGS, None)
    assert measured(SETTINGS, [*paths, *_pictures(tmp_path)])[0].value_range == (0, 4095)


def test_the_same_files_give_the_same_range_wherever_they_lie_and_in_any_order(tmp_path: Path) -> None:
    here, there = _pictures(tmp_path / "a", count=5), _pictures(tmp_path / "b", count=5)
    assert measured(SETTINGS, here) == measured(SETTINGS, there[::-1])


def test_values_beyond_the_range_are_white_and_a_range_beside_the_values_is_not_used(tmp_path: Path) -> None:
    image = open_image(_pictures(tmp_path)[0])
    display = narrowed(image, PreprocessSettings(value_range=(0, 1000))).display(0)
    stored = image.decode()
    assert (display[stored >= 1000] == 1).all()
    np.testing.assert_allclose(display[stored < 1000], stored[stored < 1000] / 1000, rtol=1e-6)
    np.testing.assert_array_equal(
        narrowed(image, PreprocessSettings(value_range=(70000, 80000))).display(0), image.display(0)
    )


def test_what_was_measured_is_remembered_until_a_file_of_the_sample_changes(tmp_path: Path) -> None:
    paths = _pictures(tmp_path)
    found = find_range(SETTINGS, paths, tmp_path)
    assert found.measured is not None
    assert found.measured == measured(SETTINGS, paths)[1]
    told = RangeFound(found.sample, Measured(1, (0, 200), (0, 255)))
    told.write(tmp_path)
    assert find_range(SETTINGS, paths, tmp_path) == told  # no file was opened
    assert find_range(replace(SETTINGS, window=None), paths, tmp_path).measured == found.measured
    told.write(tmp_path)
    found_at = Path(paths[0]).stat()
    time.sleep(0.03)  # times of files advance by some milliseconds at once
    os.utime(paths[0], ns=(found_at.st_atime_ns, found_at.st_mtime_ns))  # as after an exchange of names
    assert find_range(SETTINGS, paths, tmp_path).measured == found.measured
    os.utime(paths[0], ns=(1, 1))
    assert find_range(SETTINGS, paths, tmp_path).measured == found.measured
    (tmp_path / "value_range.json").write_text("{")
    assert find_range(SETTINGS, paths, tmp_path).measured == found.measured


def test_a_remembered_range_of_which_a_digit_changed_is_measured_again(tmp_path: Path) -> None:
    paths = _pictures(tmp_path)
    found = find_range(SETTINGS, paths, tmp_path)
    assert found.measured is not None
    RangeFound(found.sample, Measured(1, (0, 200), (0, 255))).write(tmp_path)
    file = tmp_path / "value_range.json"
    file.write_text(file.read_text().replace("200", "201"))
    assert RangeFound.read(tmp_path) is None
    assert find_range(SETTINGS, paths, tmp_path).measured == found.measured
