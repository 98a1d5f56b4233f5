"""Marks stand where they should, and axes show what is there."""

import cv2
import numpy as np
import pytest

from rsna.training.callbacks.checkpoints import kept_epochs
from rsna.training.callbacks.curves import draw_history, history_figure, limits, monitored

PF1 = [0.10, 0.31, 0.42, 0.35, 0.40]


def rows(**columns) -> list[dict]:
    usual = {"train_loss": [0.7, 0.5, 0.4, 0.35, 0.3], "val_loss": [0.6, 0.5, 0.45, 0.5, 0.55], "val_pf1": PF1}
    usual |= {"val_auroc": [0.5, 0.8, 0.85, 0.84, 0.86], "val_auprc": PF1, "lr": [1e-3] * 5, "seconds": [9.0] * 5}
    return [{name: values[epoch] for name, values in (usual | columns).items()} for epoch in range(5)]


def marks(history: list[dict], counted: list[int], kind: str) -> dict[str, list[tuple[float, ...]]]:
    """Title of a panel → x of every mark of a kind; of stars x and y."""
    found = {}
    for axes in history_figure(history, "run, fold0", counted).axes:
        lines = [line for line in axes.get_lines() if line.get_gid() == kind]
        title = axes.get_title(loc="left")
        if title:
            found[title] = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]
    return found


def test_the_best_epoch_is_marked_on_every_curve_of_the_validation():
    stars = marks(rows(), [4], "best")
    assert stars.pop("learning rate") == []
    assert stars == {
        "loss": [(3, 0.45)],
        "raw pF1 by breast": [(3, 0.42)],
        "AUROC by breast": [(3, 0.85)],
        "AUPRC by breast": [(3, 0.42)],
    }


@pytest.mark.parametrize(
    ("choose", "soup", "counted"), [("last", 1, [4]), ("last", 3, [2, 3, 4]), ("best", 1, [2]), ("best", 2, [2, 4])]
)
def test_epochs_that_count_are_marked_in_every_panel(choose, soup, counted):
    kept = kept_epochs(monitored(rows()), choose, soup)
    assert kept == counted
    for found in marks(rows(), kept, "counted").values():
        assert [x - 1 for x, _ in found] == counted


def test_where_cancer_is_no_target_the_loss_says_which_epoch_is_best():
    none = dict.fromkeys(("val_pf1", "val_auroc", "val_auprc"), [None] * 5)
    assert monitored(rows(**none)) == [-0.6, -0.5, -0.45, -0.5, -0.55]
    assert marks(rows(**none), [4], "best")["loss"] == [(3, 0.45)]


def test_a_metric_that_some_epochs_lack_is_no_best():
    values = monitored(rows(val_pf1=[None, float("nan"), 0.2, None, 0.1]))
    assert np.isnan(values).tolist() == [True, True, False, True, False]
    assert marks(rows(val_pf1=[None, float("nan"), 0.2, None, 0.1]), [4], "best")["raw pF1 by breast"] == [(3, 0.2)]
    assert marks(rows(val_pf1=[float("nan")] * 5), [4], "best")["raw pF1 by breast"] == []


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("raw pF1 by breast", [0.031, 0.0315, 0.0312], (0, 0.1)),
        ("raw pF1 by breast", [0.5, 0.51], (0, 1)),
        ("AUPRC by breast", [0.44, 0.45], (0, 0.5)),
        ("AUROC by breast", [0.801, 0.802], (0.4, 1)),
        ("AUROC by breast", [0.28, 0.6], (0.2, 1)),
        ("AUROC by breast", [float("nan")], (0.4, 1)),
        ("loss", [float("nan")], (0, 1)),
        ("loss", [0.0, 0.0], (0, 1)),
    ],
)
def test_axes_do_not_zoom_into_noise(name, values, expected):
    assert limits(name, values) == pytest.approx(expected)


def test_one_epoch_out_of_all_proportion_leaves_the_others_their_shape():
    low, high = limits("loss", [0.7, 0.6, 40.0, 0.5, 0.4])
    assert low == 0
    assert 0.7 < high < 1
    figure = history_figure(rows(val_loss=[0.6, 40.0, 0.45, 0.5, 0.55]), "run, fold0", [4])
    assert "40" in [text.get_text() for text in figure.axes[0].texts]


def test_it_is_written_as_a_picture(tmp_path):
    draw_history(rows()[:1], tmp_path / "history.png", "run, fold0", [0])
    picture = cv2.imread(str(tmp_path / "history.png"))
    assert picture.shape == (640, 1200, 3)
    assert (picture[:2] == 255).all()
