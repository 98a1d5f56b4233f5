"""Tasks in worker processes of this machine, where one that crashes, hangs or eats memory costs itself alone.

`concurrent.futures` breaks the whole pool when one worker dies: docs/decisions/own-pool.md. Here every worker has a
thread of the parent to itself, which replaces it and goes on.
"""

import itertools
import logging
import math
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
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rsna.cores import available_cores
from rsna.dicom.environment import HEAP
from rsna.parallel.channel import Answer, Channel, Setup
from rsna.parallel.engine import Engine, Failure, Outcome, PoolError, Task, Value

if TYPE_CHECKING:
    from rsna.parallel.cluster import Cluster

log = logging.getLogger(__name__)

MEMORY_LIMIT = 2 << 30
"""Bytes of private memory a worker may hold. 8192 × 8192 pixels at full size need 1 GiB."""

_START_TIMEOUT = 300.0
"""Seconds until a worker must have imported what it needs; a cold network disk is slow."""

_START_PAUSES = (0.2, 1.0)
"""Seconds before a worker that died while it started is started again: memory may have been short for a moment."""

_TIME_UP = Failure("TaskTimeout", "was given up, as the time was up")

_GRACE_PERIOD = 2.0
"""Seconds for the workers to finish their tasks when the pool is closed early."""

_START = "import sys; sys.path[:] = sys.argv[2:]; from rsna.parallel.worker import main; main()"
"""What a worker runs: it finds every module where its parent does.

Through PYTHONPATH the folder of the package would come first, site-packages where it is installed; OpenCV's loader
does not survive that where cv2 is a link ("recursion is detected").
"""

_ROOT = str(Path(__file__).parents[2])
"""Last on the path: a notebook may find the package through "..", and then change its folder."""

_ENVIRONMENT = {
    # One thread a process: the processes fill the cores.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPJ_NUM_THREADS": "0",
    **HEAP,
}
"""What a worker's environment has beyond ours."""


def map_tasks(
    function: Callable[[Task], Value],
    tasks: Iterable[Task],
    *,
    workers: int | None = None,
    timeout: float = 60.0,
    memory_limit: int = MEMORY_LIMIT,
    deadline: float = math.inf,
    ordered: bool = True,
    ahead: int | None = None,
    cluster: "Cluster | None" = None,
) -> Generator[Outcome[Task, Value], None, None]:
    """`LocalProcesses.map` in a pool of its own, which ends with the generator; or `Cluster.map` on a cluster.

    A cluster knows itself how many workers it has and how far ahead they may be, and of no deadline.
    """
    if cluster is not None:
        yield from cluster.map(function, tasks, timeout=timeout, memory_limit=memory_limit, ordered=ordered)
        return
    with LocalProcesses(
        function, workers=workers, timeout=timeout, memory_limit=memory_limit, deadline=deadline
    ) as pool:
        yield from pool.map(tasks, ordered=ordered, ahead=ahead)


