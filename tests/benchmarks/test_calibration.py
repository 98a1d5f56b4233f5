"""What the calibration benchmark says of sites, on predictions whose truth is known."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import calibration as benchmark

from rsna.files import write_json


def write_folds(folder: Path, patients: int = 4000) -> None:
    """Probabilities that mean what they say at site 1, and whose odds are five times too high at site 2, where a few
    breasts are of machine 7."""
    random = np.random.default_rng(0)
    true = expit(random.normal(-1, 1, patients))
    site = 1 + np.arange(patients) % 2
    images = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(patients)],
            "patient_id": [f"p{number}" for number in range(patients)],
            "prediction_id": [f"p{number}_L" for number in range(patients)],
            "cancer": (random.random(patients) < true).astype(int),
            "probability": expit(logit(true) + np.where(site == 2, np.log(5), 0)),
            "site_id": site,
            "machine_id": np.where(np.arange(patients) < 12, 7.0, 21.0),
            "fold": np.arange(patients) // 2 % 3,
        }
    )
    folder.mkdir(parents=True)
    for fold in (0, 1):  # the last one is not trained yet
        images[images["fold"] == fold].to_parquet(folder / f"fold{fold}.parquet", index=False)
        write_json(folder / f"fold{fold}.json", {"aggregate": "mean", "n_folds": 3})


def test_a_site_whose_probabilities_are_too_high_is_told_and_mended_by_its_own_line(tmp_path, monkeypatch, capsys):
    write_folds(tmp_path / "results" / "rsna256" / "c" / "seed0")
    monkeypatch.setattr("sys.argv", ["calibration.py", "--out", str(tmp_path), "--arms", "c", "--resamples", "200"])
    benchmark.main()
    said = capsys.readouterr().out
    assert said.startswith("rsna256, arm c, seed 0, folds [0, 1] of 3\n")
    assert "| site 2 |" in said
    images, _, _ = benchmark.read_folds(tmp_path / "results" / "rsna256" / "c" / "seed0")
    breasts = images.assign(calibrated=images["probability"], recalled=False)
    rows = {
        f"{by} {part}".strip(): benchmark.score_part(by, part, own, 200)
        for by, part, own in benchmark.parts_of(breasts)
    }
    assert [*rows] == ["all", "site 1", "site 2", "machine 21"]  # machine 7 has too few breasts, alone as it is
    first, second = rows["site 1"], rows["site 2"]
    assert first["as_predicted"]["observed_expected"][0] == pytest.approx(1, abs=0.1)
    assert second["as_predicted"]["observed_expected"][2] < 0.8
    assert second["own"]["observed_expected"][0] == pytest.approx(1, abs=0.02)
    assert second["saved"][1] > 0
    assert first["saved"][1] < 0.002, "nothing is to be mended there"
    assert rows["all"]["breasts"] == first["breasts"] + second["breasts"] == len(breasts)


def test_one_fold_alone_has_no_line_of_another(tmp_path):
    write_folds(tmp_path / "seed0", 40)
    (tmp_path / "seed0" / "fold1.json").unlink()
    with pytest.raises(SystemExit, match="holds 1 finished folds, and two are needed"):
        benchmark.read_folds(tmp_path / "seed0")


def test_folds_of_several_recipes_are_refused(tmp_path):
    write_folds(tmp_path / "seed0", patients=60)
    for fold, rate in ((0, "0.1"), (1, "0.2")):
        about = {"aggregate": "mean", "n_folds": 3, "recipe": {"optim.lr": rate}}
        write_json(tmp_path / "seed0" / f"fold{fold}.json", about)
    with pytest.raises(SystemExit, match="its folds are of several recipes"):
        benchmark.read_folds(tmp_path / "seed0")
