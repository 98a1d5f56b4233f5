"""Writes a job's file beside what it makes, submits it, and keeps its number there."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rsna.cluster.script import Job, script
from rsna.cluster.slurm import submit
from rsna.config.slurm import SlurmOptions
from rsna.files import FileError, first_line, only_writer, read_json, write_atomic, write_json

JOBS = "jobs.json"
"""Beside the files: the jobs that were submitted, in order."""


@dataclass(frozen=True)
class Submitted:
    """A line of :data:`JOBS`."""

    job: str
    """SLURM's number of it."""
    file: str
    """Name of the file that was submitted."""
    log: str
    """Name of a task's log, with %a for the task's number."""
    tasks: str
    """Numbers of the array; empty for a job by itself."""
    at: str
    """ISO 8601, UTC."""


def launch(jobs: Sequence[Job], options: SlurmOptions, work_folder: Path) -> Iterator[str]:
    """Writes the files, submits them unless that is not wanted, each to begin once the one before it has ended.

    Args:
        jobs: All of one folder.
        options: What the first one asks for; those behind it ask for as much, but for no GPU and for nothing of an
            array, and wait for the one before alone.
        work_folder: Where the commands run.

    Yields:
        A line that says what was done, as soon as it is: of two jobs the second may be refused.

    Raises:
        ClusterError: See :func:`rsna.cluster.slurm.submit`.
        WriteError: A file cannot be written.
    """
    before = ""
    for place, job in enumerate(jobs):
        asked = replace(options, gpus=0, at_once=0, after="") if place else options
        file = job.folder / job.file
        write_atomic(file, script(job, asked, work_folder))
        if options.dry_run:
            # Ahead of the file: what stands behind it is the script's, and sbatch does not look at it.
            after, why = ("--dependency=afterany:JOB ", f" (JOB: of {jobs[place - 1].file})") if place else ("", "")
            yield f"{file}: written, not submitted: sbatch {after}{shlex.quote(str(file))}{why}"
            continue
        number = submit(file, before and f"afterany:{before}")
        keep(job, number)
        of = f", tasks {job.tasks}" if job.tasks else ""
        yield f"job {number}: {file}{of}; log {job.folder / job.log.replace('%A', number).replace('%a', '<task>')}"
        before = number


def keep(job: Job, number: str) -> None:
    """Writes the number of a job beside its file."""
    file = job.folder / JOBS
    with only_writer(file, waits=True):
        known = [vars(one) for one in submitted(job.folder)]
        log = job.log.replace("%A", number)
        new = Submitted(number, job.file, log, job.tasks, datetime.now(UTC).isoformat(timespec="seconds"))
        write_json(file, [*known, vars(new)])


def submitted(folder: Path) -> list[Submitted]:
    """The jobs that were submitted from a folder, in order.

    Raises:
        FileError: The list cannot be read.
    """
    file = folder / JOBS
    if not file.exists():
        return []
    try:
        return [Submitted(**one) for one in read_json(file)]
    except TypeError as error:
        raise FileError(
            f"{file}: is no list of jobs ({first_line(error)}); remove it: only `rsna slurm status` reads it"
        ) from error
