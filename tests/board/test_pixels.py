import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from rsna.board.pixels import Pixels, find_image, images_beside, picture_names
from rsna.dataset.source import load_table
from rsna.prepare.cache import Cache
from rsna.prepare.table import prepare_table
from rsna.runs.errors import RunError
from rsna.runs.run import open_run


def _first(pictured):
    return load_table(pictured.parents[1] / "set").frame.iloc[0]


def test_originals_are_shown_with_the_crop_of_the_network(pictured):
    image = _first(pictured)
    shown = Pixels(open_run(pictured)).show(image["image_id"], 200)
    x0, y0, x1, y1 = shown.geometry.box
    assert shown.original
    assert shown.pixels.dtype == np.uint8
    assert 190 <= shown.pixels.shape[0] <= 210 or shown.pixels.shape[0] == y1 - y0
    assert shown.pixels.shape[0] / shown.pixels.shape[1] == pytest.approx((y1 - y0) / (x1 - x0), rel=0.03)


def test_heat_lands_where_the_same_pixels_are(pictured):
    """The prepared image itself, laid over the original as if it were heat, is the original."""
    for image_id in load_table(pictured.parents[1] / "set").frame["image_id"][:6]:
        shown = Pixels(open_run(pictured)).show(image_id, 200)
        again = shown.heat(shown.prepared.astype(np.float32))  # of which air is black
        assert again.shape == shown.pixels.shape
        assert np.corrcoef(again.ravel(), shown.pixels.ravel())[0, 1] > 0.9
        mirrored = np.corrcoef(again[:, ::-1].ravel(), shown.pixels.ravel())[0, 1]
        assert mirrored < 0.7


