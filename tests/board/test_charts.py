import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from rsna.board import charts
from rsna.evaluation.bootstrap import curve_bands
from rsna.evaluation.evaluate import evaluate, sorted_breasts
from rsna.runs.lb_scores import Submission, record_scores
from rsna.runs.run import find_runs, open_run
from tests.board.runs import drawn, write_run


@pytest.fixture(scope="module")
def run(ranked):
    return open_run(ranked / "good")


def test_every_chart_is_well_formed_and_named(run):
    evaluation = run.evaluate()
    found = charts.calibrations(evaluation)
    drawn_of = [draw(evaluation) for draw in (charts.roc, charts.precision_recall, charts.pf1_by_threshold)]
    drawn_of += [draw(evaluation, found) for draw in (charts.reliability_pictures, charts.decision_curve)]
    for chart in drawn_of:
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
    chart = charts.reliability_pictures(evaluation, charts.calibrations(evaluation))
    assert [name for _, name in chart.legend] == ["as given"]
    ET.fromstring(charts.folds_spread(evaluation, run).svg)


def test_every_calibrator_has_its_line_and_its_entry_in_the_legend(run):
    evaluation = run.evaluate()
    chart = charts.reliability_pictures(evaluation, charts.calibrations(evaluation))
    assert [name for _, name in chart.legend] == ["as given", "temperature", "Platt", "isotonic"]
    assert [f'class="line {style}"' in chart.svg for style, _ in chart.legend] == [True] * 4


def test_predictions_that_are_all_alike_can_be_drawn(tmp_path):
    evaluation = open_run(write_run(tmp_path / "flat", drawn(40).assign(probability=0.0))).evaluate()
    for draw in (charts.roc, charts.precision_recall, charts.pf1_by_threshold):
        ET.fromstring(draw(evaluation).svg)
    for draw in (charts.reliability_pictures, charts.decision_curve):
        ET.fromstring(draw(evaluation, charts.calibrations(evaluation)).svg)


def test_cv_against_leaderboard_needs_both(ranked, tmp_path):
    assert charts.cv_against_lb(find_runs(ranked)[0]) is None
    run = write_run(tmp_path / "b3", drawn(40))
    record_scores(run, [Submission("2023-01-01", 0.52, 0.49)])
    chart, scored = charts.cv_against_lb([open_run(run)])
    assert chart.svg.count("<circle") == 2
    assert [(one.number, one.name, one.public, one.private) for one in scored] == [(1, "b3", 0.52, 0.49)]
    numbers = [element.text for element in ET.fromstring(chart.svg).iter() if "within" in element.get("class", "")]
    assert numbers == ["1", "1"]


def test_parts_that_were_left_out_are_drawn_by_name():
    evaluation = evaluate(drawn(), resamples=0)
    chart = charts.parts_spread(evaluation, {0: "a machine of a very long name", 1: "49"}, 100)
    picture = ET.fromstring(chart.svg)
    texts = [element.text for element in picture.iter()]
    assert {"a machine of a very…", "49", "pooled"} <= set(texts)
    area = evaluation.folds[1].auroc
    assert any(text and text.startswith(f"49: {area:.4f} of ") for text in texts)
    assert sum(element.get("class") == "line a wide" for element in picture.iter()) == 3


def test_an_operating_point_at_few_false_alarms_is_shown_larger_and_one_at_many_is_not(run, tmp_path):
    sharp = drawn(400, signal=5.0)
    chart = charts.roc(evaluate(sharp, resamples=0))
    assert 'class="inset"' in chart.svg
    assert "Inset: the same up to a share of false alarms of 10%" in chart.caption
    flat = charts.roc(evaluate(drawn(60).assign(probability=0.5), resamples=0))  # recalls all
    assert "inset" not in flat.svg


def test_captions_speak_of_folds_that_are_there(ranked):
    alone, whole = (open_run(ranked / name).evaluate() for name in ("begun", "good"))
    for evaluation, words in ((alone, "other patients of this fold"), (whole, "the other folds")):
        found = charts.calibrations(evaluation)
        captions = [
            charts.pf1_by_threshold(evaluation).caption,
            charts.reliability_pictures(evaluation, found).caption,
            charts.decision_curve(evaluation, found).caption,
        ]
        assert all(words in caption for caption in captions)
        assert alone is not evaluation or not any("folds" in caption for caption in captions)


def test_net_benefit_starts_at_the_share_of_positives_and_ends_above_none(run):
    evaluation = run.evaluate()
    chart = charts.decision_curve(evaluation, [])
    curve = re.search(r'class="line a" points="([^"]+)"', chart.svg)[1]
    heights = [float(point.split(",")[1]) for point in curve.split()]
    zero = float(re.search(r'class="line guide" points="[^,]+,(\S+) ', chart.svg)[1])
    assert heights[0] < zero
    assert heights[0] <= min(heights) + 1  # SVG counts downwards


def test_breasts_without_a_nested_threshold_are_neither_missed_nor_left_alone(one_sided):
    evaluation = open_run(one_sided).evaluate()
    matrix = charts.confusion(evaluation)
    without = evaluation.breasts["threshold"].isna()
    assert (matrix.tp, matrix.fn, matrix.uncut) == (0, 0, without.sum())
    assert matrix.fp + matrix.tn == (~without).sum()
    assert np.isnan(matrix.sensitivity)
    for draw in (charts.roc, charts.precision_recall):
        assert 'class="dot point"' not in draw(evaluation).svg
    assert "At the nested thresholds: sensitivity –" in charts.roc(evaluation).caption
    assert "without 120 breasts that have none" in charts.roc(evaluation).caption


@pytest.mark.filterwarnings("error")
def test_a_set_without_negatives_has_no_roc_curve_and_no_band():
    evaluation = evaluate(drawn().assign(cancer=1), resamples=0)
    chart = charts.roc(evaluation, curve_bands(sorted_breasts(evaluation.breasts, evaluation.points, None), 20)[0])
    assert "nan" not in chart.svg
    assert "specificity –" in chart.caption
