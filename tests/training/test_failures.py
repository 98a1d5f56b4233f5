"""What goes wrong is said with what it was and how to go on, and nothing good is lost."""

import contextlib
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rsna.prepare.cache import CacheError
from rsna.training.callbacks.checkpoints import CheckpointError, average_weights, latest_checkpoint, write_weights
from rsna.training.callbacks.watch import DivergedError
from tests.training.tiny import tiny_config, train_here

ROOT = Path(__file__).parents[2]


def checkpoints(folder):
    return folder / "run" / "fold0" / "checkpoints"


@contextlib.contextmanager
def files_no_larger_than(size):
    """Writing beyond ``size`` bytes fails, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_loss_that_is_not_finite_stops_names_the_images_and_keeps_the_last_checkpoint(tiny):
    # Weights of 10^37 after the second step are finite still; what they make of the next images is not.
    config = tiny_config(
        tiny, optim__lr=1e38, optim__clip_norm=0.0, trainer__epochs=10, optim__warmup_epochs=10,
        optim__warmup_start=1e-38,
    )  # fmt: skip
    with pytest.raises(DivergedError, match=r"fold 0: the loss is (nan|inf) after \d steps") as caught:
        train_here(config)
    named = str(caught.value).split("batch of images ")[1].split(". ")[0].split(", ")
    folds = pd.read_csv(tiny / "run" / "folds.csv", dtype=str)
    assert len(named) == 8
    assert set(named) <= set(folds.loc[folds["fold"] != "0", "image_id"])
    state = torch.load(latest_checkpoint(checkpoints(tiny)), "cpu", weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())
    assert not (tiny / "run" / "fold0" / "model.safetensors").exists()


def test_on_a_full_disk_the_error_names_the_file_and_the_checkpoint_before_still_loads(tiny):
    config = tiny_config(tiny, trainer__epochs=2)
    with (
        files_no_larger_than(300_000),
        pytest.raises(CheckpointError, match=r"\.(ckpt|safetensors): cannot be written"),
    ):
        train_here(config)
    assert not list(checkpoints(tiny).glob(".*")), "no half file stays"
    train_here(config)
    before = (checkpoints(tiny) / "last.ckpt").read_bytes()
    with files_no_larger_than(300_000), pytest.raises(CheckpointError, match="goes on from the checkpoint before"):
        write_weights({"w": torch.zeros(200_000)}, checkpoints(tiny) / "last.ckpt")
    assert (checkpoints(tiny) / "last.ckpt").read_bytes() == before


def test_a_broken_epoch_file_is_named(tmp_path):
    (tmp_path / "epoch0001.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"epoch0001\.safetensors: the weights of an epoch that counts"):
        average_weights([tmp_path / "epoch0001.safetensors"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_prepared_image_that_is_broken_is_named_in_a_line(tiny, workers):
    for file in (tiny / "cache").rglob("*.tif"):
        file.write_bytes(b"broken")
    with pytest.raises(CacheError, match="is damaged") as caught:
        train_here(tiny_config(tiny, trainer__workers=workers))
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_mirror_that_refuses_costs_no_fold(tiny, capsys):
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tiny / 'mlflow.db'}")
    client.delete_experiment(client.create_experiment("deleted"))
    train_here(tiny_config(tiny, tracking="mlflow", name="deleted", fold="all", trainer__epochs=1))
    assert capsys.readouterr().out.count("is not mirrored to MLflow") == 3
    assert (tiny / "run" / "cv" / "metrics.json").exists()


def test_an_interrupt_says_how_to_go_on_and_leaves_the_picture(tiny):
    settings = [
        "run=run", "tracking=none", "data=rsna", "data.root=set", "data.name=tiny", "preprocess.size=[48,32]",
        "preprocess.crop=none", "folds.n_folds=2", "model.backbone=test_efficientnet", "model.pretrained=false",
        "trainer.epochs=1000", "prepare.workers=1", "trainer.accelerator=cpu",
    ]  # fmt: skip
    command = [sys.executable, str(ROOT / "train.py"), *settings]
    process = subprocess.Popen(command, cwd=tiny, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    history = tiny / "run" / "fold0" / "history.csv"
    deadline = time.monotonic() + 120
    while not history.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on where this one stopped" in said
    assert "Traceback" not in said
    assert history.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_command_line_says_what_is_wrong_without_a_traceback(tmp_path):
    command = [sys.executable, str(ROOT / "train.py"), "data=rsna", "data.root=nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "there is no such folder; set data.root" in done.stderr
    assert "Traceback" not in done.stderr


def test_history_is_drawn(prepared):
    assert (prepared / "run" / "fold0" / "history.png").read_bytes().startswith(b"\x89PNG")
    assert load_file(prepared / "run" / "fold0" / "model.safetensors")
