"""One set of real (simulated) images with a run on it, for every test that looks at pixels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.source import load_table
from rsna.demo import DemoSettings, write_demo
from rsna.runs.lb_scores import Submission, record_scores
from tests.board.runs import drawn, write_run


@pytest.fixture(scope="session")
def pictured(tmp_path_factory) -> Path:
    """A run folder with networks, on 14 simulated patients, whose predictions miss cancers and raise false alarms."""
    folder = tmp_path_factory.mktemp("pictured")
    write_demo(folder / "set", DemoSettings(n_train=14, n_test=1, prevalence=0.4))
    oof = load_table(folder / "set").frame.drop(columns="path")
    rng = np.random.default_rng(0)
    noise = oof.groupby("prediction_id")["cancer"].transform(lambda c: rng.normal(1.2 * c.iloc[0], 1.0))
    oof["probability"] = 1 / (1 + np.exp(-noise + 0.5))
    oof["fold"] = pd.factorize(oof["patient_id"])[0] % 2
    data = {"root": str(folder / "set"), "name": "demo", "sampling": "enriched"}
    run = folder / "runs" / "pictured"
    return write_run(run, oof, dataset="a" * 12, networks=True, data=data, cache_dir=str(folder / "cache"))


@pytest.fixture(scope="session")
def ranked(tmp_path_factory) -> Path:
    """A folder of runs: two of equal worth, one far worse, one incomplete, one on another set."""
    runs = tmp_path_factory.mktemp("ranked") / "runs"
    write_run(runs / "good", drawn(seed=1))
    write_run(runs / "twin", drawn(seed=2), checkpoint="best")
    write_run(runs / "poor", drawn(seed=3, signal=0.2))
    write_run(runs / "begun", drawn(seed=4), trained=(0,))
    write_run(runs / "elsewhere", drawn(seed=5, signal=4.0), dataset="e" * 12)
    return runs


@pytest.fixture(scope="session")
def one_sided(tmp_path_factory) -> Path:
    """A run whose positives all lie in fold 0: the other fold has nothing that a threshold for it is chosen by."""
    oof = drawn(seed=5)
    oof.loc[oof["fold"] == 1, "cancer"] = 0
    return write_run(tmp_path_factory.mktemp("one-sided") / "one-sided", oof)


@pytest.fixture(scope="session")
def seeded(tmp_path_factory) -> Path:
    """A folder of runs: three seeds of one configuration, the last of which learned nothing, and another run."""
    runs = tmp_path_factory.mktemp("seeded") / "runs"
    for seed in range(3):
        write_run(runs / f"b3-seed{seed}", drawn(seed=seed, signal=2.0 if seed < 2 else 0.0), seed=seed)
    write_run(runs / "other", drawn(seed=7), optim={"lr": 0.01})
    record_scores(runs / "b3-seed1", [Submission("2023-02-20", 0.5, 0.4)])
    record_scores(runs / "b3-seed2", [Submission("2023-02-20", 0.3, None)])
    return runs
