"""The ranks of a fold, where there are more than one: started under torchrun, each runs this file."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from filelock import FileLock, Timeout

from rsna.dataset.examples import Unit
from rsna.files import write_atomic
from rsna.parallel.pool import available_cores
from rsna.prepare.cache import Cache
from rsna.runs.run_directory import read_config
from rsna.runs.schema import config_text
from rsna.training import ranks
from rsna.training.data.module import fold_data
from rsna.training.experiment import Experiment, resolve
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


def launch_ranks(experiment: Experiment, fold: int, folder: Path) -> None:
    """Trains a fold by a process for each device of the experiment, started by torchrun, which ends all when one dies.

    What they need to know lies in a file, or is said to them: a rank that works it out for itself can work out
    something else.

    Raises:
        TrainingError: A rank died.
    """
    write_atomic(folder / RANKS, config_text(experiment.config))
    devices = experiment.hardware.devices
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}",
        "-m", "rsna.training.launch", str(folder), str(fold), experiment.unit,
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


def train_rank(folder: Path, fold: int, unit: Unit) -> None:
    """One rank of :func:`launch_ranks`."""
    with ranks.joined():
        experiment = resolve(read_config(folder / RANKS), unit)
        config, table = experiment.config, experiment.table
        cache = Cache.create(config.cache_dir, table.name, config.preprocess)
        fit_fold(experiment, fold, folder, fold_data(experiment, fold, cache))


def _end_with_launcher() -> None:
    """Standard input is a pipe that the launching process never writes to; it ends when that process does."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    try:
        train_rank(Path(sys.argv[1]), int(sys.argv[2]), cast(Unit, sys.argv[3]))
    except Exception as error:
        if not (type(error).__module__.startswith("rsna.") or isinstance(error, OSError)):
            raise
        # The project's own errors say what, where and how to mend; a traceback would hide them.
        print(f"rank {ranks.rank()}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
