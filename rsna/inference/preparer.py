"""Worker processes that stay: sources in from any thread, prepared pixels out."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

from rsna.config.data import PreprocessSettings
from rsna.inference.file_task import PreparedSource, Source, prepare_source
from rsna.parallel.pool import Outcome, PoolError, map_tasks

Prepared = Outcome[Source, PreparedSource]


class Preparer:
    """Prepares sources in processes, where a file that crashes or hangs costs itself alone."""

    def __init__(self, settings: PreprocessSettings, workers: int | None = None, timeout: float = 60.0) -> None:
        self._waiting: queue.SimpleQueue[Source | None] = queue.SimpleQueue()
        self._futures: dict[int, Future[Prepared]] = {}
        self._lock = threading.Lock()
        self._submitted = 0
        self._closed = False
        task = partial(prepare_source, settings=settings)
        # Outcomes wait for nobody here: they are taken as they come.
        self._outcomes = map_tasks(task, self._sources(), workers=workers, timeout=timeout, ordered=False)
        self._thread = threading.Thread(target=self._deliver, name="rsna-preparer", daemon=True)
        self._thread.start()

    def submit(self, source: Source) -> "Future[Prepared]":
        """Prepares a source; the future's result says what became of it.

        Raises:
            PoolError: The workers have ended.
        """
        future: Future[Prepared] = Future()
        with self._lock:
            if self._closed:
                raise PoolError("the worker processes have ended; make a new Predictor")
            # The pool numbers its tasks in the order in which they are taken, which is this queue's.
            self._futures[self._submitted] = future
            self._submitted += 1
            self._waiting.put(source)
        return future

    def close(self) -> None:
        """Ends the processes; what waits is still prepared."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _sources(self) -> Iterator[Source]:
        while (source := self._waiting.get()) is not None:
            yield source

    def _deliver(self) -> None:
        ended: BaseException = PoolError("the worker processes have ended")
        try:
            for outcome in self._outcomes:
                with self._lock:
                    future = self._futures.pop(outcome.index)
                future.set_result(outcome)
        except BaseException as error:
            ended = error
        with self._lock:
            self._closed = True
            left = list(self._futures.values())
            self._waiting.put(None)  # lets the threads go that wait for a task
        for future in left:
            with contextlib.suppress(Exception):
                future.set_exception(ended)
