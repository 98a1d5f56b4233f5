"""Many tasks on the machines of a Ray cluster, where one that dies costs time and no results.

A batch of tasks is one plain Ray task, which Ray does again elsewhere where its node or its process dies. Within it the
worker processes of `rsna.parallel.pool` run, so that a file that crashes, hangs or eats memory costs itself alone, as
on one machine. What passes between machines are tasks and what is said of them; files lie on a disk that all see.
"""

import heapq
import itertools
import logging
import operator
import os
import pickle
import sys
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from rsna.cores import available_cores
from rsna.files import fingerprint, first_line, temporary_beside
from rsna.parallel.connection import connect, reason
from rsna.parallel.engine import Failure, Outcome, PoolError, Task, Value
from rsna.parallel.pool import LocalProcesses
from rsna.parallel.progress import Progress
from rsna.version import __version__

log = logging.getLogger(__name__)

Item = TypeVar("Item")

BATCH = 64
"""Tasks of one Ray task: at 50 ms each they take seconds, and Ray some milliseconds."""

_RETRIES = 3
"""How often Ray does a batch again whose node or process died."""

_AHEAD = 2
"""Batches that are with Ray for each CPU: none waits for this process, and an autoscaler sees that there is work."""

_LOOK_EVERY_S = 5.0
"""Seconds between two looks at how many CPUs there are: nodes come and go."""

_OBJECT_STORE = 100 << 20
"""Bytes of shared memory of a cluster that is started here; next to nothing passes through it."""


class ClusterError(PoolError):
    """There is no such cluster, or its nodes cannot do the work; the message says how to mend it."""


def cluster_of(engine: Literal["processes", "ray"], address: str = "auto") -> "AbstractContextManager[Cluster | None]":
    """The cluster that the options name, in a ``with`` block; None for the processes of this machine."""
    return Cluster(address) if engine == "ray" else nullcontext()


@dataclass(frozen=True)
class _Proof:
    """What a node has to find in order to see the disk that this process sees."""

    path: str
    content: str
    """Fingerprint of a file to read, or the text of one that this process wrote."""
    written: bool

    def missing(self) -> str:
        """What this machine does not see; "" where it sees the same."""
        folder = os.path.dirname(self.path)  # noqa: PTH120
        try:
            found = Path(self.path).read_text(encoding="utf-8") if self.written else fingerprint(self.path)
        except OSError as error:
            return f"{folder if self.written else self.path} ({error.strerror})"
        if found == self.content:
            return ""
        return f"{folder if self.written else self.path} (another of this name lies there)"


@dataclass(frozen=True)
class Job:
    """What a node has to know of all batches of one map, or of the networks that it loads."""

    number: str
    proofs: tuple[_Proof, ...]
    folder: str
    """Where relative paths begin."""
    version: str = __version__

    def node(self) -> str:
        """This node, for a person."""
        import ray

        return f"node {ray.util.get_node_ip_address()}"

    def refusal(self) -> str:
        """Why this node cannot do the work, "" where it can; goes to the folder."""
        node = self.node()
        if __version__ != self.version:
            return f"{node} has rsna-mammography {__version__}, and this machine {self.version}; install the same"
        if lacking := next(filter(None, (proof.missing() for proof in self.proofs)), ""):
            return (
                f"{node} does not see {lacking}. Files are read and written by the nodes themselves: mount the disk "
                "there under the same path, or leave that node out of the cluster"
            )
        with suppress(OSError):  # it may be of this machine alone, where all paths are absolute
            os.chdir(self.folder)
        return ""


