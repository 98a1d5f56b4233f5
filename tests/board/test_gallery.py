import base64
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from rsna.board.gallery import _label, gallery
from rsna.board.pixels import Pixels
from rsna.runs.run import open_run


@pytest.fixture(scope="module")
def found(pictured):
    pytest.importorskip("captum", reason="heat maps need captum")
    run = open_run(pictured)
    return run, run.evaluate(), gallery(run, run.evaluate(), Pixels(run), 3)


def _decoded(uri: str):
    return cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8), cv2.IMREAD_UNCHANGED)


def test_misses_and_false_alarms_are_the_most_confident_ones(found):
    _, evaluation, shown = found
    breasts = evaluation.breasts
    missed = breasts[(breasts["cancer"] == 1) & ~breasts["recalled"]]
    alarms = breasts[(breasts["cancer"] == 0) & breasts["recalled"]]
    assert (shown.n_misses, shown.n_false_alarms) == (len(missed), len(alarms))
    assert min(len(missed), len(alarms)) > 0
    assert [c.probability for c in shown.misses] == sorted(missed["probability"])[:3]
    assert [c.probability for c in shown.false_alarms] == sorted(alarms["probability"], reverse=True)[:3]
    assert all(case.probability < case.threshold for case in shown.misses)
    assert all(case.probability >= case.threshold for case in shown.false_alarms)


def test_breasts_without_a_nested_threshold_are_no_misses(one_sided):
    run = open_run(one_sided)
    shown = gallery(run, run.evaluate(), Pixels(run), 3)
    assert shown.n_misses == 0
    assert shown.n_false_alarms > 0
    assert all(case.threshold == case.threshold for case in shown.cases)


def test_every_view_of_the_breast_is_there_with_heat_of_the_same_shape(found):
    run, _, shown = found
    images = run.oof()
    assert not shown.note
    for case in (*shown.misses, *shown.false_alarms):
        ids = images.loc[images["prediction_id"] == case.prediction_id, "image_id"]
        assert sorted(view.image_id for view in case.views) == sorted(ids)
        assert {view.name.partition(" ")[0] for view in case.views} == {case.prediction_id[-1]}
        for view in case.views:
            picture, heat = _decoded(view.picture), _decoded(view.heat)
            assert picture.shape == (view.height, view.width)
            assert heat.shape == (view.height // 2, view.width // 2, 4)


def test_nothing_of_the_person_is_shown(found):
    _, _, shown = found
    names = {name for case in shown.misses for name, _ in case.labels}
    assert names <= {"biopsy", "invasive", "BI-RADS", "density", "difficult negative"}


def test_without_networks_or_images_the_reason_is_shown(pictured, tmp_path):
    shutil.copytree(pictured, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    run = open_run(tmp_path / "bare")
    shown = gallery(run, run.evaluate(), Pixels(run), 1)
    assert "has no weights of fold" in shown.note
    assert shown.misses[0].views[0].picture
    assert not shown.misses[0].views[0].heat
    gone = gallery(run, run.evaluate(), Pixels(run, data=str(tmp_path / "gone")), 1)
    assert "neither files nor prepared images" in gone.misses[0].views[0].missing
    assert str(tmp_path) not in gone.missing
    assert (gone.pictured, gone.heated, gone.unpictured) == (False, False, 2)


@pytest.mark.parametrize("value", [1, 1.0, True, "True", "1", "yes", np.float64(1)])
def test_a_label_of_yes_is_one_however_the_table_writes_it(value):
    assert _label("biopsy", pd.Series([None, value])) == "yes"
    assert _label("biopsy", pd.Series([0, value])) == "no"
    assert _label("biopsy", pd.Series(["perhaps", value])) == "perhaps"
    assert _label("biopsy", pd.Series([None])) == ""
