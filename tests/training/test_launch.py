"""Devices and accumulation are two ways to the same step; ranks end together."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from rsna.config.settings import ConfigError
from rsna.training import hardware
from rsna.training.experiment import resolve
from rsna.training.launch import TrainingError, only_one
from rsna.training.run import prepare, train_fold
from tests.training.tiny import PROCESSES, die_at_step, tiny_config, train_here

ROOT = Path(__file__).parents[2]
TWO_STEPS = {
    "model__norm": "frozen", "model__drop_rate": 0.0, "optim__clip_norm": 0.0, "trainer__epochs": 2,
    "optim__warmup_epochs": 0.0,
}  # fmt: skip
"""Two epochs of one step, without anything that depends on the make-up of a batch."""
WAYS = {
    "one process": {"batch_size_per_device": 16},
    "accumulated": {"batch_size_per_device": 4},
    "two processes": {"batch_size_per_device": 8, "trainer__devices": 2},
}


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """The second step done in each way, from the checkpoint behind the first one.

    At the first step itself the classifier is zero and nothing reaches the backbone.
    """
    start = tmp_path_factory.mktemp("start")
    for part in ("set", "cache"):
        shutil.copytree(prepared / part, start / part)
    assert die_at_step(tiny_config(start, **TWO_STEPS), 1) == -signal.SIGKILL
    runs = {}
    for name, overrides in WAYS.items():
        folder = tmp_path_factory.mktemp("way") / "way"
        shutil.copytree(start, folder)
        runs[name] = train_here(tiny_config(folder, **TWO_STEPS, **overrides))
    return runs


def gradients(run):
    """The optimiser's mean of gradients after two steps, 0.1 × the second + 0.09 × the first, by parameter."""
    saved = torch.load(run / "fold0" / "checkpoints" / "last.ckpt", "cpu", weights_only=True)
    assert saved["global_step"] == 2
    states = saved["optimizer_states"][0]["state"]
    assert {int(state["step"]) for state in states.values()} == {2}
    return {key: state["exp_avg"] for key, state in states.items()}


@pytest.mark.parametrize("way", ["accumulated", "two processes"])
def test_every_way_to_the_same_batch_gives_the_same_gradients(trained, way):
    expected, found = gradients(trained["one process"]), gradients(trained[way])
    assert found.keys() == expected.keys()
    assert max(float(each.abs().max()) for each in expected.values()) > 1e-3
    for key, each in expected.items():
        torch.testing.assert_close(found[key], each, rtol=0, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_out_of_fold_ids_are_complete_and_come_once(trained, way):
    oof = pd.read_parquet(trained[way] / "fold0" / "oof.parquet")
    folds = pd.read_csv(trained[way] / "folds.csv", dtype={"image_id": str})
    expected = folds.loc[folds["fold"] == 0, "image_id"]
    assert sorted(oof["image_id"]) == sorted(expected)
    assert oof["probability"].between(0, 1).all()


@pytest.mark.parametrize("way", ["accumulated", "two processes"])
def test_validation_sees_every_image_on_any_number_of_ranks(trained, way):
    losses = [float(pd.read_csv(trained[each] / "fold0" / "history.csv")["val_loss"].iloc[1]) for each in WAYS]
    assert losses == pytest.approx([losses[0]] * len(losses), abs=1e-4)


def test_a_rank_that_dies_ends_the_others_with_a_clear_error(tiny, capfd):
    # The images of one rank's first batch are broken behind the index's back.
    for file in (tiny / "cache").rglob("*.tif"):
        file.write_bytes(b"broken")
    with pytest.raises(TrainingError, match="fold 0: a training process ended with code 1, and the others with it"):
        train_here(tiny_config(tiny, trainer__devices=2))
    assert "is damaged" in capfd.readouterr().err


def test_ranks_learn_from_the_examples_of_the_experiment(tiny):
    one_batch_of_four = {"global_batch_size": 4, "batch_size_per_device": 2, "trainer__epochs": 1}
    experiment = resolve(tiny_config(tiny, unit="breast", trainer__devices=2, **one_batch_of_four))
    train_fold(experiment, 0, prepare(experiment))
    history = pd.read_csv(tiny / "run" / "fold0" / "history.csv")
    assert history["step"].tolist() == [3]  # 12 breasts; their 24 images would be 6 steps
    images_per_step = history["images_per_s"] * history["ms_per_step"] / 1000
    assert images_per_step.tolist() == pytest.approx([8], rel=0.02)  # four breasts of two
    assert not (tiny / "run" / "fold0" / "ranks.yaml").exists()


def ranks_in(folder):
    """Processes that train in a folder."""
    commands = {file.parent.name: file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if readable(file)}
    return [pid for pid, line in commands.items() if b"rsna.training.launch" in line and str(folder).encode() in line]


def readable(file):
    """A process may end between being listed and being read."""
    try:
        file.read_bytes()
    except OSError:
        return False
    return True


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_ranks_end_when_the_process_that_launched_them_is_killed(tiny):
    config = tiny_config(tiny, trainer__devices=2, trainer__epochs=1000)
    launcher = PROCESSES.Process(target=train_here, args=(config,))
    launcher.start()
    wait_until((tiny / "run" / "fold0" / "history.csv").exists, 120)
    with pytest.raises(TrainingError, match="fold 0: another process is training in .*fold0; wait for its end"):
        train_here(config)
    assert ranks_in(tiny)
    launcher.kill()
    launcher.join()
    wait_until(lambda: not ranks_in(tiny), 10)
    with only_one(0, tiny / "run" / "fold0"):
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_disk_without_locks_trains_and_leaves_nothing_that_stands_in_the_way(tmp_path, monkeypatch, caplog, code):
    """Lustre without flock, NFS without lockd: what is killed there is not to keep the next start out."""

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with only_one(0, tmp_path / "fold0"):
        assert "this disk has no locks" in caplog.text
        left = {file.name: file.read_bytes() for file in (tmp_path / "fold0").iterdir()}
    for name, content in left.items():  # of one that was killed, perhaps on another machine
        (tmp_path / "fold0" / name).write_bytes(content)
    with only_one(0, tmp_path / "fold0"):
        pass


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("processes", "later"), [(1, 0.0), (1, 0.3), (3, 0.0), (3, 1.0)])
def test_ranks_end_when_their_launcher_is_killed_while_they_start(tiny, processes, later):
    """Of torchrun and two ranks so many are there, and have imported for so long."""
    launcher = PROCESSES.Process(target=train_here, args=(tiny_config(tiny, trainer__devices=2, trainer__epochs=1000),))
    launcher.start()
    wait_until(lambda: len(ranks_in(tiny)) >= processes, 120)
    time.sleep(later)
    launcher.kill()
    launcher.join()
    wait_until(lambda: not ranks_in(tiny), 3)
    time.sleep(1)
    assert not ranks_in(tiny)


