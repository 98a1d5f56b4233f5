"""Starts the ranks of a fold: in this process where there is one, under torchrun where there are more."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rsna.files import write_atomic
from rsna.parallel.pool import available_cores
from rsna.runs.schema import config_text
from rsna.training.data.fold import FoldData
from rsna.training.experiment import Experiment
from rsna.training.fit import fit_fold

RANKS = "ranks.yaml"
"""The configuration as the ranks of a fold get it, in the fold's folder while they run."""


class TrainingError(RuntimeError):
    """Training ended without weights; the messages of the ranks stand above."""


@contextmanager
def only_one(fold: int, folder: Path) -> Iterator[None]:
    """Keeps a second start of the same fold out: two would write over each other's checkpoints.

    Raises:
        TrainingError: Another process is in here; the system forgets it when it ends, however it ends.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TrainingError(
            f"fold {fold}: another process is training in {folder}; wait for its end, or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()


def launch_fold(experiment: Experiment, fold: int, folder: Path, data: FoldData) -> None:
    """Trains a fold on the devices of the experiment.

    Several ranks are processes of their own, started by torchrun, which ends all of them when one dies. What they
    need to know lies in a file: a rank that works out paths for itself can work out others.

    Raises:
        TrainingError: A rank died.
    """
    if experiment.hardware.devices == 1 or "RANK" in os.environ:  # the latter: the user's own torchrun
        fit_fold(experiment, fold, folder, data)
        return
    write_atomic(folder / RANKS, config_text(experiment.config))
    devices = experiment.hardware.devices
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}",
        "-m", "rsna.training.worker", str(folder), str(fold),
    ]  # fmt: skip
    threads = {"OMP_NUM_THREADS": str(max(1, available_cores() // devices))}
    try:
        # The ranks inherit this pipe as their standard input: it ends when this process does, however that comes
        # about, and so do they. Otherwise they would train on, beside those of the next start.
        with subprocess.Popen(command, env=os.environ | threads, stdin=subprocess.PIPE) as torchrun:
            code = torchrun.wait()
    finally:
        (folder / RANKS).unlink(missing_ok=True)
    if code:
        raise TrainingError(
            f"fold {fold}: a training process ended with code {code}, and the others with it; its message "
            "stands above. The same command goes on from the last checkpoint"
        )
