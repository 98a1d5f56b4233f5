"""What SLURM's own commands are asked, and what they answer."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_S = 120.0
"""Seconds that a command of SLURM may take: a controller that is busy tries again for a minute."""


class ClusterError(RuntimeError):
    """SLURM is not here, or refuses; the message has its own words."""


@dataclass(frozen=True)
class Task:
    """What SLURM says of a task of an array, or of a job by itself."""

    state: str
    """RUNNING, PENDING, COMPLETED, TIMEOUT and so on: squeue(1), job state codes."""
    elapsed: str
    """Time that it has run since it last began, as SLURM writes it."""
    where: str
    """Nodes that it runs on or ran on; why it waits, in brackets, where it does."""


def submit(file: Path, dependency: str = "") -> str:
    """Gives a file to sbatch, which does not wait for the job.

    Args:
        dependency: Such as afterany:1234, beside what the file says.

    Returns:
        The job's number.

    Raises:
        ClusterError: There is no sbatch, or it refuses.
    """
    command = ["sbatch", "--parsable", *([f"--dependency={dependency}"] if dependency else []), str(file)]
    done = _run(
        command, f"dry_run=true only writes the file, to be submitted where SLURM is: sbatch {shlex.quote(str(file))}"
    )
    if done.returncode:
        raise ClusterError(f"sbatch refuses {file}: {_words(done)}. Change the keys, or the file and give it to sbatch")
    return done.stdout.strip().split(";")[0]


def tasks_of(job: str) -> tuple[dict[str, Task], str]:
    """What becomes of a job: squeue knows what waits, runs or has just ended, sacct what ended before.

    Returns:
        Number of the task, empty for a job by itself → what is said of it; and why nothing is said, where that is so.

    Raises:
        ClusterError: There is no squeue, or no controller answers.
    """
    queue = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={job}", "--format=%F|%K|%T|%M|%R"]
    done = _run(queue, "ask on a machine of the cluster")
    if done.returncode and "Invalid job id" not in done.stderr:
        raise ClusterError(f"squeue: {_words(done)}")
    found = {}
    for line in done.stdout.splitlines():
        array, number, state, elapsed, where = line.split("|", 4)
        if array == job:
            found[number if number.isdigit() else ""] = Task(state, elapsed, where)
    past, why = _past(job)
    return past | found, "" if found else why


def _past(job: str) -> tuple[dict[str, Task], str]:
    """What sacct says of a job; clusters without accounting say nothing."""
    if not shutil.which("sacct"):
        return {}, "not in the queue any more, and there is no sacct to say how it ended"
    # The last time that a task began is what counts: sacct shows no other unless it is asked for.
    command = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}"]
    done = _run([*command, "--format=JobID,State,Elapsed,NodeList"], "")
    if done.returncode:
        return {}, f"not in the queue any more, and sacct says: {_words(done)}"
    found = {}
    for line in done.stdout.splitlines():
        name, state, elapsed, where = line.split("|", 3)
        number = name.partition("_")[2]
        if not number.startswith("["):  # those that have not begun stand together, and in the queue
            found[number] = Task(state.split()[0], elapsed, where)  # CANCELLED by 1000
    return found, "" if found else "neither squeue nor sacct knows the job"


def _run(command: Sequence[str], otherwise: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command of SLURM, in English.

    Raises:
        ClusterError: It is not there, or does not answer; the message ends in what to do otherwise.
    """
    name, mend = command[0], f"; {otherwise}" if otherwise else ""
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="backslashreplace", timeout=_PATIENCE_S,
            stdin=subprocess.DEVNULL, env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError:
        raise ClusterError(f"{name} is not on PATH, so this is no machine of a SLURM cluster{mend}") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{name} has not answered for {_PATIENCE_S:.0f} s{mend}") from None


def _words(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command said, in a line, without its own name in front."""
    name = done.args[0]
    lines = [
        line.removeprefix(f"{name}: ").removeprefix("error: ") for line in done.stderr.splitlines() if line.strip()
    ]
    return "; ".join(lines) or f"exit code {done.returncode}"
