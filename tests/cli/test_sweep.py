"""Every job of a sweep has a run folder of its own, one that fails ends itself alone, sweepers get the objective."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rsna.board.leaderboard import leaderboard
from rsna.cli.training import _over_seeds, with_own_run, with_seeds
from rsna.config.compose import freeze, read_arguments, run_hydra
from rsna.config.settings import ConfigError
from rsna.runs.run import open_run
from tests.training.tiny import write_set

ROOT = Path(__file__).parents[2]


def folders(*arguments: str) -> list[str]:
    """Run folders of the jobs of a sweep, in order, without training."""
    from hydra.core.hydra_config import HydraConfig

    found = []

    def job(composed):
        config = with_own_run(freeze(composed), composed, overrides, HydraConfig.get().overrides.task)
        found.append(str(config.run_dir))

    flags, overrides, _ = read_arguments(with_seeds(["-m", *arguments]))
    run_hydra(flags, overrides, job)
    return found


@pytest.fixture
def own_data(tmp_path, monkeypatch):
    """A set in a folder named set, in RSNA_DATA."""
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSNA_DATA", str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["optim.lr=1e-3,1e-4"], ["runs/b3-set-lr_0.001", "runs/b3-set-lr_0.0001"]),
        (
            ["optim.lr=1e-3,1e-4", "fold=0,1", "trainer.epochs=3"],
            ["runs/b3-set-lr_0.001", "runs/b3-set-lr_0.001", "runs/b3-set-lr_0.0001", "runs/b3-set-lr_0.0001"],
        ),
        (["fold=0,1", "trainer.workers=0,1"], ["runs/b3-set"] * 4),
        (["model=b0,b3", "seed=7"], ["runs/b3-set-model_b0", "runs/b3-set-model_b3"]),
        (["folds=four,five"], ["runs/b3-set-folds_four", "runs/b3-set-folds_five"]),
        (["experiment=demo,strong_b3"], ["runs/demo", "runs/strong_b3-set"]),
        (["experiment=demo", "seed=0,1"], ["runs/demo-seed_0", "runs/demo-seed_1"]),
        (["data=demo,rsna"], ["runs/b3-demo", "runs/b3-set"]),
        (["data.root=set,other"], ["runs/b3-set", "runs/b3-other"]),
        (["name=a,b"], ["runs/a-set", "runs/b-set"]),
        (["seeds=[3]"], ["runs/b3-set-seed_3"]),
        (["run=out/x", "seeds=[0, 2]", "fold=all"], ["out/x-seed_0", "out/x-seed_2"]),
        (["seeds=0,1", "model=b0,b3"], [f"runs/b3-set-model_{b}-seed_{k}" for b in ("b0", "b3") for k in (0, 1)]),
        (["folds.seed=0,1", "seeds=[2]"], [f"runs/b3-set-folds.seed_{k}-seed_2" for k in (0, 1)]),
        (["name=a", "seed=0,1"], ["runs/a-set-seed_0", "runs/a-set-seed_1"]),
        (["run=x,y"], ["x", "y"]),
        (["run=x", "fold=0,1"], ["x", "x"]),
        (["run=out/x", "seed=0,1"], ["out/x-seed_0", "out/x-seed_1"]),
        (['run="x-${seed}-${optim.lr}"', "seed=0,1"], ["x-0-0.0003", "x-1-0.0003"]),
        (["name=s${seed}", "seed=0,1"], ["runs/s0-set", "runs/s1-set"]),
        (["batch_size_per_device=4,8"], ["runs/b3-set"] * 2),
        (
            ["batch_size_per_device=4,8", "sampler=balanced"],
            ["runs/b3-set-batch_size_per_device_4", "runs/b3-set-batch_size_per_device_8"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_folder_of_a_job_is_named_by_what_differs(own_data, arguments, expected):
    assert folders(*arguments) == expected


def test_experiments_of_ones_own_that_name_no_run_are_kept_apart(own_data, tmp_path):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    for name in ("b", "set"):
        (tmp_path / "conf" / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\nseed: {len(name)}\n")
    paths = folders(f"--config-dir={tmp_path / 'conf'}", "experiment=b,set")
    assert paths == ["runs/b3-set-experiment_b", "runs/b3-set-experiment_set"]


def test_values_that_are_no_names_of_folders_are_kept_apart_and_short(own_data):
    paths = folders("preprocess.size=[64,32],[64,64]", "model.weights=/a/b.pth,/a_b.pth", "model.pretrained=false")
    assert len(set(paths)) == 4
    assert all(Path(path).parent == Path("runs") and " " not in path for path in paths)
    long = "x" * 300
    paths = folders(f"model.weights=/{long}a,/{long}b", "model.pretrained=false")
    assert len(set(paths)) == 2
    assert all(len(Path(path).name) < 120 for path in paths)


@pytest.mark.parametrize("wrong", ["seeds=[]", "seeds=[0,0]", "seeds=[a]", "seeds=[-1]", "seeds=[0.5]", "seeds=3:5"])
def test_seeds_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"name different whole numbers from 0 on, as seeds=\[0,1,2\]"):
        with_seeds([wrong])


def test_each_configuration_has_its_own_line_over_seeds():
    objectives = {
        split: {seed: (Path(f"runs/b3-folds.seed_{k}-seed_{seed}"), "auroc of {}, fold 0", k + seed / 10)}
        | {5: (Path(f"runs/b3-folds.seed_{k}-seed_5"), "auroc of {}, fold 0", k + 0.5)}
        for split, k, seed in (("a", 0, 1), ("b", 1, 2))
    }
    objectives["c"] = {k: (Path(f"runs/cut-{k}0af"), "auroc of {}, fold 0", 0.5) for k in (0, 1)}
    objectives["alone"] = {0: (Path("runs/x"), "auroc of {}, fold 0", 0.5)}
    first, second, third = _over_seeds(objectives)
    assert first.startswith("auroc of runs/b3-folds.seed_0-seed_*, fold 0: seeds 1, 5: mean 0.3000, ")
    assert second.startswith("auroc of runs/b3-folds.seed_1-seed_*, fold 0: seeds 2, 5: mean 1.3500, ")
    assert third.startswith("auroc of runs/cut-00af, runs/cut-10af, fold 0: seeds 0, 1: mean 0.5000, ")


def test_seeds_that_are_given_twice_are_refused():
    with pytest.raises(ConfigError, match=r"seeds: is given twice, as \[0,1\] and as \[2\]; give it once"):
        with_seeds(["seeds=[0,1]", "seeds=[2]"])


def test_a_seed_beside_seeds_is_refused():
    with pytest.raises(ConfigError, match="seed=1 and seeds=.*: give one of them"):
        with_seeds(["seed=1", "seeds=[0,1]"])


def test_one_configuration_is_printed_not_one_a_seed():
    with pytest.raises(ConfigError, match="what is printed is one configuration; give seed=3"):
        with_seeds(["seeds=[3,4]", "--cfg", "job"])
    assert with_seeds(["seeds=[3,4]", "--config-dir=conf"]) == ["--config-dir=conf", "-m", "seed=choice(3,4)"]


SETTINGS = [
    "tracking=none", "data.root=set", "data.name=tiny", "preprocess.size=[48,32]", "preprocess.crop=none",
    "folds.n_folds=2", "model.backbone=test_efficientnet", "model.pretrained=false", "trainer=debug",
    "prepare.workers=1", "evaluation.resamples=100", "objective=auroc",
]  # fmt: skip


@pytest.fixture
def tiny(tmp_path):
    write_set(tmp_path / "set")
    return tmp_path


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "train.py"), "-m", *arguments, *SETTINGS]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # launchers start processes of their own
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500, env=environment)


def metrics(folder: Path, run: str, fold: int = 0) -> dict:
    return json.loads((folder / "runs" / run / f"fold{fold}" / "metrics.json").read_text())


def test_a_sweep_trains_a_run_a_job_and_goes_on_after_one_that_fails(tiny):
    done = sweep(tiny, "optim.lr=1e-3,0,1e-4", "fold=0,1")
    assert done.returncode == 1
    assert sorted(path.name for path in (tiny / "runs").glob("b3-*")) == ["b3-tiny-lr_0.0001", "b3-tiny-lr_0.001"]
    for run in ("b3-tiny-lr_0.001", "b3-tiny-lr_0.0001"):
        assert metrics(tiny, run)["fold"] == 0
        assert (tiny / "runs" / run / "cv" / "metrics.json").exists()
    failures = [line for line in done.stderr.splitlines() if line.startswith("rsna train: job") and " failed: " in line]
    assert len(failures) == 2
    assert failures[0].startswith("rsna train: job 2 (optim.lr=0 fold=0 ")
    assert failures[0].endswith("failed: optim.lr: 0 is not above 0")
    assert "Traceback" not in done.stderr


def test_seeds_are_runs_of_their_own_that_go_on_where_they_stopped(tiny):
    command = [sys.executable, str(ROOT / "train.py"), "seeds=[0,1]", "fold=all", *SETTINGS]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def train() -> str:
        done = subprocess.run(command, cwd=tiny, capture_output=True, text=True, timeout=500, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    lines = [line for line in train().splitlines() if "seeds 0, 1: mean" in line]
    assert len(lines) == 1
    assert lines[0].startswith("auroc of runs/b3-tiny-seed_*, every fold: seeds 0, 1: mean 0.")
    runs = [tiny / "runs" / f"b3-tiny-seed_{seed}" for seed in (0, 1)]
    written = [(run / "fold1" / "model.safetensors").stat().st_mtime_ns for run in runs]
    (runs[1] / "cv" / "metrics.json").unlink()
    train()
    assert [(run / "fold1" / "model.safetensors").stat().st_mtime_ns for run in runs] == written
    assert (runs[1] / "cv" / "metrics.json").exists()
    (group,) = leaderboard([open_run(run) for run in runs], resamples=50)
    assert [place.seeds for place in group.places] == [(0, 1)]


def test_the_joblib_launcher_trains_jobs_side_by_side(tiny):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = sweep(tiny, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,-1,1")
    assert done.returncode == 1
    assert [metrics(tiny, f"b3-tiny-seed_{seed}")["fold"] for seed in (0, 1)] == [0, 0]
    assert "job 1 (seed=-1 " in done.stderr
    assert "failed: seed: -1 is below 0" in done.stderr


def test_submitits_local_executor_trains_jobs(tiny):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    done = sweep(tiny, "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5", "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert [metrics(tiny, f"b3-tiny-seed_{seed}")["fold"] for seed in (0, 1)] == [0, 0]


def test_optuna_gets_the_objective_of_every_job(tiny):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    done = sweep(
        tiny, "hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=2",
        "hydra.sweeper.n_jobs=1", "hydra.sweeper.sampler.seed=0", "optim.lr=interval(1e-4,1e-2)",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = (tiny / "runs" / ".multirun" / "optimization_results.yaml").read_text()
    runs = sorted((tiny / "runs").glob("b3-tiny-lr_*"))
    assert len(runs) == 2
    values = [metrics(tiny, run.name)["breasts"]["pooled"]["auroc"] for run in runs]
    assert f"best_value: {max(values)}" in results
