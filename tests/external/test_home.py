"""Home's breasts at the thresholds of the other folds: where these hold no positive there is none."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from rsna.evaluation.evaluate import evaluate
from rsna.external.home import _judged_out_of_fold


def test_breasts_without_a_threshold_are_neither_recalled_nor_left_alone():
    patients = np.arange(40)
    images = pd.DataFrame({"patient_id": patients.astype(str), "cancer": (patients < 5).astype(int)})
    images["prediction_id"] = images["patient_id"] + "_L"
    images["probability"] = np.linspace(0.9, 0.1, 40)
    images["fold"] = patients // 20
    trained = SimpleNamespace(aggregate="mean", calibration=SimpleNamespace(apply=lambda p: np.array(p)))
    judged = _judged_out_of_fold("home", images, evaluate(images, resamples=0), trained)
    made = judged.breasts(np.ones(40, dtype=np.bool_))
    assert made.groupby("fold")["recalled"].count().tolist() == [0, 20]
