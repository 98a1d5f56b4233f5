"""A Ray cluster of two nodes with a CPU each, all of this machine, for tests."""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class Nodes:
    """Two nodes: the head, to which a test connects, and another, which a test may kill."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster, self._client_port = Cluster(), free_port()
        self.second: Any = None

    @property
    def address(self) -> str:
        """Of the cluster, on a port that was free."""
        return str(self._cluster.address)

    @property
    def client_address(self) -> str:
        """For Ray's client, which is of no machine of the cluster."""
        return f"ray://{self._cluster.head_node.node_ip_address}:{self._client_port}"

    def restore(self) -> None:
        """Starts what is not there."""
        if self._cluster.head_node is None:
            self._add(include_dashboard=False, ray_client_server_port=self._client_port)
        if self.second is None:
            self.second = self._add()

    def kill_second(self) -> None:
        """Kills the second node's processes at once, as a machine does that loses its power."""
        node, self.second = self.second, None
        self._cluster.remove_node(node, allow_graceful=False)

    @contextlib.contextmanager
    def another(self, **given: Any) -> Iterator[str]:
        """A further node, for as long as the block lasts: its id."""
        node = self._add(**given)
        try:
            yield str(node.node_id)
        finally:
            self._cluster.remove_node(node)

    def close(self) -> None:
        """Ends every process of the cluster."""
        self._cluster.shutdown()

    def _add(self, **given: Any) -> Any:
        return self._cluster.add_node(**{"num_cpus": 1, "object_store_memory": 80 << 20} | given)


@contextlib.contextmanager
def open_nodes() -> Iterator[Nodes]:
    """The cluster; without Ray the test is skipped. However the block ends, no process and no folder stays."""
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[cluster]'")
    with contextlib.ExitStack() as stack:
        yield _start(stack)


def _start(stack: contextlib.ExitStack) -> Nodes:
    """Starts the cluster, whose end is left to the stack; on a busy machine Ray may give up after 30 s."""
    for left in (2, 1, 0):
        with contextlib.ExitStack() as own:
            # Sockets lie in it, whose paths may have 107 bytes: those of tmp_path are too long.
            folder = tempfile.mkdtemp(prefix="ray-")
            own.callback(shutil.rmtree, folder, ignore_errors=True)
            own.callback(_kill, folder)
            # Sessions, and the address that `auto` looks for, which outlives the cluster.
            patch = own.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("RAY_TMPDIR", folder)
            patch.setenv("RAY_worker_niceness", "0")  # by default 15: beside other work next to nothing happens
            patch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "120")  # likewise: by default 30
            nodes = Nodes()
            own.callback(_close, nodes)
            try:
                nodes.restore()
            except Exception:
                if not left:
                    raise
                continue
            stack.push(own.pop_all())
            return nodes
    raise AssertionError("unreachable")


def _close(nodes: Nodes) -> None:
    """Ends what can be ended in order; what then is left is killed."""
    with contextlib.suppress(Exception):
        nodes.close()


def _kill(folder: str) -> None:
    """Kills what a cluster that could not be ended, or did not start, has left."""
    for process in processes(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    wait_until(lambda: not processes(folder))


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def processes(folder: str) -> list[int]:
    """The processes of a cluster of this folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if folder.encode() in file.read_bytes():
                found.append(int(file.parent.name))
    return found


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits for something to become true, and fails where it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not within its time"
        time.sleep(0.05)
