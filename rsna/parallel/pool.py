"""Run a function over many tasks in processes, where a task that crashes, hangs or eats memory costs itself alone.

`concurrent.futures` breaks the whole pool when one worker dies. Here every worker has a thread of the parent to itself,
which replaces it and goes on. Results stream: no more of them exist at once than ``ahead``.
"""

import logging
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from rsna.dicom.decode import HEAP
from rsna.parallel.channel import Answer, Channel, Setup

Task = TypeVar("Task")
Value = TypeVar("Value")

MEMORY_LIMIT = 2 << 30
"""Bytes of private memory a worker may hold. 8192 × 8192 pixels at full size need 1 GiB."""

_START_TIMEOUT = 300.0
"""Seconds until a worker must have imported what it needs; a cold network disk is slow."""

_FAREWELL = 2.0
"""Seconds for the workers to finish their tasks when the run is ended early."""

_ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parents[2]),
    # One thread a process: the processes fill the cores.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPJ_NUM_THREADS": "0",
    **HEAP,
}
"""What a worker's environment has beyond ours."""


class PoolError(RuntimeError):
    """No worker can be started, whatever the task."""


@dataclass(frozen=True)
class Failure:
    """Why a task has no result."""

    kind: str
    """Class of the exception; WorkerCrashed or TaskTimeout where the process had to be replaced."""
    message: str


@dataclass(frozen=True)
class Outcome(Generic[Task, Value]):
    """What became of one task: exactly one of ``value`` and ``failure`` counts."""

    index: int
    """Position of the task."""
    task: Task
    value: Value | None
    failure: Failure | None


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_tasks(
    function: Callable[[Task], Value],
    tasks: Iterable[Task],
    *,
    workers: int | None = None,
    timeout: float = 60.0,
    memory_limit: int = MEMORY_LIMIT,
    ordered: bool = True,
    ahead: int | None = None,
) -> Generator[Outcome[Task, Value], None, None]:
    """Yields an outcome for every task; an exception, a crash or a hang is an outcome, too.

    Closing the generator ends the workers.

    Args:
        function: A function of an importable module, or a `functools.partial` of one; it and the tasks are pickled.
            Its module decides how much memory a worker takes: keep pandas and torch out of it.
        tasks: Read from other threads, one task at a time, as workers come free.
        workers: Processes; None for one a core.
        timeout: Seconds a task may take before its worker is killed.
        memory_limit: Bytes of private memory a worker may hold; beyond it the task fails with MemoryError.
        ordered: Whether outcomes come in the order of the tasks, or as they are done.
        ahead: Outcomes that may wait for the consumer, those in work included; None for four a worker.

    Raises:
        PoolError: A worker cannot be started.
    """
    count = max(1, available_cores() if workers is None else workers)
    run = _Run(function, tasks, count, timeout, memory_limit, max(count, ahead or 4 * count))
    try:
        yield from run.in_order() if ordered else run.as_done()
    finally:
        run.stop()


