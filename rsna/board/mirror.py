"""Leaderboard scores in MLflow, beside the metrics that training mirrors there."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rsna.files import first_few
from rsna.runs.lb_scores import read_scores
from rsna.runs.schema import CV, MLFLOW
from rsna.training.tracking import mirrored

_WAITING = ".lb.waiting"
"""In cv/ of a run whose scores are not in MLflow yet."""


def mirror_scores(runs: Sequence[Path]) -> None:
    """Logs the latest public and private scores of runs as ``lb_public`` and ``lb_private`` on their MLflow runs.

    Nothing happens where the runs are not mirrored, or one has no pooled metrics there. A store that refuses costs the
    mirror alone: the scores are in the run folder, and the next command tries once more.

    MLflow takes seconds to import, so of many commands at once one does the work of all: each leaves a mark in its run
    before it looks whether another is at it, and whoever is at it looks for new marks when it is done.
    """
    stores = {run: run.absolute().parent / MLFLOW for run in runs}
    for run, store in stores.items():
        if store.exists():
            with suppress(OSError):
                (run / CV / _WAITING).touch()
    for store in {store for store in stores.values() if store.exists()}:
        tried: set[tuple[Path, int]] = set()
        while waiting := _waiting(store) - tried:
            with _alone(store) as alone:
                if not alone:
                    break
                tried |= waiting
                _mirror(store, sorted(mark.parents[1] for mark, _ in waiting))


def _waiting(store: Path) -> set[tuple[Path, int]]:
    """Marks with their times: a run that got another score meanwhile has a new one."""
    found = set()
    for mark in store.parent.glob(f"*/{CV}/{_WAITING}"):
        with suppress(FileNotFoundError):
            found.add((mark, mark.stat().st_mtime_ns))
    return found


@contextmanager
def _alone(store: Path) -> Iterator[bool]:
    """Whether no other process mirrors into a store now; then it stays so."""
    try:
        lock = store.with_name(f".{MLFLOW}.scores.lock").open("wb")
    except OSError:  # on a disk for reading alone, of which MLflow says more
        yield True
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a disk without locks: two that mirror the same mirror it twice
            pass
        yield True


def _mirror(store: Path, runs: Sequence[Path]) -> None:
    def log() -> None:
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{store}")
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        # Names are compared here: a filter would have to quote what a folder's name may hold.
        mirrored_runs = client.search_runs(experiments)
        for run in runs:
            mark = run / CV / _WAITING
            marked = mark.stat().st_mtime_ns
            mark.unlink()  # before the scores are read: one that comes now is marked again
            try:
                scores = read_scores(run)
                for name, score in (("lb_public", scores.public), ("lb_private", scores.private)):
                    for one in mirrored_runs:
                        if score is not None and one.info.run_name == f"{run.name}/{CV}":
                            client.log_metric(one.info.run_id, name, score)
            except BaseException:
                mark.touch()
                os.utime(mark, ns=(marked, marked))  # the same mark: this command has tried it
                raise

    mirrored(f"the scores of {first_few(runs)} are", runs[0] if len(runs) == 1 else store.parent, log)
