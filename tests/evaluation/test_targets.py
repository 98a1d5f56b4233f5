"""Targets beside cancer are scored by what is predicted at once, each class against the others."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from rsna.dataset.targets import get_targets
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.targets import score_targets, targets_table


@pytest.fixture
def images() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"image_id": [str(i) for i in range(120)], "patient_id": [str(i // 3) for i in range(120)]})
    frame["view"] = rng.choice(["CC", "MLO", "LM"], 120)
    frame["density"] = rng.choice(["A", "B", "C", None], 120)
    frame["p_view"] = np.clip(frame["view"].eq("MLO") * 0.3 + rng.random(120) * 0.7, 0, 1)
    for name in "ABCD":
        frame[f"p_density_{name}"] = rng.random(120)
    return frame


def test_scores_are_scikit_learns_on_the_images_that_have_a_label(images):
    scores = score_targets(images, get_targets(("view", "density")), resamples=100)
    known = images[images["view"].isin(["CC", "MLO"])]
    assert scores["view"].auroc == pytest.approx(roc_auc_score(known["view"].eq("MLO"), known["p_view"]))
    assert scores["view"].images == len(known)
    low, high = scores["view"].interval.low, scores["view"].interval.high
    assert low < scores["view"].auroc < high
    known = images[images["density"].notna()]
    for name in "ABC":
        expected = roc_auc_score(known["density"].eq(name), known[f"p_density_{name}"])
        assert scores[f"density_{name}"].auroc == pytest.approx(expected)


def test_a_class_that_is_absent_has_no_score_and_the_table_names_the_rest(images):
    scores = score_targets(images, get_targets(("density",)), resamples=0)
    assert "density_D" not in scores
    assert "density_A" in targets_table(scores, "image")
    assert scores["density_A"].to_dict()["interval"] is None


def test_of_a_target_nothing_but_auroc_is_computed(images, monkeypatch):
    def refused(counts):
        raise AssertionError("not asked for")

    for name in METRICS:
        if name != "auroc":
            monkeypatch.setitem(METRICS, name, replace(METRICS[name], function=refused))
    scores = score_targets(images, get_targets(("view",)), resamples=10)
    assert scores["view"].to_dict().keys() == {"images", "positives", "auroc", "interval"}
    assert scores["view"].to_dict()["interval"].keys() == {"low", "high", "undefined"}


def test_the_table_says_whether_images_or_whole_breasts_are_counted(images):
    scores = score_targets(images, get_targets(("view",)), resamples=0)
    assert targets_table(scores, "image").split()[:4] == ["target", "(by", "image)", "images"]
    assert targets_table(scores, "breast").split()[:4] == ["target", "(by", "breast)", "breasts"]
