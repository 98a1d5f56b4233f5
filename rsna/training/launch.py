"""The ranks of a fold, where there are more than one: started under torchrun, each runs this file."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rsna.cores import available_cores
from rsna.files import InUseError, only_writer, write_atomic
from rsna.prepare.packs.prepared import open_prepared
from rsna.runs.run_directory import read_config
from rsna.runs.schema import WEIGHTS, config_text
from rsna.training import ranks, stopping
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
        WriteError: Nothing can be written there.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(only_writer(folder / WEIGHTS, "training"))
        except InUseError:
            raise TrainingError(
                f"fold {fold}: another process is training in {folder}; wait for its end, or stop it"
            ) from None
        yield


def launch_ranks(experiment: Experiment, fold: int, folder: Path) -> None:
    """Trains a fold by a process for each device of the experiment, started by torchrun, which ends all when one dies.

    What they need to know lies in a file, or is said to them: a rank that works it out for itself can work out
    something else.

    Raises:
        TrainingError: A rank died.
        Stopped: This process was asked to stop, and the ranks did.
    """
    write_atomic(folder / RANKS, config_text(experiment.config))
    devices = experiment.hardware.devices
    guarded = ("-m", "rsna.training.child")
    command = [
        sys.executable, *guarded, "rsna.training.torchrun", "--standalone", f"--nproc-per-node={devices}",
        *guarded, "rsna.training.launch", str(folder), str(fold),
    ]  # fmt: skip
    threads = {"OMP_NUM_THREADS": str(max(1, available_cores() // devices))}
    try:
        # torchrun and the ranks inherit this pipe and end with it; see `child`. Otherwise they would train on, beside
        # those of the next start.
        with (
            subprocess.Popen(command, env=os.environ | threads, stdin=subprocess.PIPE) as torchrun,
            stopping.passing_on(torchrun),
        ):
            code = torchrun.wait()
            if code == stopping.AGAIN:
                stopping.stop()
    finally:
        (folder / RANKS).unlink(missing_ok=True)
    if code:
        raise TrainingError(
            f"fold {fold}: a training process ended with code {code}, and the others with it; its message "
            "stands above. The same command goes on from the last checkpoint"
        )


def train_rank(folder: Path, fold: int) -> None:
    """One rank of :func:`launch_ranks`."""
    with stopping.stoppable(), ranks.joined():
        experiment = resolve(read_config(folder / RANKS))
        images = open_prepared(experiment.config, experiment.table.name)
        fit_fold(experiment, fold, folder, fold_data(experiment, fold, images))


if __name__ == "__main__":
    try:
        train_rank(Path(sys.argv[1]), int(sys.argv[2]))
    except Exception as error:
        if not (type(error).__module__.startswith("rsna.") or isinstance(error, OSError)):
            raise
        # The project's own errors say what, where and how to mend; a traceback would hide them.
        print(f"rank {ranks.rank()}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