@pytest.mark.slow
def test_a_sweep_over_folds_trains_each_on_two_ranks(tiny):
    sweep = ["-m", "fold=0,1", "trainer.devices=2", "trainer.accelerator=cpu", "global_batch_size=16"]
    settings = [
        "run=run", "tracking=none", "data=rsna", "data.root=set", "data.name=tiny", "preprocess.size=[48,32]",
        "preprocess.crop=none", "folds.n_folds=2", "model.backbone=test_efficientnet", "model.pretrained=false",
        "trainer.epochs=1", "evaluation.resamples=100", "prepare.workers=1",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *sweep, *settings], cwd=tiny, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    oof = pd.read_parquet(tiny / "run" / "cv" / "oof.parquet")
    assert len(oof) == oof["image_id"].nunique() == 48


@pytest.mark.slow
def test_torchrun_over_two_processes_trains_every_fold(tiny):
    settings = [
        "run=run", "tracking=none", "data=rsna", "data.root=set", "data.name=tiny", "preprocess.size=[48,32]",
        "preprocess.crop=none", "folds.n_folds=2", "model.backbone=test_efficientnet", "model.pretrained=false",
        "trainer.epochs=1", "evaluation.resamples=100", "prepare.workers=1", "trainer.accelerator=cpu", "fold=all",
    ]  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*command, str(ROOT / "train.py"), *settings], cwd=tiny, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("16 examples a step = 2 device(s) × 8 × 1 accumulated") == 2
    oof = pd.read_parquet(tiny / "run" / "cv" / "oof.parquet")
    assert len(oof) == oof["image_id"].nunique() == 48


@pytest.mark.parametrize(("ranks", "workers"), [({}, 4), ({"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "2"}, 8)])
def test_the_cores_of_a_machine_are_shared_by_its_own_ranks(prepared, monkeypatch, ranks, workers):
    """Eight machines with two GPUs and 16 cores each, against one with four GPUs."""
    for name, value in ({"RANK": "0"} | ranks).items() if ranks else ():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(hardware, "available_cores", lambda: 16)
    monkeypatch.setattr(hardware, "choose_accelerator", lambda trainer: "cuda")
    monkeypatch.setattr(hardware, "choose_devices", lambda *given: 2 if ranks else 4)
    found = hardware.choose_hardware(
        tiny_config(prepared, trainer__workers="auto", trainer__devices="auto", trainer__precision="32")
    )
    assert (found.devices, found.workers) == (16 if ranks else 4, workers)


@pytest.mark.parametrize("devices", [16, 2, 3])
def test_a_number_of_devices_beside_ones_own_torchrun_is_that_of_its_processes(prepared, monkeypatch, devices):
    """Of all machines, or of one of them; any other would be passed over."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    config = tiny_config(prepared, trainer__devices=devices, trainer__accelerator="cpu")
    if devices == 3:
        with pytest.raises(ConfigError, match="3 asked for, and torchrun has started 16 processes, 2 of them on this"):
            hardware.choose_hardware(config)
    else:
        assert hardware.choose_hardware(config).devices == 16
