"""The file that sbatch is given: one that a person can read, change and submit by hand."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsna.config.slurm import SlurmOptions

TASK = "$SLURM_ARRAY_TASK_ID"
"""Stands for the number of a task in the arguments of a job."""

_WORK = r"""
# What would end the job (its time limit, whoever takes the nodes back) is passed on to the work, which saves and stops.
trap 'kill -USR1 "$work" 2>/dev/null' USR1 TERM
{command} &
work=$!
while kill -0 "$work" 2>/dev/null; do wait "$work"; done
wait "$work"
code=$?

# 75: it was stopped, and the same command goes on. 138, 143: the signal met it before it could save, or as it began.
# Where SLURM itself ends the job or gives it back to the queue, the job does not count as running any more.
task={task}
case $code in
75 | 138 | 143)
    if [ "$(squeue --noheader --format=%T --job="$task")" = RUNNING ]; then scontrol requeue "$task"; fi
    ;;
esac
exit "$code"
"""

_RENDEZVOUS = """
# torchrun on each node; they meet at the first one, where this file runs.
meet="$(hostname):$((20000 + SLURM_JOB_ID % 10000))"
"""


@dataclass(frozen=True)
class Job:
    """What is submitted at once."""

    name: str
    """Shown by squeue."""
    folder: Path
    """Absolute; of the file and of the logs."""
    file: str
    """Name of the file, such as train.sbatch."""
    log: str
    """Name of a task's log; sbatch puts the job's number for %A and the task's for %a."""
    verb: tuple[str, ...]
    """Verb of this project, of one word or two."""
    arguments: tuple[str, ...]
    """Its arguments; :data:`TASK` within one stands for the number of the task."""
    tasks: str = ""
    """Numbers of the array as sbatch takes them, such as 0-3; empty for a job by itself."""
    nodes: int = 1
    """Nodes of each task."""


def script(job: Job, options: SlurmOptions, work_folder: Path) -> str:
    """The text of the file.

    Args:
        options: What the job asks for.
        work_folder: Absolute; where the command runs, so that folders mean there what they mean here.
    """
    throttle = f"%{options.at_once}" if options.at_once else ""
    asked = {
        "job-name": job.name,
        "chdir": str(work_folder),
        "output": f"{str(job.folder).replace('%', '%%')}/{job.log}",
        "open-mode": "append",
        "array": job.tasks and f"{job.tasks}{throttle}",
        "nodes": str(job.nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": str(options.cpus),
        "gpus-per-node": str(options.gpus or ""),
        "mem": options.memory,
        "time": options.time,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "dependency": options.after and f"afterok:{options.after}",
        "kill-on-invalid-dep": options.after and "yes",
        "signal": f"B:USR1@{options.grace}",
    }
    directives = [f"--{name}={_directive(value)}" for name, value in asked.items() if value]
    lines = ["#!/bin/bash", f"# Written by `rsna slurm {job.verb[0]}`, which writes over what is changed here."]
    lines += [f"#SBATCH {line}" for line in (*directives, "--requeue", *options.extra)]
    if options.setup:
        lines += ["", *options.setup]
    work, task = _WORK, "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" if job.tasks else "$SLURM_JOB_ID"
    if job.nodes > 1:
        work = _RENDEZVOUS + work
    command = " \\\n    ".join(_command(job, options))
    return "\n".join(lines) + "\n" + work.replace("{task}", f'"{task}"').replace("{command}", command)


def _command(job: Job, options: SlurmOptions) -> list[str]:
    """The command in lines of bash."""
    python = shlex.quote(options.python or sys.executable)
    run = f"{options.prefix} {python} -m".strip()
    verb = f"rsna.cli {' '.join(job.verb)}"
    if job.nodes == 1:
        return [f"{run} {verb}", *map(_quoted, job.arguments)]
    return [
        'srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK"',
        f"{run} rsna.training.torchrun",
        f'--nnodes="$SLURM_NNODES" --nproc-per-node={max(1, options.gpus)}',
        '--rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$meet"',
        f"-m {verb}",
        *map(_quoted, job.arguments),
    ]


def _quoted(argument: str) -> str:
    """An argument for bash, in which :data:`TASK` alone is not taken literally."""
    parts = [shlex.quote(part) if part else "" for part in argument.split(TASK)]
    return f'"{TASK}"'.join(parts) if len(parts) > 1 else shlex.quote(argument)


def _directive(value: str) -> str:
    """A value in a line of #SBATCH, which sbatch splits at blanks, and takes quotes in."""
    return f'"{value}"' if any(sign in value for sign in " \t#'") else value


def ranges(numbers: Sequence[int]) -> str:
    """``[0, 1, 2, 5]`` → ``0-2,5``, as sbatch takes an array."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
