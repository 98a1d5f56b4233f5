import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from rsna.config.data import PreprocessSettings
from rsna.dicom.box import Box
from rsna.dicom.file import read_mammogram
from rsna.prepare.crop import find_breast
from rsna.prepare.image import prepare_image
from tests.prepare import phantoms

REAL = Path(os.environ.get("RSNA_TEST_DATA", "/nowhere")) / "rsna"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="RSNA_TEST_DATA does not name the folder of real files")


def _box_of(tissue: np.ndarray) -> Box:
    x, y, width, height = cv2.boundingRect(tissue.astype(np.uint8))
    return x, y, x + width, y + height


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _assert_holds(box: Box, tissue: np.ndarray, slack: float = 1.15) -> None:
    """The box keeps the tissue but for the rim that the threshold takes, and little else."""
    kept = tissue[box[1] : box[3], box[0] : box[2]].sum() / tissue.sum()
    assert kept >= 0.96
    assert _area(box) <= slack * _area(_box_of(tissue))


@pytest.mark.parametrize("hazard", phantoms.HAZARDS)
@pytest.mark.parametrize("muscle", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_breast_is_found_whatever_stands_beside_it(hazard: str, muscle: bool, seed: int) -> None:
    image, tissue = phantoms.breast(muscle=muscle, seed=seed)
    picture = phantoms.HAZARDS[hazard](image)
    below = (picture.shape[0] - image.shape[0]) // 2 if hazard == "padding" else 0
    tissue = np.pad(tissue, ((picture.shape[0] - image.shape[0] - below, below), (0, 0)))
    found = find_breast(picture)
    assert found.found
    assert found.chest_wall == "left"
    _assert_holds(found.box, tissue)


@pytest.mark.parametrize("level", [1.0, 0.4])
@pytest.mark.parametrize("muscle", [False, True])
def test_a_bright_frame_around_the_picture_is_left_out(level: float, muscle: bool) -> None:
    image, tissue = phantoms.breast(muscle=muscle)
    framed = phantoms.with_frame(image, level=level)
    width = (framed.shape[0] - image.shape[0]) // 2
    found = find_breast(framed)
    assert found.chest_wall == "left"
    _assert_holds(found.box, np.pad(tissue, width))
    assert not found.outline[0].any()
    assert not found.outline[:, -1].any()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("muscle", [False, True])
def test_the_side_of_the_chest_wall_is_told(side: str, muscle: bool) -> None:
    image, tissue = phantoms.breast(side=side, muscle=muscle)
    assert find_breast(image).chest_wall == side
    x0, y0, x1, y1 = _box_of(tissue)
    assert find_breast(image[y0:y1, x0:x1]).chest_wall == side  # also where the picture was cropped before
    assert find_breast(image[y0 + 20 : y1 - 20, x0 + 20 : x1 - 20]).chest_wall == side


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_share_that_is_kept_does_not_depend_on_the_size_of_the_picture(scale: float) -> None:
    image, tissue = phantoms.breast(round(480 * scale), round(384 * scale))
    _assert_holds(find_breast(phantoms.with_label(image)).box, tissue)


def test_values_may_have_any_range_and_type() -> None:
    image, tissue = phantoms.breast()
    for values in (
        (image * 255).astype(np.uint8),
        (image * 4095).astype(np.uint16),
        (image * 3000 - 1024).astype(np.int16),
        0.95 + 0.02 * image,
    ):
        _assert_holds(find_breast(values).box, tissue)


def test_labels_outside_of_the_breast_are_outside_of_its_outline() -> None:
    image, tissue = phantoms.breast()
    labelled = phantoms.with_label(image, at=(0.05, 0.1))
    outline = find_breast(labelled).outline.astype(bool)
    assert not outline[(labelled > 0.5) & ~tissue].any()
    assert outline[tissue].all()


def test_the_outline_has_no_holes() -> None:
    image, tissue = phantoms.breast()
    image[tissue & (np.hypot(*(np.indices(tissue.shape) - np.array([[[260]], [[60]]]))) < 25)] = 0  # an oil cyst
    assert find_breast(image).outline[tissue].all()


def test_a_torn_off_nipple_is_kept() -> None:
    image, tissue = phantoms.breast()
    tip = _box_of(tissue)[2]
    cv2.circle(image, (tip + 5, 264), 5, 0.3, -1)
    assert find_breast(image).box[2] >= tip + 8


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((300, 200)),
        np.full((300, 200), 7, np.uint16),
        np.random.default_rng(0).normal(size=(300, 200)),
        phantoms.with_label(np.zeros((300, 200), np.float32)),
        np.ones((1, 1)),
        np.ones((2, 400)),
    ],
)
def test_the_whole_picture_is_taken_where_no_breast_is_found(image: np.ndarray) -> None:
    found = find_breast(image)
    assert not found.found
    assert found.box == (0, 0, image.shape[1], image.shape[0])
    assert found.outline.all()


@pytest.mark.parametrize("shape", [(0, 5), (5,), (2, 3, 4)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(h, w\)"):
        find_breast(np.zeros(shape))


def _real_boxes() -> list[tuple[Path, Box]]:
    if not REAL.is_dir():
        return []
    with (REAL / "breast_boxes.csv").open() as file:
        return [
            (
                REAL / "train_images" / row["patient_id"] / f"{row['image_id']}.dcm",
                (int(row["x0"]), int(row["y0"]), int(row["x1"]), int(row["y1"])),
            )
            for row in csv.DictReader(file)
        ]


@needs_real
@pytest.mark.parametrize(("path", "hand"), _real_boxes(), ids=lambda value: getattr(value, "stem", ""))
def test_real_breasts_are_kept_and_little_else(path: Path, hand: Box) -> None:
    _, geometry = prepare_image(path, PreprocessSettings())
    grey = cv2.convertScaleAbs(read_mammogram(path, window=0), alpha=255)
    otsu, _ = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    bright = np.zeros(grey.shape, bool)
    bright[hand[1] : hand[3], hand[0] : hand[2]] = grey[hand[1] : hand[3], hand[0] : hand[2]] > otsu
    x0, y0, x1, y1 = geometry.box
    kept = bright[y0:y1, x0:x1].sum() / bright.sum()
    ratio = _area(geometry.box) / _area(hand)
    print(f"{path.stem}: {100 * kept:.2f} % kept, area {ratio:.3f} × the hand's")
    assert kept >= 0.99
    assert ratio <= 1.4
