"""A SLURM of our own: a controller and two nodes on this machine, for as long as the tests that use it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

_PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo", "srun")

_CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
# A requeued job waits for as long as a credential is valid.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=30
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4
PartitionName=main Nodes=n1,n2 Default=YES State=UP
"""


def wait_until(true: Callable[[], bool], what: str, seconds: float = 600.0) -> None:
    """Returns once something is so; fails with what it was after a time that is ample."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.1)


def ask(*command: str) -> str:
    """What a command of SLURM answers; fails with what it said instead."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}"
    return done.stdout.strip()


def in_queue() -> list[str]:
    """Tasks that are not through, those that end included."""
    return ask("squeue", "--noheader", "--array", "--format=%i").split()


@pytest.fixture(scope="package")
def slurm(tmp_path_factory) -> Iterator[Path]:
    """The folder of a SLURM with the nodes n1 and n2, of four cores each whatever this machine has.

    It ends with the tests of this folder, not half an hour later with those of all others.
    """
    missing = [name for name in _PROGRAMS if not shutil.which(name)]
    if missing:
        pytest.skip(f"no SLURM on this machine ({missing[0]} is missing): apt-get install slurm-wlm munge")
    if os.getuid() != 0:
        pytest.skip("slurmd runs jobs as root alone, and this is another user")
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(_CONFIGURATION.format(host=host, folder=folder, ports=_free_ports(3)), encoding="utf-8")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("SLURM_CONF", str(configuration))
        places = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        munge = [f"--{option}={folder}/munge.{ending}" for option, ending in places.items()]
        _start(stack, folder, ["munged", "--foreground", "--force", *munge])
        wait_until((folder / "munge.socket").exists, "munged listens")
        _start(stack, folder, ["slurmctld", "-D", "-c"])
        for node in ("n1", "n2"):
            _start(stack, folder, ["slurmd", "-D", "-N", node])
        wait_until(lambda: _idle_nodes() == 2, f"two nodes are idle; {folder}/*.log")
        stack.callback(_end_jobs)
        yield folder


def _idle_nodes() -> int:
    done = subprocess.run(["sinfo", "--noheader", "--Node", "--format=%T"], capture_output=True, text=True, timeout=60)
    return done.stdout.split().count("idle")


def _start(stack: ExitStack, folder: Path, command: list[str]) -> None:
    """Starts a daemon that ends with the stack, and with this process."""
    log = stack.enter_context((folder / f"{command[0]}-{command[-1].rpartition('/')[2]}.log").open("wb"))
    command = ["setpriv", "--pdeathsig", "TERM", *command]  # whatever becomes of this process
    # Ctrl-C in a terminal goes to a whole group: jobs are to be ended while there is somebody who can.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    stack.callback(_end, process, log.name)


def _end(process: "subprocess.Popen[bytes]", log: str) -> None:
    """Ends a daemon, and fails where it had ended by itself: then a test has killed it, or its log says why."""
    code = process.poll()
    assert code is None, (
        f"{process.args} ended with {code} before its tests did; {log}: {Path(log).read_text()[-2000:]}"
    )
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_jobs() -> None:
    subprocess.run(["scancel", "--user=root", "--signal=KILL", "--full"], capture_output=True, timeout=60)
    subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=60)
    wait_until(lambda: not in_queue(), "every job has ended")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
