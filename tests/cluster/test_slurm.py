"""What is submitted runs on a real SLURM, ends in what an undisturbed run ends in, and can be asked for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from rsna.cli import main
from tests.cluster.conftest import ask, in_queue, wait_until
from tests.inference.runs import write_exams, write_run
from tests.training.test_resume import same
from tests.training.tiny import write_set

ROOT = Path(__file__).parents[2]
EPOCHS = 6
"""Long enough to be stopped on the way: a checkpoint a step."""
KEYS = [
    "data.root=set", "data.name=tiny", "cache_dir=cache", "tracking=none", "deterministic=true",
    "preprocess.size=[48,32]", "preprocess.crop=none", "prepare.workers=1", "folds.n_folds=4",
    "model.backbone=test_efficientnet", "model.pretrained=false", "optim.lr=1e-3", "optim.warmup_epochs=0.5",
    f"trainer.epochs={EPOCHS}", "trainer.accelerator=cpu", "trainer.workers=0", "evaluation.resamples=100",
    "batch_size_per_device=4", "global_batch_size=8", "trainer.checkpoint_every_steps=1",
]  # fmt: skip
SMALL = ["gpus=0", "cpus=1", "grace=60", "setup=[export OMP_NUM_THREADS=1]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a set."""
    folder = tmp_path_factory.mktemp("cluster")
    write_set(folder / "set")
    return folder


@pytest.fixture(autouse=True)
def here(request, monkeypatch):
    """Jobs run where they were submitted, with the package of this checkout."""
    if "folder" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("folder"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_preparing_is_an_array_of_shards_and_a_job_that_merges_them(slurm, folder, capsys):
    assert main(["slurm", "prepare", *KEYS, *SMALL, "shards=2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert ["tasks 1-2" in said[0], "merge.sbatch" in said[1]] == [True, True]
    wait_until(lambda: not in_queue(), "everything is prepared")
    logs = {file.name[:6]: file.read_text() for file in (folder / "cache" / "slurm" / "tiny").glob("*.log")}
    assert sorted(logs) == ["merge-", "shard1", "shard2"]
    assert "48 prepared images" in logs["merge-"], logs
    assert main(["prepare", *KEYS]) == 0
    assert "(0 now" in capsys.readouterr().out


def test_predicting_is_an_array_of_shards_and_a_job_that_writes_the_submission_of_one_process(slurm, folder, capsys):
    write_run(folder / "run")
    write_exams(folder / "exams", 6)
    keys = ["run=run", "input=exams", "backend=torch", "batch_size=1", "workers=1"]
    assert main(["slurm", "infer", *keys, "out=cluster/submission.csv", *SMALL, "shards=2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert ["tasks 1-2" in said[0], "merge.sbatch" in said[1]] == [True, True]
    assert main(["infer", *keys, "out=here/submission.csv"]) == 0
    wait_until(lambda: not in_queue(), "everything is predicted")
    for name in ("submission.csv", "submission_images.csv", "submission_breasts.csv"):
        logs = [file.read_text() for file in sorted(folder.glob("cluster/submission.slurm/*.log"))]
        assert (folder / "cluster" / name).read_bytes() == (folder / "here" / name).read_bytes(), "\n".join(logs)


def test_folds_are_an_array_and_one_that_is_preempted_ends_in_the_weights_of_an_undisturbed_run(slurm, folder, capsys):
    assert main(["slurm", "train", *KEYS, *SMALL, "run=preempted", "fold=all"]) == 0
    job = capsys.readouterr().out.split()[1].rstrip(":")
    run = folder / "preempted"
    wait_until((run / "fold0" / "checkpoints" / "last.ckpt").exists, "a checkpoint")
    assert main(["slurm", "status", "run=preempted"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows[1:5]] == [[str(fold), f"{job}_{fold}", "RUNNING"] for fold in range(4)]
    ask("scontrol", "requeue", f"{job}_0")
    # Meanwhile, with as many threads: their number decides in which order sums are taken.
    command = [sys.executable, str(ROOT / "train.py"), *KEYS, "run=undisturbed", "fold=all"]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    wait_until(lambda: not in_queue(), "all folds are trained")
    log = (run / "slurm" / f"fold0-{job}.log").read_text()
    # Of SIGTERM, and the signal that the job passes on when it gets that, one comes first.
    assert re.search(r"fold0, .*: stopped by SIG(TERM|USR1); the same command goes on from there", log)
    assert "fold 0: goes on from preempted/fold0/checkpoints/last.ckpt" in log
    for fold in range(4):
        weights = [load_file(folder / name / f"fold{fold}/model.safetensors") for name in ("undisturbed", "preempted")]
        assert same(*weights)
    assert (run / "cv" / "metrics.json").exists()
    assert main(["slurm", "status", "preempted"]) == 0
    said = capsys.readouterr().out
    assert said.count("COMPLETED") == 4
    assert said.splitlines()[-1] == "all 4 folds are finished, and pooled in preempted/cv"


def test_torchruns_on_two_nodes_meet_and_what_a_signal_stops_the_job_itself_requeues(slurm, folder, capsys):
    assert main(["slurm", "train", *KEYS, *SMALL, "run=nodes", "fold=1", "nodes=2"]) == 0
    job = capsys.readouterr().out.split()[1].rstrip(":")
    wait_until((folder / "nodes" / "fold1" / "checkpoints" / "last.ckpt").exists, "a checkpoint")
    ask("scancel", "--batch", "--signal=USR1", f"{job}_1")  # as ahead of the time limit
    wait_until(lambda: not in_queue(), "the fold is trained")
    log = (folder / "nodes" / "slurm" / f"fold1-{job}.log").read_text()
    assert "8 examples a step = 2 device(s) × 4 × 1 accumulated" in log
    assert log.count("stopped by SIGUSR1; the same command goes on from there") == 1
    assert "fold 1: goes on from nodes/fold1/checkpoints/last.ckpt" in log
    assert (folder / "nodes" / "fold1" / "metrics.json").exists()


def test_hydras_submitit_launcher_trains_folds_side_by_side(slurm, folder):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    again = {"trainer.epochs": 1, "folds.n_folds": 2}
    command = [
        sys.executable, str(ROOT / "train.py"), "-m", *(one for one in KEYS if one.partition("=")[0] not in again),
        *(f"{key}={value}" for key, value in again.items()), "run=swept", "fold=0,1",
        "hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=20",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "swept" / "cv" / "metrics.json").exists()


def test_what_sbatch_refuses_is_said_in_its_words(slurm, folder, capsys):
    assert main(["slurm", "train", *KEYS, *SMALL, "run=refused", "fold=0", "partition=nowhere"]) == 1
    said = capsys.readouterr().err
    assert f"sbatch refuses {folder}/refused/slurm/train.sbatch: invalid partition specified: nowhere" in said
    assert main(["slurm", "status", "run=refused"]) == 1
    assert "no job was submitted for it" in capsys.readouterr().err
