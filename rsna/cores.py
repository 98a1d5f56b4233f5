"""Which cores this process may use, and how the threads of the numerical libraries share them with others."""

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

SPIN_COUNT = 2000
"""How often a thread of libgomp looks for work before it sleeps, where the cores are ours; its own default is 300,000.

torch splits an operator among the cores, and whoever is done early waits for the others. Alone, a short look saves the
cost of sleeping. Beside another process the other thread may not have been given a core yet, and looking burns the very
time that it waits for: there a thread sleeps at once. benchmarks/neighbour.py measures both.
"""


def available_cores() -> int:
    """Cores that this process may use: those of its affinity (`taskset`, cpusets, SLURM that pins), and no more than
    its quota, nor than a task of its SLURM job asked for.

    A quota of 1.5 cores is two: the threads of one operator run at the same time, and stop together.
    """
    return max(1, math.ceil(min(_affinity(), quota(), of_slurm(os.environ))))


def thread_count() -> int:
    """Threads for a library that does not read OMP_NUM_THREADS itself: that many, or one for every core."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(wanted) if wanted.isdecimal() and int(wanted) else available_cores()


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def of_slurm(environment: Mapping[str, str]) -> float:
    """Cores that a task of a SLURM job asked for (``--cpus-per-task``), or infinity.

    Where SLURM pins nothing (``TaskPlugin=task/none``), it is all that keeps a job from its neighbours' cores. Not
    SLURM_CPUS_ON_NODE: those are of all tasks of a node together.
    """
    wanted = environment.get("SLURM_CPUS_PER_TASK", "") if "SLURM_JOB_ID" in environment else ""
    return int(wanted) if wanted.isdecimal() and int(wanted) else math.inf


def quota(proc: Path = Path("/proc/self")) -> float:
    """Cores' worth of time that control groups (`docker --cpus`, limits of Kubernetes) give this process, or infinity.

    The tightest limit of its group and those above it, under version 1 (``cpu.cfs_quota_us``) and 2 (``cpu.max``) of
    Linux's control groups; what cannot be read limits nothing.

    Args:
        proc: The process' folder of /proc.
    """
    try:
        # "4:cpu,cpuacct:/docker/…", and of version 2 "0::/…".
        groups = [line.split(":", 2) for line in (proc / "cgroup").read_text(encoding="utf-8").splitlines()]
        mounts = (proc / "mountinfo").read_text(encoding="utf-8").splitlines()
        paths = {controller: path for _, controllers, path in groups for controller in controllers.split(",")}
        # "31 23 0:29 ROOT MOUNTPOINT options … - cgroup cgroup rw,cpu" (man proc_pid_mountinfo)
        parts = [[part.split() for part in line.split(" - ")] for line in mounts]
        found = [(left[3], left[4], right[0], right[2]) for left, right in parts]
    except (OSError, ValueError, IndexError):
        return math.inf
    limits = [math.inf]
    for root, mounted, kind, options in found:
        if kind == "cgroup2" and "" in paths:
            limits += [_limit_2(folder) for folder in _groups(Path(mounted), root, paths[""])]
        elif kind == "cgroup" and "cpu" in options.split(",") and "cpu" in paths:
            limits += [_limit_1(folder) for folder in _groups(Path(mounted), root, paths["cpu"])]
    return min(limits)


def _groups(mounted: Path, root: str, path: str) -> list[Path]:
    """The folders of a group and of those above it.

    Within a container the path may be the host's, of which only what lies under the mount's root is seen.
    """
    below = Path(path).is_relative_to(root) and ".." not in Path(path).parts
    inside = Path(path).relative_to(root) if below else Path()
    return [mounted / inside, *(mounted / inside).parents[: len(inside.parts)]]


def _limit_2(group: Path) -> float:
    try:
        allowed, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return math.inf if allowed == "max" else int(allowed) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _limit_1(group: Path) -> float:
    try:
        allowed = int((group / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((group / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return allowed / period if allowed > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def contended(loadavg: Path = Path("/proc/loadavg")) -> bool:
    """Whether other processes want the cores, too: more run, now and on average over the last minute, than are left.

    Both, since what runs now may be over in a moment, and what ran for a minute may just have ended.
    """
    try:
        # "0.25 0.81 1.13 3/80 24055": of 80 threads 3 run, of which one is ours (man proc_loadavg).
        average, _, _, threads, _ = loadavg.read_text(encoding="ascii").split()
        others = min(float(average), int(threads.partition("/")[0]) - 1)
    except (OSError, ValueError):
        return False
    return others > (os.cpu_count() or 1) - available_cores() + 0.5


def thread_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for the numerical libraries that an environment lacks; what stands in it is left alone.

    How threads wait follows the load. How many they are does not: their number decides in which order sums are taken,
    and so the last digits; a training that is resumed beside a neighbour has to stay the same.
    """
    settings = {}
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environment.keys():
        settings["GOMP_SPINCOUNT"] = "0" if contended() else str(SPIN_COUNT)
    cores = available_cores()
    if cores < _affinity() and "OMP_NUM_THREADS" not in environment:  # the affinity is all that the libraries look at
        settings["OMP_NUM_THREADS"] = str(cores)
    return settings


def set_threads() -> None:
    """Sets `thread_settings` for this process and those it starts; the libraries look when they are loaded."""
    if "torch" not in sys.modules:
        os.environ.update(thread_settings(os.environ))
