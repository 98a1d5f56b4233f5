"""How many cores a process may use, and how the threads on them wait."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rsna.cores import SPIN_COUNT, available_cores, contended, of_slurm, quota, thread_count, thread_settings

V1 = """31 23 0:28 / {0}/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:3 / {0}/memory rw - cgroup cgroup rw,memory
"""
V2 = "30 23 0:26 {1} {0} rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def process(folder: Path, groups: str, mounts: str) -> Path:
    proc = folder / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text(mounts)
    return proc


def limit_1(group: Path, allowed: int, period: int = 100_000) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "cpu.cfs_quota_us").write_text(f"{allowed}\n")
    (group / "cpu.cfs_period_us").write_text(f"{period}\n")


def limit_2(group: Path, text: str) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "cpu.max").write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("root", "own", "limits", "cores"),
    [
        ("/", "/", {"": "150000 100000"}, 1.5),
        ("/", "/", {"": "max 100000"}, math.inf),
        ("/", "/", {}, math.inf),
        ("/", "/slice/pod/box", {"slice/pod/box": "max 100000", "slice/pod": "50000 100000", "slice": "9 1"}, 0.5),
        ("/", "/slice/pod/box", {"slice/pod/box": "400000 100000", "slice": "max 100000"}, 4.0),
        ("/docker/b8f1", "/docker/b8f1", {"": "200000 100000"}, 2.0),  # a container that sees the host's path
        ("/", "/docker/b8f1", {"": "200000 100000"}, 2.0),  # its folder is not there
        ("/", "/../../elsewhere", {"": "300000 100000"}, 3.0),  # the group lies outside of what is seen
        ("/", "/", {"": ""}, math.inf),
        ("/", "/", {"": "100000 0"}, math.inf),
        ("/", "/", {"": "many 100000"}, math.inf),
    ],
)
def test_a_quota_of_version_2_is_the_tightest_of_the_group_and_those_above(tmp_path, root, own, limits, cores):
    mounted = tmp_path / "fs"
    mounted.mkdir()
    for group, text in limits.items():
        limit_2(mounted / group, text)
    assert quota(process(tmp_path, f"0::{own}\n", V2.format(mounted, root))) == cores


@pytest.mark.parametrize(
    ("own", "limits", "cores"),
    [
        ("/", {"": 250_000}, 2.5),
        ("/", {"": -1}, math.inf),
        ("/docker/b8f1", {"": 100_000}, 1.0),
        ("/slurm/job_7/step_0", {"slurm/job_7": 300_000, "slurm/job_7/step_0": -1}, 3.0),
    ],
)
def test_a_quota_of_version_1(tmp_path, own, limits, cores):
    mounted = tmp_path / "fs"
    for group, allowed in limits.items():
        limit_1(mounted / "cpu,cpuacct" / group, allowed)
    limit_1(mounted / "memory", 1)  # no controller of time
    groups = f"9:name=systemd:/x\n4:memory:{own}\n2:cpu,cpuacct:{own}\n"
    assert quota(process(tmp_path, groups, V1.format(mounted))) == cores


@pytest.mark.parametrize(("groups", "mounts"), [("no groups", ""), ("0::/\n", "too short"), ("0::/\n", "a - b c d\n")])
def test_what_cannot_be_read_limits_nothing(tmp_path, groups, mounts):
    assert quota(process(tmp_path, groups, mounts)) == math.inf
    assert quota(tmp_path / "nowhere") == math.inf


@pytest.mark.parametrize(
    ("environment", "cores"),
    [
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "4"}, 4),
        ({"SLURM_CPUS_PER_TASK": "4"}, math.inf),  # of no job
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "4"}, math.inf),  # of all tasks together
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "2"}, 4),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "0"}, math.inf),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "-1"}, math.inf),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": ""}, math.inf),
        ({"SLURM_JOB_ID": "7"}, math.inf),
        ({}, math.inf),
    ],
)
def test_a_task_of_slurm_has_the_cores_that_it_asked_for(environment, cores):
    assert of_slurm(environment) == cores


@pytest.mark.parametrize("affinity", [1, 8])
def test_the_tightest_of_affinity_quota_and_slurm_counts(monkeypatch, affinity):
    monkeypatch.setattr("rsna.cores._affinity", lambda: affinity)
    monkeypatch.setattr("rsna.cores.quota", lambda: 6.5)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert available_cores() == min(affinity, 7)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert available_cores() == min(affinity, 3)
    assert thread_settings({}).get("OMP_NUM_THREADS") == (None if affinity == 1 else "3")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "64")
    assert available_cores() == min(affinity, 7)


def told(code: str, environment: dict[str, str] | None = None, command: tuple[str, ...] = ()) -> list[str]:
    """What a fresh process prints."""
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    plain = {name: value for name, value in os.environ.items() if name not in names}
    run = [*command, sys.executable, "-c", code]
    return subprocess.run(
        run, env=plain | (environment or {}), check=True, capture_output=True, text=True
    ).stdout.split()


SHOW = "import os, rsna; print(*map(os.environ.get, ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')))"


def test_the_waiting_is_chosen_where_the_environment_says_nothing():
    assert told(SHOW)[1] == "None"
    assert told(SHOW)[2] in ("0", str(SPIN_COUNT))
    assert told(SHOW, {"OMP_WAIT_POLICY": "ACTIVE"})[1:] == ["ACTIVE", "None"]
    assert told(SHOW, {"GOMP_SPINCOUNT": "7"})[1:] == ["None", "7"]
    assert told(SHOW, {"OMP_NUM_THREADS": "1"})[0] == "1"


def test_it_is_chosen_before_torch_is_loaded_and_not_after():
    show = "import os, sys; print('torch' in sys.modules, 'GOMP_SPINCOUNT' in os.environ)"
    assert told(f"from rsna.cli.main import main; {show}") == ["False", "True"]
    assert told(f"import torch, rsna; {show}") == ["True", "False"]


ALL = os.cpu_count() or 1


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (f"0.00 0.00 0.00 1/80 {ALL}", False),
        (f"{ALL + 1}.00 1.00 1.00 {ALL + 2}/80 7", True),
        (f"{ALL + 1}.00 1.00 1.00 1/80 7", False),  # it has just ended
        (f"0.10 1.00 1.00 {ALL + 2}/80 7", False),  # it may end in a moment
        ("", False),
        ("nan nan nan x/y 1", False),
    ],
)
def test_neighbours_are_those_that_run_now_and_ran_before(tmp_path, load, expected):
    (tmp_path / "loadavg").write_text(load)
    assert contended(tmp_path / "loadavg") is expected
    assert contended(tmp_path / "nowhere") is False


def test_settings_know_the_environment_alone():
    assert "OMP_NUM_THREADS" not in thread_settings({"OMP_NUM_THREADS": "3"})
    assert thread_settings({"GOMP_SPINCOUNT": "1", "OMP_NUM_THREADS": "3"}) == {}


@pytest.mark.parametrize(("wanted", "threads"), [("1", 1), ("3,2", 3), ("", CORES), ("0", CORES), ("many", CORES)])
def test_the_users_number_of_threads_holds_for_every_library(monkeypatch, wanted, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert thread_count() == (available_cores() if threads == CORES else threads)


@pytest.mark.skipif(CORES < 2, reason="one core: nothing to take away")
def test_an_affinity_is_kept():
    core = str(min(os.sched_getaffinity(0)))
    code = "from rsna.cores import available_cores; import torch; print(available_cores(), torch.get_num_threads())"
    assert told(code, command=("taskset", "-c", core)) == ["1", "1"]


@pytest.fixture
def limited():
    """A control group of one core's worth of time, made for real; the command that starts a process within."""
    one = Path("/sys/fs/cgroup/cpu"), "cpu.cfs_quota_us", "100000"
    two = Path("/sys/fs/cgroup"), "cpu.max", "100000 100000"
    parent, file, text = one if one[0].is_dir() else two
    group = parent / f"rsna-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / file).write_text(text)
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
    group.rmdir()


@pytest.mark.skipif(CORES < 2, reason="one core: a quota takes nothing away")
def test_a_real_quota_makes_fewer_threads_and_workers(limited):
    code = """
import rsna, torch
from rsna.cores import available_cores, quota
from rsna.parallel.pool import LocalProcesses
print(quota(), available_cores(), torch.get_num_threads(), len(LocalProcesses(str)._workers))
"""
    assert told(code, command=limited) == ["1.0", "1", "1", "1"]
    assert available_cores() == CORES
