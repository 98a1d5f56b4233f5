"""Curves of runs over each other pass where the metrics say; the scatter holds every breast."""

import re

import numpy as np
import pandas as pd
import pytest

from rsna.board import compare_charts as charts
from rsna.board.compare import compare_runs
from rsna.runs.errors import RunError
from rsna.runs.run import open_run
from tests.board.runs import drawn, write_run


def history(epochs: int, start: float) -> pd.DataFrame:
    loss = start * np.exp(-np.arange(epochs) / 3)
    return pd.DataFrame({"epoch": np.arange(epochs), "train_loss": loss, "val_loss": loss + 0.1, "val_auroc": 1 - loss})


@pytest.fixture
def found(tmp_path):
    runs = [open_run(write_run(tmp_path / name, drawn(seed=seed))) for name, seed in (("a", 1), ("b", 2))]
    return compare_runs(runs, resamples=20)


def polylines(svg: str, style: str) -> list[np.ndarray]:
    found = re.findall(rf'<polyline class="line {style}" points="([^"]*)"', svg)
    return [np.array([point.split(",") for point in points.split()], dtype=float) for points in found]


def test_curves_of_every_run_are_drawn_in_its_style(found):
    for chart in (charts.roc_curves(found), charts.roc_curves(found, 0.2), charts.recall_curves(found)):
        assert [len(polylines(chart.svg, style)) for style in "abc"] == [1, 1, 0]
        assert chart.legend == (("a", "a"), ("b", "b"))
        assert all(name in chart.caption for name in ("(a)", "(b)"))


def test_a_curve_encloses_its_area(found):
    whole = charts.roc_curves(found).svg
    for style, one in zip("ab", found.evaluations, strict=True):
        (points,) = polylines(whole, style)
        x, y = points[:, 0], points[:, 1]
        share = (x - x[0]) / (x[-1] - x[0]), (y[0] - y) / (y[0] - y[-1])
        assert np.trapezoid(share[1], share[0]) == pytest.approx(one.pooled.auroc, abs=0.01)


def test_the_enlarged_curve_ends_at_its_edge(found):
    left = charts.roc_curves(found, charts.LOW_ALARMS)
    (points,) = polylines(left.svg, "a")
    (guide,) = polylines(left.svg, "guide")
    assert points[-1, 0] == guide[-1, 0] == points[:, 0].max()


def test_the_scatter_holds_every_breast(found):
    svg = charts.scatter(found, found.others[0], ("a", "b")).svg
    shaded = [int(count) for count in re.findall(r'class="cell a"[^>]*><title>(\d+)</title>', svg)]
    positive = found.first.evaluation.breasts["cancer"] == 1
    assert sum(shaded) == (~positive).sum()
    dots = re.findall(r'class="dot b"[^>]*><title>([^<]*)</title>', svg)
    assert dots == found.first.evaluation.breasts.loc[positive, "prediction_id"].tolist()


def test_many_positives_are_shaded_and_certain_probabilities_stay_inside(tmp_path):
    runs = []
    for name, seed in (("a", 1), ("b", 2)):
        oof = drawn(1100, seed=seed)
        oof["cancer"] = (oof["prediction_id"].str.endswith("L") & (oof["patient_id"].str[1:].astype(int) % 2 == 0)) * 1
        ends = oof["probability"].where(oof["patient_id"] != "p0", 0.0).where(oof["patient_id"] != "p1", 1.0)
        runs.append(open_run(write_run(tmp_path / name, oof.assign(probability=ends))))
    found = compare_runs(runs, resamples=5)
    svg = charts.scatter(found, found.others[0], ("a", "b")).svg
    assert 'class="dot b"' not in svg
    counts = [sum(map(int, re.findall(rf'class="cell {s}"[^>]*><title>(\d+)</title>', svg))) for s in "ab"]
    assert counts == [2200 - 550, 550]


def test_learning_curves_are_means_over_folds_with_each_fold_behind(found):
    assert charts.learning_curves(found) == []
    for run, epochs in zip(found.runs, (8, 5), strict=True):
        for fold, start in ((0, 0.8), (1, 0.4)):
            history(epochs, start).to_csv(run.path / f"fold{fold}" / "history.csv", index=False)
    found = compare_runs([open_run(run.path) for run in found.runs], resamples=20)
    drawn_charts = {chart.title: chart for chart in charts.learning_curves(found)}
    assert list(drawn_charts) == ["Validation loss", "Validation AUROC, by breast", "Training loss"]
    svg = drawn_charts["Training loss"].svg
    (mean,) = polylines(svg, "a")
    low, high = sorted(polylines(svg, "a faint"), key=lambda line: line[0, 1])
    assert mean[0, 1] == pytest.approx((low[0, 1] + high[0, 1]) / 2, abs=0.6)
    (shorter,) = polylines(svg, "b")
    assert shorter[:, 0].max() < mean[:, 0].max()


def test_a_run_without_history_is_named(found):
    history(3, 0.5).to_csv(found.first.run.path / "fold0" / "history.csv", index=False)
    found = compare_runs([open_run(run.path) for run in found.runs], resamples=20)
    for chart in charts.learning_curves(found):
        assert chart.caption == "Of its one fold. No history of b."


def test_a_history_that_cannot_be_read_is_named(found):
    (found.first.run.path / "fold1" / "history.csv").write_bytes(b"\xff\xfe epoch")
    with pytest.raises(RunError, match=r"fold1/history.csv: cannot be read"):
        charts.learning_curves(compare_runs([open_run(run.path) for run in found.runs], resamples=20))