def test_heat_outside_of_the_breast_is_none(pictured, tmp_path):
    run, table = open_run(pictured), load_table(pictured.parents[1] / "set").frame.head(4)
    run = replace(run, config=replace(run.config, cache_dir=str(tmp_path)))
    cache = Cache.create(tmp_path, "demo", run.config.preprocess)
    prepare_table(table, run.config.preprocess, cache, workers=1)
    for pixels in (Pixels(run), Pixels(run, data=str(tmp_path / "gone"))):
        for image_id in table["image_id"]:
            shown = pixels.show(image_id, 200)
            hot = shown.heat(np.ones(shown.prepared.shape, np.float32)) > 0
            tissue = shown.pixels > 12
            assert 0.2 < hot.mean() < 0.95
            assert (hot & tissue).sum() > 0.9 * tissue.sum()
            near = cv2.dilate(tissue.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
            assert not (hot & ~near).any()


def test_without_originals_the_cache_is_shown(pictured, tmp_path):
    run = open_run(pictured)
    table = load_table(pictured.parents[1] / "set").frame
    run = replace(run, config=replace(run.config, cache_dir=str(tmp_path)))
    pixels = Pixels(run, data=str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="neither in"):
        pixels.show(table["image_id"][0], 200)
    cache = Cache.create(tmp_path, "demo", run.config.preprocess)
    prepare_table(table.head(1), run.config.preprocess, cache, workers=1)
    shown = Pixels(run, data=str(tmp_path / "gone")).show(table["image_id"][0], 200)
    assert not shown.original
    assert shown.heat(np.ones((64, 32), np.float32)).shape == shown.pixels.shape == shown.geometry.fitted


def test_an_image_is_found_by_id_and_by_path_with_the_fold_that_has_not_seen_it(pictured):
    image = _first(pictured)
    run = open_run(pictured)
    by_id = find_image(run, image["image_id"])
    assert str(by_id[0]) == image["path"]
    assert by_id == find_image(run, image["path"])
    assert len(by_id[1]) == 1
    with pytest.raises(RunError, match="neither a file nor an id"):
        find_image(run, "nobody")
    with pytest.raises(RunError, match=r"where that is \(.*nowhere.*there is no such folder"):
        find_image(run, image["image_id"], str(Path(image["path"]).parent / "nowhere"))


def test_the_fold_of_a_file_is_that_of_its_image_id_whatever_its_name(pictured, monkeypatch):
    run, table = open_run(pictured), load_table(pictured.parents[1] / "set")
    fold = run.folds.set_index("image_id")["fold"]
    one, other = (table.frame.index[table.frame["image_id"].map(fold).eq(number)][0] for number in (0, 1))
    ids = table.frame["image_id"].copy()
    ids[one], ids[other] = ids[other], ids[one]
    renamed = replace(table, frame=table.frame.assign(image_id=ids))
    monkeypatch.setattr("rsna.board.pixels.load_table", lambda _: renamed)
    monkeypatch.setattr(Pixels, "stranger", "")
    file = table.frame["path"][one]
    assert find_image(run, ids[one]) == find_image(run, file) == (Path(file), (1,), "")


def test_a_file_of_the_set_is_known_however_it_is_spelt(pictured, monkeypatch):
    image = _first(pictured)
    monkeypatch.chdir(Path(image["path"]).parent)
    run = open_run(pictured)
    file, own, guess = find_image(run, Path(image["path"]).name)
    assert (file, own, guess) == find_image(run, image["image_id"])
    assert len(images_beside(run, file)) == len(images_beside(run, Path(image["path"]))) > 1


def test_a_set_in_which_the_ids_are_other_womens_is_not_shown(pictured):
    run = open_run(pictured)
    pixels, image = Pixels(run), _first(pictured)
    assert pixels.stranger == ""
    pixels = Pixels(run)
    pixels.table = pixels.table.assign(age=pixels.table["age"] + 1)
    assert "another one: age of image" in pixels.stranger
    with pytest.raises(ValueError, match="the set at hand is another one"):
        pixels.show(image["image_id"], 200)


def test_no_reason_names_a_folder(pictured):
    pixels, image = Pixels(open_run(pictured)), _first(pictured)
    file = pixels.originals[image["image_id"]]
    said = {
        f"{file}: is torn.": f"{file.name}: is torn", "/home/eve/a set/1.tif: is torn": "1.tif: is torn",
        "cache/demo/1.tif: read/write": "1.tif: read/write", "s3://eve/set/1.tif: is torn": "1.tif: is torn",
    }  # fmt: skip
    assert {error: pixels.reason(image["image_id"], ValueError(error)) for error in said} == said
    assert "data=FOLDER" in pixels.reason(image["image_id"], FileNotFoundError(str(file)))


def test_a_file_of_elsewhere_is_none_of_the_set_that_has_its_name(pictured, tmp_path):
    image = _first(pictured)
    elsewhere = Path(shutil.copy(image["path"], tmp_path))
    assert find_image(open_run(pictured), str(elsewhere)) == (elsewhere, (), "")


def test_where_the_set_is_away_it_is_said_that_a_name_was_believed(pictured, tmp_path):
    run, image = open_run(pictured), _first(pictured)
    elsewhere = Path(shutil.copy(image["path"], tmp_path))
    file, own, guess = find_image(run, str(elsewhere), str(tmp_path / "nowhere"))
    assert (file, own) == (elsewhere, find_image(run, image["image_id"])[1])
    assert guess.startswith(f"by its name the file is taken for image {elsewhere.stem} of the run's set (")
    assert "nowhere" in guess
    other = Path(shutil.copy(image["path"], tmp_path / "another.dcm"))
    assert find_image(run, str(other), str(tmp_path / "nowhere")) == (other, (), "")


def test_pictures_of_files_that_are_called_alike_have_names_of_their_own():
    files = [Path(f"/a/{place}/{name}.dcm") for place, name in (("CC", 1), ("MLO", 1), ("MLO", 2))]
    images = pd.DataFrame({"image_id": ["CC_1", "MLO/1", "MLO_2"], "path": [*map(str, files)]})
    assert [*picture_names(images, files).values()] == ["CC_1", "MLO%2F1", "2"]
    assert [*picture_names(images, files[1:]).values()] == ["1", "2"]
