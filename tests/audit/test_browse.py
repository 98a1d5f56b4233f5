from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from rsna.audit.browse import HEIGHT, WIDTH, browse
from rsna.config.data import PreprocessSettings
from tests.prepare import files

SETTINGS = PreprocessSettings(size=(128, 64))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    table = files.write_set(tmp_path_factory.mktemp("set"), 14)
    return table.assign(machine_id=49, cancer=[0.0, 1.0] * 7, age=np.nan)


def _tiles(path: Path) -> np.ndarray:
    """(n, H, W, 3) the tiles of a sheet that are drawn on."""
    sheet = cv2.imread(str(path))
    rows, columns = sheet.shape[0] // HEIGHT, sheet.shape[1] // WIDTH
    tiles = sheet.reshape(rows, HEIGHT, columns, WIDTH, 3).swapaxes(1, 2).reshape(-1, HEIGHT, WIDTH, 3)
    return tiles[tiles.any(axis=(1, 2, 3))]


def test_every_image_has_a_tile_with_original_crop_and_prepared_image(images: pd.DataFrame, tmp_path: Path) -> None:
    report = browse(images, SETTINGS, tmp_path, n=None, workers=2)
    assert [path.name for path in report.sheets] == ["sheet-1.png", "sheet-2.png"]
    assert (report.n_shown, report.failures) == (14, [])
    tiles = np.concatenate([_tiles(path) for path in report.sheets])
    assert len(tiles) == 14
    for tile in tiles:
        green = (tile[..., 1] > 180) & (tile[..., 0] < 120) & (tile[..., 2] < 120)
        assert green.sum() > 200  # the crop's outline
        assert (tile[: HEIGHT // 12].max(axis=2) > 200).sum() > 100  # the caption
        right = tile[40:, -100:].mean(axis=2)
        assert (right > 60).mean() > 0.1  # a breast
        assert (right == 0).mean() > 0.1  # on black


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
    assert len(_tiles(report.sheets[0])) == 2


def test_an_empty_table_gives_no_sheet(images: pd.DataFrame, tmp_path: Path) -> None:
    assert browse(images.head(0), SETTINGS, tmp_path).sheets == []
