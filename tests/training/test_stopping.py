"""Training that is asked to stop saves where it is, says so by its exit code, and goes on to the same weights."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rsna.config.schema import Config
from rsna.runs.schema import config_text
from rsna.training import stopping
from rsna.training.callbacks.checkpoints import Checkpoints
from rsna.training.run import train
from tests.training.test_resume import EVERYTHING, checkpoint, history, same, undisturbed, weights
from tests.training.tiny import PROCESSES, tiny_config, train_here

__all__ = ["undisturbed"]
ROOT = Path(__file__).parents[2]


def stop_at_step(config: Config, number: int, step: int) -> int | None:
    """Trains in a process of its own that gets a signal during a step; returns its exit code."""
    process = PROCESSES.Process(target=_train_and_ask, args=(config, number, step))
    process.start()
    process.join(300)
    return process.exitcode


def _train_and_ask(config: Config, number: int, step: int) -> None:
    end = Checkpoints.on_train_batch_end

    def ask_and_end(self, trainer, *rest):
        if trainer.global_step == step:
            os.kill(os.getpid(), number)
        end(self, trainer, *rest)

    Checkpoints.on_train_batch_end = ask_and_end
    train(config)


@pytest.mark.parametrize(("number", "step"), [(signal.SIGUSR1, 4), (signal.SIGTERM, 6), (signal.SIGUSR2, 8)])
def test_the_step_at_hand_is_saved_and_the_weights_are_those_of_an_undisturbed_run(tiny, undisturbed, number, step):
    """Three steps an epoch; behind the last one of an epoch its validation is finished, too."""
    config = tiny_config(tiny, **EVERYTHING)
    assert stop_at_step(config, number, step) == stopping.AGAIN == 75
    at = torch.load(checkpoint(tiny), "cpu", weights_only=True)
    assert at["global_step"] == step
    train_here(config)
    assert same(weights(tiny), weights(undisturbed))
    assert history(tiny) == history(undisturbed)


def test_outside_of_steps_it_ends_at_once_and_leaves_the_handlers_as_they_were(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(stopping.Stopped) as stopped, stopping.stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.code == 75
    assert signal.getsignal(signal.SIGTERM) == before
    assert (
        capsys.readouterr().out
        == "outside of training steps: stopped by SIGTERM; the same command goes on from there\n"
    )


def test_whoever_handled_the_signal_before_gets_it_when_everything_is_saved(monkeypatch):
    """As submitit does, which gives the job back to the queue by such a handler."""
    got = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: got.append(number))
    try:
        with pytest.raises(stopping.Stopped), stopping.stoppable(), stopping.finishing_the_step():
            os.kill(os.getpid(), signal.SIGUSR2)
            assert stopping.is_asked()
            assert not got
        assert got == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_what_breaks_because_of_the_signal_is_no_failure(capsys):
    """As loader processes do that get it, too."""
    with pytest.raises(stopping.Stopped), stopping.stoppable(), stopping.finishing_the_step():
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated")
    assert "the last checkpoint, before RuntimeError (DataLoader worker (pid 7)" in capsys.readouterr().out


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with stopping.stoppable():
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_two_ranks_stop_at_the_same_step(prepared, tmp_path):
    """The launching process is told, and tells torchrun, which tells the ranks."""
    folder = tmp_path
    for name in ("set", "cache"):
        (folder / name).symlink_to(prepared / name)
    # Endless, but for the signal: a hundred epochs take minutes.
    config = tiny_config(folder, trainer__devices=2, trainer__epochs=100, batch_size_per_device=4, global_batch_size=8)
    (folder / "config.yaml").write_text(config_text(config), encoding="utf-8")
    code = "import sys; from pathlib import Path; from rsna.runs.run_directory import read_config\n"
    code += "from rsna.training.run import train\ntrain(read_config(Path(sys.argv[1])))\n"
    command = [sys.executable, "-c", code, str(folder / "config.yaml")]
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as run:
        wait_for(checkpoint(folder))
        run.send_signal(signal.SIGUSR1)
        said = run.communicate(timeout=300)[0]
    assert run.returncode == stopping.AGAIN
    stops = [line for line in said.splitlines() if "stopped by" in line]
    assert len(stops) == 1, said
    at = torch.load(checkpoint(folder), "cpu", weights_only=True)
    assert f"step {at['global_step']}:" in stops[0] or f"end of epoch {at['epoch'] + 1}:" in stops[0]
    assert not (folder / "run" / "fold0" / "model.safetensors").exists()


def wait_for(file: Path, seconds: float = 600.0) -> None:
    """Returns once a file is there."""
    until = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < until, f"{file} never came"
        time.sleep(0.1)
