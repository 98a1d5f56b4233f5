"""What goes wrong is said with what it was and how to go on, and nothing good is lost."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rsna.files import WriteError, _machine
from rsna.prepare.cache import CacheError
from rsna.runs.errors import RunError
from rsna.runs.weights import write_weights
from rsna.training.callbacks.checkpoints import average_weights
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
    state = torch.load(checkpoints(tiny) / "last.ckpt", "cpu", weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())
    assert not (tiny / "run" / "fold0" / "model.safetensors").exists()


def test_on_a_full_disk_the_error_names_the_file_and_the_checkpoint_before_still_loads(tiny):
    config = tiny_config(tiny, trainer__epochs=2)
    with (
        files_no_larger_than(300_000),
        pytest.raises(WriteError, match=r"\.(ckpt|safetensors): cannot be written \(File too large\); free space on "),
    ):
        train_here(config)
    assert not list(checkpoints(tiny).glob(".*")), "no half file stays"
    train_here(config)
    before = (checkpoints(tiny) / "last.ckpt").read_bytes()
    with files_no_larger_than(300_000), pytest.raises(WriteError, match="give the same command again"):
        write_weights({"w": torch.zeros(200_000)}, checkpoints(tiny) / "last.ckpt")
    assert (checkpoints(tiny) / "last.ckpt").read_bytes() == before


def test_nothing_of_a_run_goes_through_the_temporary_folder_or_is_its_owners_alone(tiny, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tiny / "not-there"))
    (tiny / "run" / "fold0" / "checkpoints").mkdir(parents=True)
    killed = tiny / "run" / "fold0" / "checkpoints" / f".last.ckpt.{_machine()}.4194305.tmp"
    killed.write_bytes(b"half")
    train_here(tiny_config(tiny, trainer__epochs=1))
    files = [file for file in (tiny / "run").rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix == ".tmp"]
    umask = os.umask(0)
    os.umask(umask)
    assert {file.stat().st_mode & 0o777 for file in files if not file.name.startswith(".")} == {0o666 & ~umask}


def test_a_broken_epoch_file_is_named(tmp_path):
    (tmp_path / "epoch0001.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match=r"epoch0001\.safetensors: cannot be loaded: .*; copy it again, or remove it"):
        average_weights([tmp_path / "epoch0001.safetensors"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_prepared_image_that_is_broken_is_named_in_a_line(tiny, workers):
    for file in (tiny / "cache").rglob("*.tif"):
        file.write_bytes(b"broken")
    with pytest.raises(CacheError, match="is damaged") as caught:
        train_here(tiny_config(tiny, trainer__workers=workers))
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_full_dev_shm_is_said_with_the_key_that_does_without(tiny):
    small = 'mount -t tmpfs -o size=64k none /dev/shm && exec "$@"'
    front = ["unshare", "--mount", "--map-root-user", "sh", "-c", small]
    if subprocess.run([*front, "sh", "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no mount namespace (unshare --mount)")
    code = (
        "import sys; from tests.training.tiny import *; from pathlib import Path\n"
        "try: train_here(tiny_config(Path(sys.argv[1]), trainer__workers=2))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    command = [*front, "sh", sys.executable, "-c", code, str(tiny)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()[-1]
    assert said.startswith("LoaderError trainer.workers: loader processes cannot hand over their batches (")
    assert "Give trainer.workers=0" in said


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
    ascii_alone = {"PYTHONIOENCODING": "ascii"}  # which lacks the × of the first lines
    process = subprocess.Popen(
        command, cwd=tiny, env=os.environ | ascii_alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    history = tiny / "run" / "fold0" / "history.csv"
    deadline = time.monotonic() + 120
    while not history.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "device(s) \\xd7 8" in out
    assert "interrupted; the same command goes on where this one stopped" in said
    assert "Traceback" not in said
    assert history.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_command_line_says_what_is_wrong_without_a_traceback(tmp_path):
    command = [sys.executable, str(ROOT / "train.py"), "data=rsna", "data.root=nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "there is no such folder; name the one with train.csv" in done.stderr
    assert "Traceback" not in done.stderr


def test_history_is_drawn(prepared):
    assert (prepared / "run" / "fold0" / "history.png").read_bytes().startswith(b"\x89PNG")
    assert load_file(prepared / "run" / "fold0" / "model.safetensors")
