"""Results of the accuracy benchmark whose truth is known, and a set of pictures that its arms can be trained on."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from accuracy_tables import Result

from tests.training.tiny import write_set


def simulated(arm, seed, effect, patients=600, noise=0.3, share=0.2):
    """One arm's predictions: breasts are as hard for every arm; seeds differ by training noise."""
    rng = np.random.default_rng(0)  # the patients are the same for all
    cancer = (rng.random(patients) < share).astype(int)
    common = rng.normal(0, 1, patients)
    own = np.random.default_rng([seed, sum(arm.encode())]).normal(0, noise, patients)
    logit = effect * cancer + common + own
    ids = [f"p{i}" for i in range(patients)]
    frame = pd.DataFrame({"image_id": ids, "patient_id": ids, "prediction_id": [f"{i}_L" for i in ids],
                          "cancer": cancer, "probability": 1 / (1 + np.exp(1.5 - logit)),
                          "fold": np.arange(patients) % 4})  # fmt: skip
    return Result("cbis160", arm, seed, frame, "mean", {"a machine"}, "some weights", 60.0)


def small_options(folder):
    """The command line of the benchmark, for a set of a few pictures in a folder."""
    write_set(folder / "rsna256")
    file = folder / "rsna256" / "train.csv"
    table = pd.read_csv(file)
    table.assign(age=40 + 2 * table["patient_id"]).to_csv(file, index=False)
    return argparse.Namespace(data=folder, out=folder / "out", cache=folder / "cache", device="cpu", workers=0,
                              epochs=8, tried=None, keep=False, at_once=1)  # fmt: skip
