from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rsna.prepare.source import PictureError, open_image
from tests.prepare import files, phantoms


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_a_png_gives_its_values_over_the_full_range(tmp_path: Path, bits: int, dtype: type) -> None:
    image = open_image(files.write_picture(tmp_path / "a.png", np.linspace(0, 1, 35).reshape(5, 7), bits))
    stored = image.decode()
    assert (image.size, image.levels, stored.dtype) == ((5, 7), 0, dtype)
    np.testing.assert_allclose(image.display(stored), np.linspace(0, 1, 35).reshape(5, 7), atol=1 / 255)
    np.testing.assert_array_equal(image.display(stored, window=None, box=(2, 1, 5, 4)), image.display(stored)[1:4, 2:5])


def test_a_jpeg_gives_about_what_was_written(tmp_path: Path) -> None:
    display, _ = phantoms.breast()
    image = open_image(files.write_picture(tmp_path / "a.JPG", display))
    assert np.abs(image.display(image.decode()) - display).mean() < 0.02


def test_grey_that_was_written_as_colour_is_grey(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").decode(), grey)


def test_colour_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 255, (4, 5, 3), np.uint8))
    with pytest.raises(PictureError, match=r"a\.png: a colour image"):
        open_image(tmp_path / "a.png").decode()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_half_an_image_is_never_returned(tmp_path: Path, suffix: str) -> None:
    path = files.write_picture(tmp_path / f"a.{suffix}", phantoms.breast()[0])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match="truncated"):
        open_image(path).decode()


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(PictureError, match=r"a\.png: not a PNG or JPEG"):
        open_image(tmp_path / "a.png")
    Image.new("L", (4, 4)).save(tmp_path / "b.bmp")
    (tmp_path / "b.bmp").rename(tmp_path / "b.png")
    with pytest.raises(PictureError, match=r"b\.png: not a PNG or JPEG"):
        open_image(tmp_path / "b.png")


def test_more_pixels_than_allowed_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = files.write_picture(tmp_path / "a.png", np.zeros((100, 100)))
    with pytest.raises(PictureError, match="100×100 pixels exceed 9,999"):
        open_image(path, max_pixels=9_999)


def test_windows_and_levels_that_a_picture_lacks_are_refused(tmp_path: Path) -> None:
    image = open_image(files.write_picture(tmp_path / "a.png", np.zeros((4, 4))))
    with pytest.raises(PictureError, match="no window 1"):
        image.display(image.decode(), window=1)
    with pytest.raises(PictureError, match="level 0 alone"):
        image.decode(1)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "a.dcm")
