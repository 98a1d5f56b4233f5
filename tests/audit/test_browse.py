from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from rsna.audit.browse import browse
from rsna.config.data import PreprocessSettings
from rsna.pictures.style import ALARM, APART, CROP, NEAR, rgb
from tests.prepare import files

SETTINGS = PreprocessSettings(size=(128, 64))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    table = files.write_set(tmp_path_factory.mktemp("set"), 14)
    return table.assign(machine_id=49, cancer=[0.0, 1.0] * 7, age=np.nan)


def boxes(path: Path, colour: str, least: int) -> list[tuple[int, int, int, int]]:
    """x, y, width, height of every frame of a colour whose sides are ``least`` pixels long."""
    mask = (cv2.imread(str(path))[..., ::-1] == rgb(colour)).all(axis=2).astype(np.uint8)
    found = cv2.connectedComponentsWithStats(mask, connectivity=8)[2][1:, :4]
    return [tuple(box) for box in found.tolist() if min(box[2:]) >= least]


def test_every_image_has_its_original_with_the_crop_beside_what_was_prepared(
    images: pd.DataFrame, tmp_path: Path
) -> None:
    report = browse(images, SETTINGS, tmp_path, n=None, workers=2)
    assert [path.name for path in report.sheets] == ["sheet-1.png", "sheet-2.png"]
    assert (report.n_shown, report.failures) == (14, [])
    crops = [(path, box) for path in report.sheets for box in boxes(path, CROP, 40)]
    assert len(crops) == 14
    for path, (x, y, width, height) in crops:
        inside = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[y + 2 : y + height - 2, x + 2 : x + width - 2]
        assert (inside > 60).mean() > 0.2  # a breast
    assert not any(boxes(path, ALARM, 8) for path in report.sheets)


def test_an_image_without_a_breast_is_framed(images: pd.DataFrame, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(120, 20, (200, 160)).clip(0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    table = images.head(2).copy()
    table.loc[1, "path"] = str(tmp_path / "noise.png")
    (sheet,) = browse(table, SETTINGS, tmp_path / "out", n=None, workers=1).sheets
    assert len(boxes(sheet, CROP, 40)) == 1
    (framed,) = boxes(sheet, ALARM, 100)
    assert framed[2] > 300 * 160 / 200  # around both pictures
    assert framed[3] > 300


def test_images_of_a_patient_stand_together(images: pd.DataFrame, tmp_path: Path) -> None:
    """The same pixels but for the titles: what is closer is what one patient has."""
    two = images.head(2)
    widths = []
    for name, patients in (("one", ["7", "7"]), ("two", ["7", "8"])):
        (sheet,) = browse(two.assign(patient_id=patients), SETTINGS, tmp_path, n=None, workers=1, name=name).sheets
        (first, second) = sorted(boxes(sheet, CROP, 40))
        widths.append(second[0] - first[0])
    assert widths[1] - widths[0] == APART - NEAR


def test_the_draw_follows_the_seed_and_the_order_the_table(images: pd.DataFrame, tmp_path: Path) -> None:
    def sheet(seed: int) -> np.ndarray:
        report = browse(images, SETTINGS, tmp_path, n=3, seed=seed, workers=1, name=f"seed{seed}")
        assert report.n_shown == 3
        return cv2.imread(str(report.sheets[0]))

    assert np.array_equal(sheet(0), sheet(0))
    assert not np.array_equal(sheet(0), sheet(1))


def test_what_cannot_be_shown_is_listed_and_the_rest_shown(images: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("no image")
    table = images.head(3).copy()
    table.loc[2, "path"] = str(tmp_path / "text.dcm")
    report = browse(table, replace(SETTINGS, bits=16), tmp_path / "out", n=10, workers=1)
    assert report.n_shown == 2
    assert [(image_id, reason.split(":")[0]) for image_id, reason in report.failures] == [("1002", "NotDicom")]
    assert len(boxes(report.sheets[0], CROP, 40)) == 2


def test_an_empty_table_gives_no_sheet(images: pd.DataFrame, tmp_path: Path) -> None:
    assert browse(images.head(0), SETTINGS, tmp_path).sheets == []
