"""What SLURM and the run folder say of each fold."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from rsna.cluster.jobs import Submitted, submitted
from rsna.cluster.slurm import ClusterError, Task, tasks_of
from rsna.config.slurm import SLURM
from rsna.files import first_line
from rsna.runs.errors import RunError
from rsna.runs.run_directory import fold_folder, is_finished, read_config
from rsna.runs.schema import CONFIG, CV, HISTORY, METRICS, WEIGHTS

_HEAD = ("fold", "job", "SLURM", "time", "node, or why not", "run folder", "log")
_ABSENT = "-"


def status(run: Path) -> list[str]:
    """Lines: a table with a row a fold, then what could not be learnt, and what is left to do.

    Raises:
        RunError: There is no such folder, or no job was submitted for it.
        FileError: The list of jobs cannot be read.
    """
    if not run.is_dir():
        raise RunError(f"run={run}: there is no such folder; `rsna slurm train` names the one that it submits for")
    jobs = submitted(run / SLURM)
    if not jobs:
        raise RunError(f"run={run}: no job was submitted for it; `rsna slurm train` does")
    newest = {fold: job for job in jobs for fold in numbers(job.tasks)}
    said: dict[str, Mapping[str, Task]] = {}
    notes = []
    for job in dict.fromkeys(job.job for job in newest.values()):
        try:
            said[job], why = tasks_of(job)
        except ClusterError as error:
            said[job], why = {}, first_line(error)
        notes += [f"job {job}: {why}"] if why else []
    rows = [_row(run, fold, newest[fold], said[newest[fold].job].get(str(fold))) for fold in sorted(newest)]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in (_HEAD, *rows)]  # fmt: skip
    return [*lines, *notes, *_left(run, sorted(newest))]


def numbers(tasks: str) -> Iterator[int]:
    """``0-2,5`` → 0, 1, 2, 5."""
    for part in filter(None, tasks.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _row(run: Path, fold: int, job: Submitted, task: Task | None) -> tuple[str, ...]:
    log = run / SLURM / job.log.replace("%a", str(fold))
    state, elapsed, where = (task.state, task.elapsed, task.where) if task else ("",) * 3
    row = (
        str(fold),
        f"{job.job}_{fold}",
        state,
        elapsed,
        where,
        _progress(run, fold),
        str(log) if log.exists() else "",
    )
    return tuple(cell or _ABSENT for cell in row)


def _progress(run: Path, fold: int) -> str:
    """How far a fold is."""
    folder = fold_folder(run, fold)
    if is_finished(run, fold):
        return "finished"
    if (folder / WEIGHTS).exists():
        return "trained, not scored yet"
    epochs = _epochs(folder / HISTORY)
    if epochs or (folder / "checkpoints" / "last.ckpt").exists():
        return f"{epochs} of {read_config(run / CONFIG).trainer.epochs} epochs"
    return "begun, no checkpoint yet" if folder.exists() else "not begun"


def _epochs(file: Path) -> int:
    """Rows of history.csv."""
    if not file.exists():
        return 0
    with file.open(encoding="utf-8", newline="") as rows:
        return sum(1 for _ in csv.DictReader(rows))


def _left(run: Path, folds: list[int]) -> list[str]:
    unfinished = [str(fold) for fold in folds if not is_finished(run, fold)]
    if unfinished:
        return [f"{len(folds) - len(unfinished)} of {len(folds)} folds are finished"]
    pooled = (run / CV / METRICS).exists()
    last = f"pooled in {run / CV}" if pooled else "not pooled: the command of one fold with fold=all does that"
    return [f"all {len(folds)} folds are finished, and {last}"]
