import re

import pytest

from rsna.board.run_page import chance, environment, percent, run_page
from rsna.config.board import ReportOptions
from rsna.runs.run import open_run
from tests.board.runs import drawn, write_run

OPTIONS = ReportOptions(images=2, resamples=20)


def test_a_run_is_shown_with_charts_points_slices_and_what_it_gets_wrong(ranked):
    run = open_run(ranked / "good")
    page = run_page("run-1", run, run.evaluate, OPTIONS)
    assert [chart.title for chart in page.charts] == [
        "ROC", "Precision and recall", "pF1 against threshold", "Reliability", "Decision curve", "Spread over folds",
    ]  # fmt: skip
    assert [point.rate for point in page.points] == [0.015, 0.05, 0.1]
    assert {by for by, _ in page.slices} >= {"site", "age"}
    assert page.gallery.n_misses == page.confusion.fn


def test_the_table_of_slices_has_every_metric_of_slices_the_one_to_compare_by_first(ranked):
    run = open_run(ranked / "good")
    page = run_page("run-1", run, run.evaluate, OPTIONS, pictured=False)
    table = environment().get_template("slices.html").render(page=page)
    heads = re.findall(r'role="columnheader"[^>]*>([^<]*)<', table)
    assert heads == ["slice", "breasts", "positive", "recalled", "AUROC", "pF1 nested", "pF1 raw"]
    shown = re.search(r'rowheader">1</th>.*?</tr>', table, re.DOTALL)[0]  # site 1
    assert re.findall(r'data-label="([^"]*)"', shown) == heads[1:]


def test_a_run_without_its_gallery_says_what_draws_it(ranked):
    run = open_run(ranked / "good")
    page = run_page("run-1", run, run.evaluate, OPTIONS, pictured=False)
    assert page.gallery is None
    assert page.no_gallery == f"rsna report run={run.path} draws what it gets wrong."


def test_predictions_that_cannot_be_scored_leave_a_reason(tmp_path):
    run = open_run(write_run(tmp_path / "none", drawn(40).assign(cancer=0)))
    page = run_page("run-1", run, run.evaluate, OPTIONS)
    assert "none of the 80 breasts is positive" in page.note
    assert not page.charts


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (percent(0.4237), "42.4%"),
        (percent(float("nan")), "–"),
        (chance(0.0004), "p < 0.001"),
        (chance(0.25), "p = 0.250"),
        (chance(None), ""),
    ],
)
def test_figures_are_written_as_printers_do(said, text):
    assert said == text