class Cluster:
    """A Ray cluster, connected when there is first work for it; at the end of the ``with`` block nothing runs on."""

    def __init__(self, address: str = "auto") -> None:
        """Connects to nothing yet.

        Args:
            address: auto for the cluster that this machine is part of or RAY_ADDRESS names, ``ray://HOST:10001`` or
                ``HOST:6379`` for another, local for one of this machine alone, which is started, and ends at the end.
        """
        self.address = address
        self._proofs: list[_Proof] = []
        self._stack = ExitStack()
        self._cpus, self._looked = 0, -_LOOK_EVERY_S

    @cached_property
    def ray(self) -> Any:
        """The module, connected.

        Raises:
            ClusterError: No cluster answers.
        """
        # Ray says so at every start, where a task asks for no GPU.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        given: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.address == "local":
            # By default 15: beside any other work next to nothing would happen.
            os.environ.setdefault("RAY_worker_niceness", "0")
            given |= {"num_cpus": available_cores(), "include_dashboard": False, "object_store_memory": _OBJECT_STORE}
        try:
            with Progress(f"connect to Ray ({self.address})"):
                connection = connect(ray, self.address, **given)
        except ConnectionAbortedError as error:
            raise ClusterError(
                f"address: Ray answers at {self.address}, and has no server for this client ({reason(error)}). Its "
                "head may be busy, or short of memory: try again, or give it longer with "
                "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S=120 where `ray start --head` is called"
            ) from error
        except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            raise ClusterError(
                f"address: no Ray cluster answers at {self.address} ({first_line(error)}). Start one here with "
                "`ray start --head`, name another as ray://HOST:10001, or take address=local for this machine alone. "
                "One that asks for a token answers where RAY_AUTH_MODE=token is set and ~/.ray/auth_token is its token"
            ) from error
        self._stack.callback(connection.disconnect)
        return ray

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def require_visible(self, files: Iterable[str | Path] = (), folder: str | Path | None = None) -> None:
        """Has every node look whether it sees the same disk as this process, those that come later included.

        What was looked at before is not any more: each set has files and a folder of its own.

        Args:
            files: That are read; one of a set will do.
            folder: That is written to; it gets a small file for as long as the cluster is used.

        Raises:
            ClusterError: A node does not, or has another version of this package; the message says which.
        """
        self._proofs = []
        for file in files:
            with suppress(OSError):  # which is said of the file itself
                path = os.path.abspath(file)
                self._proofs.append(_Proof(path, fingerprint(path), written=False))
        if folder is not None:
            mark = self._stack.enter_context(temporary_beside(Path(folder).absolute() / "cluster"))
            text = uuid.uuid4().hex
            mark.write_text(text, encoding="utf-8")
            self._proofs.append(_Proof(str(mark), text, written=True))
        nodes, job = self.nodes(), self.job()
        look = self.ray.remote(num_cpus=0, max_retries=1)(Job.refusal)
        looks = {look.options(scheduling_strategy=self.on_node(node)).remote(job): node for node in nodes}
        with Progress("look at the nodes", len(looks), "nodes") as progress:
            while looks:
                (done, *_), _ = self.ray.wait(list(looks), num_returns=1)
                node = looks.pop(done)
                try:
                    refused = self.ray.get(done)
                except self.ray.exceptions.RayTaskError as error:
                    raise task_error(error) from error
                except self.ray.exceptions.RayError:  # it has died since
                    log.warning("node %s went while it was looked at", node["NodeManagerAddress"])
                    refused = ""
                if refused:
                    raise ClusterError(refused)
                progress.step()

    def job(self) -> Job:
        """What nodes have to know."""
        return Job(uuid.uuid4().hex, tuple(self._proofs), str(Path.cwd()))

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that live and have a CPU to give.

        Raises:
            ClusterError: There is none.
        """
        nodes = [node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        if not nodes:
            raise ClusterError(f"address: the Ray cluster at {self.address} has no node with a CPU to give")
        return nodes

    def on_node(self, node: dict[str, Any]) -> Any:
        """The strategy that has Ray do something on one node and no other."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)

    def map(
        self,
        function: Callable[[Task], Value],
        tasks: Iterable[Task],
        *,
        timeout: float,
        memory_limit: int,
        ordered: bool = True,
    ) -> Generator[Outcome[Task, Value], None, None]:
        """Yields an outcome for every task; closing the generator ends those at work. See `map_tasks`.

        Raises:
            ClusterError: A node cannot do the work.
        """
        return _Map(self, function, timeout, memory_limit).run(tasks, ordered)

    def cpus(self) -> int:
        """Of all nodes, as of a moment ago."""
        if time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._cpus, self._looked = int(self.ray.cluster_resources().get("CPU", 0)), time.monotonic()
        return max(1, self._cpus)


_Numbered = tuple[int, Any]
"""Index and task."""


