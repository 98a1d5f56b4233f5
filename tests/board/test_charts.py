import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from rsna.board import charts
from rsna.runs.lb_scores import Submission, record_scores
from rsna.runs.run import find_runs, open_run
from tests.board.runs import drawn, write_run


@pytest.fixture(scope="module")
def run(ranked):
    return open_run(ranked / "good")


def test_every_chart_is_well_formed_and_named(run):
    evaluation = run.evaluate()
    for draw in (charts.roc, charts.precision_recall, charts.pf1_by_threshold, charts.reliability_pictures):
        chart = draw(evaluation)
        svg = ET.fromstring(chart.svg)
        assert svg.get("role") == "img"
        assert svg.get("aria-label")
        assert "nan" not in chart.svg
        assert chart.caption
    assert "nan" not in charts.folds_spread(evaluation, run).svg


def test_the_confusion_matrix_is_scikit_learns(run):
    evaluation = run.evaluate()
    breasts = evaluation.breasts
    matrix = charts.confusion(evaluation)
    tn, fp, fn, tp = confusion_matrix(breasts["cancer"], breasts["recalled"]).ravel()
    assert (matrix.tp, matrix.fp, matrix.fn, matrix.tn) == (tp, fp, fn, tn)


def test_the_roc_curve_rises_from_corner_to_corner(run):
    chart = charts.roc(run.evaluate())
    curve = re.search(r'class="line a" points="([^"]+)"', chart.svg)[1]
    x, y = np.array([point.split(",") for point in curve.split()], dtype=float).T
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) <= 0).all()
    assert x[0] < x[-1]
    assert y[0] > y[-1]


def test_a_single_fold_without_positives_in_some_part_is_drawn_all_the_same(tmp_path):
    oof = drawn(20)
    oof["cancer"] = (oof["prediction_id"] == "p0_L").astype(int)
    run = open_run(write_run(tmp_path / "few", oof))
    evaluation = run.evaluate()
    chart = charts.reliability_pictures(evaluation)
    assert [name for _, name in chart.legend] == ["as given"]
    ET.fromstring(charts.folds_spread(evaluation, run).svg)


def test_every_calibrator_has_its_line_and_its_entry_in_the_legend(run):
    chart = charts.reliability_pictures(run.evaluate())
    assert [name for _, name in chart.legend] == ["as given", "temperature", "Platt", "isotonic"]
    assert [f'class="line {style}"' in chart.svg for style, _ in chart.legend] == [True] * 4


def test_predictions_that_are_all_alike_can_be_drawn(tmp_path):
    evaluation = open_run(write_run(tmp_path / "flat", drawn(40).assign(probability=0.0))).evaluate()
    for draw in (charts.roc, charts.precision_recall, charts.pf1_by_threshold, charts.reliability_pictures):
        ET.fromstring(draw(evaluation).svg)


def test_cv_against_leaderboard_needs_both(ranked, tmp_path):
    assert charts.cv_against_lb(find_runs(ranked)[0]) is None
    run = write_run(tmp_path / "b3", drawn(40))
    record_scores(run, [Submission("2023-01-01", 0.52, 0.49)])
    chart = charts.cv_against_lb([open_run(run)])
    assert chart.svg.count("<circle") == 2
