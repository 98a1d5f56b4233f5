"""What the benchmark of single images says, where several images of a breast give its label away."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import single_images as benchmark
from accuracy_tables import Result, chooses

IDS = [f"p{number}" for number in range(400) if not chooses(f"p{number}")]


def images_of(images_if_cancer: int) -> pd.DataFrame:
    """A breast of one image, or of more where there is cancer; probabilities know nothing of it."""
    random = np.random.default_rng(0)
    rows = [
        {"image_id": f"{patient}_{view}", "patient_id": patient, "prediction_id": f"{patient}_L", "fold": place % 4,
         "cancer": place % 3 == 0, "probability": random.random()}
        for place, patient in enumerate(IDS) for view in range(images_if_cancer if place % 3 == 0 else 1)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"cancer": int})


def test_the_number_of_images_is_scored_beside_them():
    assert benchmark.number_of_images(images_of(3)) == 1
    assert benchmark.number_of_images(images_of(1)) == 0.5


def test_one_image_of_each_breast_is_kept_whatever_their_order_and_the_same_for_every_arm():
    images = images_of(3)
    found = benchmark.one_image(Result("rsna256", "c", 0, images, "mean", set(), "", 0.0)).predictions
    other = Result("rsna256", "d", 1, images[::-1].assign(probability=0.5), "mean", set(), "", 0.0)
    again = benchmark.one_image(other).predictions
    assert found["prediction_id"].is_unique
    assert set(found["prediction_id"]) == set(images["prediction_id"])
    assert set(found["image_id"]) == set(again["image_id"])
    assert not all(name.endswith("_0") for name in found["image_id"])


def test_arms_are_held_against_each_other_on_the_same_patients(capsys):
    images = images_of(2)
    knows = images.assign(probability=0.4 * images["cancer"] + 0.6 * images["probability"])
    results = [
        benchmark.one_image(Result("rsna256", arm, 0, one, "mean", set(), "", 0.0))
        for arm, one in (("c", images), ("d", knows))
    ]
    found = benchmark.print_scores("one image", results)
    assert found["differences"]["d-c"][1] > 0
    assert f"one image: {len(IDS)} breasts" in capsys.readouterr().out


def test_runs_that_are_not_there_are_asked_for(tmp_path):
    options = benchmark.argparse.Namespace(out=tmp_path, set="rsna256")
    with pytest.raises(SystemExit, match="accuracy.py --keep --arms c --seeds 2"):
        benchmark.predict_arm(options, images_of(1), "c", 2)