class _Map:
    """One function over tasks."""

    def __init__(self, cluster: Cluster, function: Callable[[Any], Any], timeout: float, memory_limit: int) -> None:
        self._cluster, self._ray, self._job = cluster, cluster.ray, cluster.job()
        self._setup = pickle.dumps((function, timeout, memory_limit))
        self._remote = self._ray.remote(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")(run_batch)
        self._begun: dict[Any, list[_Numbered]] = {}

    def run(self, tasks: Iterable[Task], ordered: bool) -> Generator[Outcome[Task, Value], None, None]:
        batches = self._batches(tasks)
        held: list[tuple[int, Outcome[Task, Value]]] = []
        following = 0
        try:
            while True:
                room = max(0, _AHEAD * self._cluster.cpus() - len(self._begun))
                for batch in itertools.islice(batches, room):
                    self._begin(batch)
                if not self._begun:
                    return
                # A second at most: Ctrl-C is to be noticed.
                done, _ = self._ray.wait(list(self._begun), num_returns=1, timeout=1.0)
                for outcome in self._outcomes(done):
                    if not ordered:
                        yield outcome
                        continue
                    heapq.heappush(held, (outcome.index, outcome))
                    while held and held[0][0] == following:
                        following += 1
                        yield heapq.heappop(held)[1]
        finally:
            for reference in self._begun:
                with suppress(Exception):  # it has ended, or the cluster has
                    self._ray.cancel(reference, force=True)

    def _batches(self, tasks: Iterable[Any]) -> Iterator[list[_Numbered]]:
        """Of up to `BATCH` tasks, and towards the end of ever fewer, so that all CPUs end at about the same time."""
        left, rest = operator.length_hint(tasks, sys.maxsize), enumerate(tasks)
        while batch := list(itertools.islice(rest, max(1, min(BATCH, left // (4 * self._cluster.cpus()))))):
            left -= len(batch)
            yield batch

    def _begin(self, batch: list[_Numbered]) -> None:
        self._begun[self._remote.remote(self._job, self._setup, [_pickled(task) for _, task in batch])] = batch

    def _outcomes(self, done: Iterable[Any]) -> Iterator[Outcome[Any, Any]]:
        """Of every task of the batches that are done, but for those that begin anew."""
        for reference in done:
            batch = self._begun.pop(reference)
            try:
                refused, content = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise task_error(error) from error
            except self._ray.exceptions.RayError as error:
                if len(batch) > 1:  # one of them may be why: alone it costs itself
                    for one in batch:
                        self._begin([one])
                    continue
                failure = Failure("WorkerCrashed", f"its Ray task died {1 + _RETRIES} times: {first_line(error)}")
                yield from (Outcome(index, task, None, failure) for index, task in batch)
                continue
            if refused:
                raise ClusterError(refused)
            results, records = pickle.loads(content)
            for name, level, message in records:
                logging.getLogger(name).log(level, "%s", message)
            for (index, task), (value, failure) in zip(batch, results, strict=True):
                yield Outcome(index, task, value, failure)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of so many items, the last of fewer; each is read when it is asked for."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def _pickled(task: Any) -> bytes | Failure:
    try:
        return pickle.dumps(task)
    except Exception as error:
        return Failure(type(error).__name__, str(error))


def task_error(error: Any) -> ClusterError:
    """What is wrong with a node's program, not with a file: the package is not there, or no process starts."""
    cause = error.cause if isinstance(error.cause, Exception) else error
    mend = ""
    if isinstance(cause, (ImportError, AttributeError, PoolError)) or "import" in str(cause):
        mend = f". Every node needs rsna-mammography {__version__} in the Python that its Ray runs in"
    return ClusterError(f"a node cannot do the work ({type(cause).__name__}: {first_line(cause)}){mend}")


_pools: dict[str, LocalProcesses[Any, Any]] = {}
"""On a node: the worker process of the map that this Ray process is at; it stays from batch to batch."""


def run_batch(job: Job, setup: bytes, tasks: list[bytes | Failure]) -> tuple[str, bytes]:
    """Does a batch; what a Ray task is.

    Returns:
        Why this node cannot do it, or ""; and pickled (value, failure) of each task with the log's records.
    """
    if job.number not in _pools:
        if refused := job.refusal():
            return refused, b""
        while _pools:
            _pools.popitem()[1].close(cancel=True)
        function, timeout, memory_limit = pickle.loads(setup)
        _pools[job.number] = LocalProcesses(function, workers=1, timeout=timeout, memory_limit=memory_limit)
    # Brings OpenCV, which whoever only asks for a cluster has no use for.
    from rsna.parallel.worker import Collector

    pool, collector = _pools[job.number], Collector()
    logging.getLogger().addHandler(collector)
    try:
        # All at once, so that none waits for what is done with the one before.
        begun = [task if isinstance(task, Failure) else pool.submit(pickle.loads(task)) for task in tasks]
        results: list[tuple[Any, Failure | None]] = []
        for one in begun:
            if isinstance(one, Failure):
                results.append((None, one))
            else:
                outcome = one.result()
                results.append((outcome.value, outcome.failure))
    finally:
        logging.getLogger().removeHandler(collector)
    return "", pickle.dumps((results, collector.records))