class _Run(Generic[Task, Value]):
    """The shared state of one `map_tasks`."""

    def __init__(
        self,
        function: Callable[[Task], Value],
        tasks: Iterable[Task],
        workers: int,
        timeout: float,
        memory_limit: int,
        ahead: int,
    ) -> None:
        self._setup = Setup(pickle.dumps(function), list(sys.path), timeout, memory_limit)
        self._tasks = enumerate(tasks)
        self._next_task = threading.Lock()
        self._room = threading.Semaphore(ahead)
        self._queue: queue.SimpleQueue[Outcome[Task, Value] | BaseException | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._workers = [_Worker(self._setup) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._drive, args=(w,), name="rsna-pool", daemon=True) for w in self._workers
        ]
        for thread in self._threads:
            thread.start()

    def as_done(self) -> Iterator[Outcome[Task, Value]]:
        """Outcomes as they come."""
        for outcome in self._arrivals():
            self._room.release()
            yield outcome

    def in_order(self) -> Iterator[Outcome[Task, Value]]:
        """Outcomes in the order of their tasks; the early ones wait here, and count as waiting."""
        early: dict[int, Outcome[Task, Value]] = {}
        following = 0
        for outcome in self._arrivals():
            early[outcome.index] = outcome
            while following in early:
                self._room.release()
                yield early.pop(following)
                following += 1

    def stop(self) -> None:
        """Ends threads and workers, whether the tasks are done or not."""
        self._stopping.set()
        for _ in self._threads:
            self._room.release()
        for worker in self._workers:
            worker.hang_up()
        deadline = time.monotonic() + _FAREWELL
        for worker in self._workers:
            worker.bury(deadline)
        for thread in self._threads:
            thread.join()

    def _arrivals(self) -> Iterator[Outcome[Task, Value]]:
        busy = len(self._threads)
        while busy:
            arrived = self._queue.get()
            if arrived is None:
                busy -= 1
            elif isinstance(arrived, BaseException):
                raise arrived
            else:
                yield arrived

    def _drive(self, worker: "_Worker") -> None:
        """What each thread does: a task at a time, until there are no more."""
        try:
            while True:
                self._room.acquire()
                with self._next_task:
                    following = None if self._stopping.is_set() else next(self._tasks, None)
                if following is None:
                    return
                index, task = following
                value, failure = worker.run(task)
                self._queue.put(Outcome(index, task, value, failure))
        except _HungUp:
            pass
        except BaseException as error:
            self._queue.put(error)
        finally:
            self._queue.put(None)


class _HungUp(Exception):
    """The run was ended while a worker was at a task."""


class _Worker:
    """A worker process, started when it is first needed and replaced when it dies."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._lock = threading.Lock()
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._last_words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in bury

    def run(self, task: Any) -> tuple[Any, Failure | None]:
        """Gives the task to the process and waits for the answer.

        Raises:
            PoolError: The process cannot be started.
        """
        channel = self._connected()
        try:
            channel.send(task)
            answer: Answer = channel.receive(self._setup.timeout)
        except TimeoutError:
            self._end_process()
            return None, Failure("TaskTimeout", f"took longer than {self._setup.timeout:g} s; its worker was replaced")
        except (EOFError, OSError):
            return None, Failure("WorkerCrashed", self._end_process())
        for name, level, message in answer.records:
            logging.getLogger(name).log(level, "%s", message)
        return answer.value, None if answer.failure is None else Failure(*answer.failure)

    def hang_up(self) -> None:
        """Lets the process end after its task; no other is started."""
        with self._lock:
            self._ended = True
            if self._channel is not None:
                self._channel.close()

    def bury(self, deadline: float) -> None:
        """Waits for the process until ``deadline``, then kills it."""
        if self._process is not None:
            try:
                self._process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._last_words.close()

    def _connected(self) -> Channel:
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        with self._lock:
            if self._ended:
                raise _HungUp
            channel = self._start()
        try:
            channel.receive(_START_TIMEOUT)
        except (EOFError, OSError) as error:
            raise PoolError(f"a worker process does not start: {self._end_process()}") from error
        return channel

    def _start(self) -> Channel:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file in the working directory must not take a module's place.
                [sys.executable, "-P", "-m", "rsna.parallel.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._last_words,
                stderr=self._last_words,
                env=os.environ | _ENVIRONMENT,
            )
        self._channel = Channel(ours)
        self._channel.send(self._setup)
        return self._channel

    def _end_process(self) -> str:
        """Ends what is left of the process; says how it ended."""
        if self._ended:
            raise _HungUp
        assert self._process is not None
        assert self._channel is not None
        self._channel.close()
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._channel = None
        self._last_words.seek(0)
        words = self._last_words.read().decode(errors="replace").strip().splitlines()
        self._last_words.truncate(0)
        ended = f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        return f"the process ended ({ended}){': ' + words[-1] if words else ''}"
