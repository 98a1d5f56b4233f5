import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from imagecodecs import jpeg8_encode
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

from rsna.config.data import PreprocessSettings
from rsna.config.settings import ConfigError, from_mapping, to_mapping
from rsna.dicom.errors import NoSuchWindow
from rsna.prepare.geometry import Geometry
from rsna.prepare.hashing import preprocessing_hash
from rsna.prepare.image import Prepared, prepare_image, read_overview
from rsna.prepare.source import open_image
from tests.prepare import files, phantoms

REAL = Path(os.environ.get("RSNA_TEST_DATA", "/nowhere")) / "rsna"
REAL_FILES = sorted((REAL / "train_images").glob("*/*.dcm")) if REAL.is_dir() else []
needs_real = pytest.mark.skipif(not REAL_FILES, reason="RSNA_TEST_DATA does not name the folder of real files")

SMALL = PreprocessSettings(size=(128, 64))


def _psnr(ours: Prepared, reference: Prepared) -> float:
    error = np.mean((ours.astype(np.float64) - reference) ** 2)
    return math.inf if error == 0 else 10 * math.log10(np.iinfo(ours.dtype).max ** 2 / error)


def _by_the_book(path: Path, geometry: Geometry, settings: PreprocessSettings) -> Prepared:
    """The same geometry from the whole image at full size, step by step."""
    image = open_image(path)
    display = image.display(image.decode(), window=settings.window)
    x0, y0, x1, y1 = geometry.box
    crop = cv2.resize(display[y0:y1, x0:x1], geometry.fitted[::-1], interpolation=cv2.INTER_AREA)
    crop = crop[:, ::-1] if geometry.flipped else crop
    top, left = geometry.offset
    out = np.zeros(geometry.size)
    out[top : top + geometry.fitted[0], left : left + geometry.fitted[1]] = crop
    return np.rint(out * 255).astype(np.uint8)