class LocalProcesses(Engine[Task, Value]):
    """An engine of worker processes, each started when there is first work for it."""

    def __init__(
        self,
        function: Callable[[Task], Value],
        *,
        workers: int | None = None,
        timeout: float = 60.0,
        memory_limit: int = MEMORY_LIMIT,
        deadline: float = math.inf,
    ) -> None:
        """Makes the pool.

        Args:
            function: A function of an importable module, or a `functools.partial` of one; it and the tasks are pickled.
                Its module decides how much memory a worker takes: keep pandas and torch out of it.
            workers: Processes; None for one a core.
            timeout: Seconds a task may take before its worker is killed.
            memory_limit: Bytes of private memory a worker may hold; beyond it the task fails with MemoryError.
            deadline: time.monotonic() at which whatever is not done fails with TaskTimeout, begun or not.
        """
        setup = Setup(pickle.dumps(function), timeout, memory_limit)
        self._workers = [
            _Worker(setup, deadline) for _ in range(max(1, available_cores() if workers is None else workers))
        ]
        self._queue: queue.SimpleQueue[tuple[int, Task, Future[Outcome[Task, Value]]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._submitted = itertools.count()
        self._unfit = 0
        self._error: PoolError | None = None
        """Why no task is accepted any more."""
        self._threads = [
            threading.Thread(target=self._drive, args=(w,), name="rsna-pool", daemon=True) for w in self._workers
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> "Future[Outcome[Task, Value]]":
        return self._enqueue(next(self._submitted), task)

    def map(
        self, tasks: Iterable[Task], *, ordered: bool = True, ahead: int | None = None
    ) -> Generator[Outcome[Task, Value], None, None]:
        # Four a worker, so that none waits for a consumer that is busy for a moment.
        ahead = max(len(self._workers), ahead or 4 * len(self._workers))
        numbered = enumerate(tasks)
        pending: set[Future[Outcome[Task, Value]]] = set()
        following: queue.SimpleQueue[Future[Outcome[Task, Value]]] = queue.SimpleQueue()

        def enqueue(count: int) -> None:
            for index, task in itertools.islice(numbered, count):
                future = self._enqueue(index, task)
                pending.add(future)
                if ordered:
                    following.put(future)
                else:
                    future.add_done_callback(following.put)

        try:
            enqueue(ahead)
            while pending:
                future = following.get()
                outcome = future.result()
                pending.remove(future)
                enqueue(1)
                yield outcome
        finally:
            for future in pending:
                future.cancel()

    def close(self, *, cancel: bool = False) -> None:
        self._refuse(PoolError("the worker processes have ended"), drop=cancel)
        if not cancel:
            for thread in self._threads:
                thread.join()
        for worker in self._workers:
            worker.close()
        deadline = time.monotonic() + _GRACE_PERIOD
        for worker, thread in zip(self._workers, self._threads, strict=True):
            worker.join(deadline)
            thread.join()
            worker.stderr.close()

    def _enqueue(self, index: int, task: Task) -> "Future[Outcome[Task, Value]]":
        future: Future[Outcome[Task, Value]] = Future()
        with self._lock:
            if self._error is not None:
                raise self._error
            self._queue.put((index, task, future))
        return future

    def _drive(self, worker: "_Worker") -> None:
        """What each thread does: a task at a time, until there are no more."""
        while (item := self._queue.get()) is not None:
            index, task, future = item
            try:
                with suppress(_TimeUpError):
                    worker.start()
                if future.set_running_or_notify_cancel():
                    future.set_result(Outcome(index, task, *worker.run(task)))
            except PoolError as error:
                with self._lock:
                    self._unfit += 1
                    left = len(self._workers) - self._unfit
                    if left and self._error is None:
                        log.warning("%s; going on with %d of %d", error, left, len(self._workers))
                        self._queue.put(item)
                        return
                self._refuse(error, drop=True)
                _fail(future, error)
                return

    def _refuse(self, error: PoolError, *, drop: bool) -> None:
        """Accepts no more tasks; drops those that have not begun, or has them done before the threads end."""
        with self._lock:
            self._error = self._error or error
        if drop:
            with suppress(queue.Empty):
                while True:
                    if item := self._queue.get_nowait():
                        _fail(item[2], error)
        for _ in self._threads:
            self._queue.put(None)


def _fail(future: "Future[Any]", error: PoolError) -> None:
    with suppress(InvalidStateError):  # cancelled
        future.set_exception(error)


class _TimeUpError(Exception):
    """The pool's deadline is past."""


class _Worker:
    """A worker process, started when it is first needed and replaced when it dies."""

    def __init__(self, setup: Setup, deadline: float) -> None:
        self.stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the pool
        self._setup = setup
        self._deadline = deadline
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    def start(self) -> None:
        """Starts the process where none runs; a PoolError where it does not start or the worker was closed."""
        if self._process is not None and self._process.poll() is None:
            return
        self._end_process()
        for pause in (*_START_PAUSES, None):
            seconds = self._in_time(_START_TIMEOUT)
            try:
                self._launch().receive(seconds)
                return
            except TimeoutError:
                reason, _ = self._end_process(wait=0.0)
                self._in_time()
                raise PoolError(f"a worker process does not start: {reason}") from None
            except (EOFError, OSError) as error:
                reason = self._end_process()[0] or str(error)
            if pause is None:
                raise PoolError(f"a worker process does not start: {reason}")
            self._closed.wait(pause)

    def run(self, task: Any, *, again: bool = True) -> tuple[Any, Failure | None]:
        """Gives the task to the process and waits for the answer; the process may be gone afterwards."""
        try:
            seconds = self._in_time(self._setup.timeout)
            assert self._channel is not None
            self._channel.send(task)
            answer: Answer = self._channel.receive(seconds)
        except _TimeUpError:
            return None, _TIME_UP
        except TimeoutError:
            self._end_process(wait=0.0)
            if seconds < self._setup.timeout:
                return None, _TIME_UP
            return None, Failure("TaskTimeout", f"took longer than {self._setup.timeout:g} s; its worker was replaced")
        except (EOFError, OSError):
            reason, code = self._end_process()
            if again and code == -signal.SIGKILL:  # from outside: decoders die of other signals, by their own doing
                with suppress(_TimeUpError):
                    self.start()
                return self.run(task, again=False)
            return None, Failure("WorkerCrashed", reason)
        except Exception as error:  # the task cannot be pickled, or its value not be unpickled here
            self._end_process()
            return None, Failure(type(error).__name__, str(error))
        for name, level, message in answer.records:
            logging.getLogger(name).log(level, "%s", message)
        return answer.value, answer.failure

    def close(self) -> None:
        """Lets the process end after its task; no other is started."""
        with self._lock:
            self._closed.set()
            if self._channel is not None:
                self._channel.close()

    def join(self, deadline: float) -> None:
        """Waits for the process until ``deadline``, then kills it."""
        if (process := self._process) is None:
            return
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _launch(self) -> Channel:
        with self._lock:
            self._check_open()
            ours, theirs = socket.socketpair()
            self._channel = Channel(ours)
            with theirs:
                self._process = subprocess.Popen(
                    # -P: a file in the working directory must not take the place of what Python starts with.
                    [sys.executable, "-P", "-c", _START, str(theirs.fileno()), *sys.path, _ROOT],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    # A file, since a pipe that nobody empties would block a decoder that has much to say.
                    stdout=self.stderr,
                    stderr=self.stderr,
                    env=os.environ | _ENVIRONMENT,
                )
            self._channel.send(self._setup)
            return self._channel

    def _in_time(self, seconds: float = math.inf) -> float:
        """``seconds``, or what is left until the deadline where that is less; a _TimeUpError where nothing is."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _TimeUpError
        return min(seconds, left)

    def _end_process(self, wait: float = 1.0) -> tuple[str, int]:
        """Ends what is left of the process; says how it ended ("" where there was none), and its exit code."""
        self._check_open()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is None:
            return "", 0
        try:
            code = self._process.wait(wait)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = None
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").strip().splitlines()
        self.stderr.seek(0)  # the next process shares this position
        self.stderr.truncate()
        ended = f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        return f"the process ended ({ended}){': ' + lines[-1] if lines else ''}", code

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise PoolError("the worker processes have ended")