@pytest.mark.parametrize("syntax", ["native", "jpeg2000", "jpeg_lossless"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_breast_is_cropped_fitted_and_laid_on_black(tmp_path: Path, syntax: Any, photometric: str, bits: Any) -> None:
    image, _ = phantoms.breast(640, 512, muscle=True)
    path = files.write_dicom(
        tmp_path / "a.dcm", phantoms.with_label(image), syntax, PhotometricInterpretation=photometric
    )
    pixels, geometry = prepare_image(path, replace(SMALL, bits=bits))
    assert pixels.shape == (128, 64)
    assert pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    outside = np.ones(pixels.shape, bool)
    outside[geometry.content] = False
    assert not pixels[outside].any()
    assert geometry.source == (640, 512)
    x0, y0, x1, y1 = geometry.box
    want = cv2.resize(image[y0:y1, x0:x1], geometry.fitted[::-1], interpolation=cv2.INTER_AREA)
    got = pixels[geometry.content] / np.float32(np.iinfo(pixels.dtype).max)
    assert np.abs(got - want).mean() < 0.01  # the label is gone, and the tissue is where it was


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("orientation", ["right", "left", "keep"])
@pytest.mark.parametrize("crop", ["breast", "none"])
def test_every_breast_faces_one_way_flush_with_its_chest_wall(
    tmp_path: Path, side: str, orientation: Any, crop: Any
) -> None:
    image, _ = phantoms.breast(640, 300, side=side)
    path = files.write_dicom(tmp_path / "a.dcm", image)
    pixels, geometry = prepare_image(path, replace(SMALL, size=(128, 128), orientation=orientation, crop=crop))
    faces = {"left": "right", "right": "left"}[side]
    wanted = faces if orientation == "keep" else orientation
    assert geometry.flipped == (faces != wanted)
    on_left, on_right = np.count_nonzero(pixels[:, 0]), np.count_nonzero(pixels[:, -1])
    assert (on_left > 40 and on_right == 0) if wanted == "right" else (on_right > 40 and on_left == 0)


def test_a_mirrored_file_gives_the_same_picture(tmp_path: Path) -> None:
    image, _ = phantoms.breast(640, 512, muscle=True)
    one, _ = prepare_image(files.write_dicom(tmp_path / "a.dcm", image), SMALL)
    other, _ = prepare_image(files.write_dicom(tmp_path / "b.dcm", image[:, ::-1]), SMALL)
    assert _psnr(one, other) > 35


def test_laterality_of_the_header_does_not_decide(tmp_path: Path) -> None:
    image, _ = phantoms.breast(side="left")
    for laterality in "LR":
        path = files.write_dicom(tmp_path / "a.dcm", image, ImageLaterality=laterality)
        assert not prepare_image(path, SMALL)[1].flipped


@pytest.mark.parametrize("size", [(128, 64), (256, 128), (300, 300), (1024, 512)])
def test_earlier_levels_give_the_pixels_of_the_full_size(tmp_path: Path, size: tuple[int, int]) -> None:
    image, _ = phantoms.breast(1203, 901, muscle=True)  # sides that no level divides
    smooth = cv2.GaussianBlur(image, (0, 0), 3)
    for mirrored in (smooth, smooth[:, ::-1]):
        path = files.write_dicom(tmp_path / "a.dcm", mirrored, "jpeg2000")
        settings = PreprocessSettings(size=size)
        reduced, geometry = prepare_image(path, settings)
        full, geometry_full = prepare_image(path, replace(settings, full_resolution=True))
        assert geometry == geometry_full
        assert _psnr(reduced, full) > 42


def test_pixels_lie_where_the_geometry_says(tmp_path: Path) -> None:
    image, _ = phantoms.breast(1200, 900, muscle=True)
    for x, y in ((150, 500), (60, 800), (200, 660)):
        marked = cv2.GaussianBlur(image, (0, 0), 4) * 0.3
        cv2.circle(marked, (x, y), 30, 1.0, -1)
        for syntax in ("native", "jpeg2000"):
            pixels, geometry = prepare_image(files.write_dicom(tmp_path / "a.dcm", marked, syntax), SMALL)
            weights = np.clip(pixels.astype(np.float64) - 120, 0, None)
            rows, columns = np.indices(pixels.shape) + 0.5
            centre = [(weights * columns).sum() / weights.sum(), (weights * rows).sum() / weights.sum()]
            np.testing.assert_allclose(geometry.to_prepared([x + 0.5, y + 0.5]), centre, atol=0.1)


def test_crop_none_keeps_the_whole_image_and_its_labels(tmp_path: Path) -> None:
    image = phantoms.with_label(phantoms.breast(640, 320)[0])
    path = files.write_dicom(tmp_path / "a.dcm", image)
    settings = replace(SMALL, crop="none")
    pixels, geometry = prepare_image(path, settings)
    assert geometry.box == (0, 0, 320, 640)
    np.testing.assert_array_equal(pixels, _by_the_book(path, geometry, settings))


def test_crop_boxes_takes_the_box_that_is_given(tmp_path: Path) -> None:
    path = files.write_dicom(tmp_path / "a.dcm", phantoms.breast(640, 512)[0])
    settings = replace(SMALL, crop="boxes", boxes="boxes.csv")
    pixels, geometry = prepare_image(path, settings, (40, 200, 240, 500))
    assert geometry.box == (40, 200, 240, 500)
    np.testing.assert_array_equal(pixels, _by_the_book(path, geometry, settings))


def test_a_box_is_neither_forgotten_nor_ignored(tmp_path: Path) -> None:
    path = files.write_dicom(tmp_path / "a.dcm", phantoms.breast(64, 64)[0])
    boxes = replace(SMALL, crop="boxes", boxes="boxes.csv")
    with pytest.raises(ValueError, match="needs a box for every image"):
        prepare_image(path, boxes)
    with pytest.raises(ValueError, match="does not lie within 64×64"):
        prepare_image(path, boxes, (0, 0, 65, 10))
    with pytest.raises(ValueError, match="crop=breast does not use it"):
        prepare_image(path, SMALL, (0, 0, 10, 10))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_converted_set_is_prepared_like_the_original(tmp_path: Path, bits: int) -> None:
    image, _ = phantoms.breast(640, 512, side="right", muscle=True)
    original, geometry = prepare_image(files.write_dicom(tmp_path / "a.dcm", image), SMALL)
    converted, geometry_png = prepare_image(files.write_picture(tmp_path / "a.png", image, bits), SMALL)
    assert geometry == geometry_png
    assert _psnr(converted, original) > 45


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("prepared_bits", [8, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", ["native", "jpeg_lossless"])
def test_the_same_pixels_become_the_same_bytes_from_png_and_from_dicom(
    tmp_path: Path, bits: int, prepared_bits: Any, photometric: str, syntax: Any
) -> None:
    settings = replace(SMALL, bits=prepared_bits)
    image, _ = phantoms.breast(1301, 1024, side="right", muscle=True)
    image = np.clip(phantoms.with_noise(phantoms.with_label(image)), 0, 1)
    top = (1 << bits) - 1
    values = np.rint(image * top).astype(np.uint8 if bits == 8 else np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    stored = top - values if photometric == "MONOCHROME1" else values
    path = files.write_dicom(tmp_path / "a.dcm", np.zeros((8, 8)), PhotometricInterpretation=photometric)
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    if syntax == "jpeg_lossless":
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        dataset.PixelData = encapsulate([bytes(jpeg8_encode(stored, lossless=True, predictor=1, bitspersample=bits))])
    else:
        dataset.PixelData = stored.tobytes()
    dataset.save_as(path)
    (png, png_geometry), (dicom, geometry) = (prepare_image(tmp_path / name, settings) for name in ("a.png", "a.dcm"))
    assert png_geometry == geometry
    assert png.tobytes() == dicom.tobytes()


def test_a_picture_without_a_breast_is_kept_whole_and_its_geometry_says_so(tmp_path: Path) -> None:
    path = files.write_dicom(tmp_path / "a.dcm", phantoms.breast()[0])
    assert prepare_image(path, SMALL)[1].breast_found
    path = files.write_dicom(tmp_path / "b.dcm", phantoms.with_label(np.zeros((480, 384), np.float32)))
    _, geometry = prepare_image(path, SMALL)
    assert not geometry.breast_found
    assert geometry.box == (0, 0, 384, 480)
    assert Geometry.from_json(geometry.to_json()) == geometry


def test_windows_are_chosen_by_index_explanation_or_not_at_all(tmp_path: Path) -> None:
    image, _ = phantoms.breast(640, 512)
    path = files.write_dicom(
        tmp_path / "a.dcm",
        image,
        WindowCenter=[2048, 1000],
        WindowWidth=[4096, 500],
        WindowCenterWidthExplanation=["NORMAL", "HARDER"],
    )
    normal, geometry = prepare_image(path, SMALL)
    harder, geometry_harder = prepare_image(path, replace(SMALL, window=1))
    assert geometry == geometry_harder  # the crop does not depend on the window
    assert (normal != harder).mean() > 0.1
    np.testing.assert_array_equal(prepare_image(path, replace(SMALL, window="harder"))[0], harder)
    full_range, _ = prepare_image(path, replace(SMALL, window=None))
    assert np.abs(full_range.astype(int) - normal).max() <= 1
    with pytest.raises(NoSuchWindow):
        prepare_image(path, replace(SMALL, window=2))


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.int8), (12, np.int16)])
def test_signed_values_are_prepared_like_unsigned_ones(tmp_path: Path, bits: int, dtype: Any) -> None:
    image, _ = phantoms.breast(1200, 900)
    path = files.write_dicom(tmp_path / "a.dcm", image)
    unsigned, geometry = prepare_image(path, SMALL)
    dataset = pydicom.dcmread(path)
    stored = (dataset.pixel_array >> (12 - bits)).astype(np.int16) - (1 << (bits - 1))
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * np.dtype(dtype).itemsize, bits, bits - 1
    dataset.PixelRepresentation = 1
    dataset.PixelData = stored.astype(dtype).tobytes()
    dataset.save_as(path)
    signed, geometry_signed = prepare_image(path, SMALL)
    assert geometry_signed == geometry
    assert _psnr(signed, unsigned) > 45


@pytest.mark.parametrize("shape", [(8, 3000), (3000, 8), (1, 1), (3, 2), (40, 33)])
@pytest.mark.parametrize("syntax", ["native", "jpeg2000"])
def test_strange_shapes_are_prepared(tmp_path: Path, shape: tuple[int, int], syntax: Any) -> None:
    if min(shape) < 4 and syntax == "jpeg2000":
        syntax = "native"  # too small for wavelets
    path = files.write_dicom(tmp_path / "a.dcm", np.full(shape, 0.5), syntax)
    pixels, geometry = prepare_image(path, SMALL)
    assert pixels.shape == (128, 64)
    assert (pixels[geometry.content] > 100).all()


def test_the_overview_shows_the_whole_image_small(tmp_path: Path) -> None:
    image, _ = phantoms.breast(1203, 901)
    for syntax in ("native", "jpeg2000"):
        for least in (160, 256):
            overview = read_overview(open_image(files.write_dicom(tmp_path / "a.dcm", image, syntax)), least)
            assert least <= max(overview.shape) <= 512
            assert abs(overview.shape[0] / overview.shape[1] - 1203 / 901) < 0.01


def test_settings_are_checked_by_name_and_range() -> None:
    for mapping, message in (
        ({"size": [4, 512]}, r"size\[0\]: 4 is not in \[8, 8192\]"),
        ({"bits": 12}, "bits"),
        ({"margin": 0.6}, r"margin: 0.6 is not in \[0, 0.5\]"),
        ({"window": -1}, "window"),
        ({"crop": "boxes"}, "needs boxes=FILE.csv"),
        ({"boxes": "a.csv"}, "read with crop=boxes alone"),
        ({"crop": "tight"}, "crop"),
        ({"orientation": "up"}, "orientation"),
        ({"sise": [64, 64]}, "size"),
    ):
        with pytest.raises(ConfigError, match=message):
            from_mapping(PreprocessSettings, mapping)


def test_the_hash_follows_what_decides_the_pixels_and_nothing_else(tmp_path: Path) -> None:
    settings = PreprocessSettings()
    others = [
        replace(settings, size=(512, 256)),
        replace(settings, bits=16),
        replace(settings, crop="none"),
        replace(settings, margin=0.03),
        replace(settings, window=1),
        replace(settings, window=None),
        replace(settings, full_resolution=True),
        replace(settings, orientation="left"),
    ]
    assert len({preprocessing_hash(s) for s in [settings, *others]}) == 9
    assert preprocessing_hash(from_mapping(PreprocessSettings, to_mapping(settings))) == preprocessing_hash(settings)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("image_id,x0,y0,x1,y1\n1,0,0,5,5\n")
    one, same = (replace(settings, crop="boxes", boxes=str(tmp_path / name)) for name in ("a.csv", "b.csv"))
    assert preprocessing_hash(one) == preprocessing_hash(same)
    before = preprocessing_hash(one)
    (tmp_path / "a.csv").write_text("image_id,x0,y0,x1,y1\n1,0,0,5,6\n")
    assert preprocessing_hash(one) != before
    with pytest.raises(ConfigError, match=r"nowhere\.csv"):
        preprocessing_hash(replace(settings, crop="boxes", boxes="nowhere.csv"))


@needs_real
@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.stem)
def test_real_files_agree_with_full_decoding(path: Path) -> None:
    settings = PreprocessSettings()
    pixels, geometry = prepare_image(path, settings)
    reference = _by_the_book(path, geometry, settings)
    # The reference is not masked: outside of the outline it holds arm, belly, labels.
    tissue = cv2.erode((pixels > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    psnr = _psnr(np.where(tissue, pixels, 0).astype(np.uint8), np.where(tissue, reference, 0).astype(np.uint8))
    whole = _psnr(pixels, prepare_image(path, replace(settings, full_resolution=True))[0])
    print(f"{path.stem}: {psnr:.1f} dB on tissue, {whole:.1f} dB against full_resolution")
    assert psnr >= 40
    assert whole >= 40


@needs_real
def test_real_breasts_all_face_right_on_black() -> None:
    for path in REAL_FILES:
        pixels, geometry = prepare_image(path, PreprocessSettings(size=(512, 256)))
        laterality = open_image(path).tags.laterality  # type: ignore[attr-defined]
        assert geometry.flipped == (laterality == "R")
        assert np.count_nonzero(pixels[:, 0]) > 150
        assert np.median(pixels[:20, -20:]) == 0
