"""The one interface for many tasks: whatever runs them, each becomes a value that says what became of it."""

from collections.abc import Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

Task = TypeVar("Task")
Value = TypeVar("Value")


class PoolError(RuntimeError):
    """The engine cannot run any task: no worker can be started, or it was closed."""


@dataclass(frozen=True)
class Failure:
    """Why a task has no value."""

    kind: str
    """Class of the exception; WorkerCrashed or TaskTimeout where the worker had to be replaced."""
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True)
class Outcome(Generic[Task, Value]):
    """What became of one task: exactly one of ``value`` and ``failure`` counts."""

    index: int
    """Position of the task among those of its `map`, or of its engine's `submit`."""
    task: Task
    value: Value | None
    failure: Failure | None


class Engine(Protocol[Task, Value]):
    """Runs one function over tasks, apart from this process; threads may share an engine.

    As a context manager it is closed at the end, and its tasks are cancelled where the block ends with an exception.
    """

    def submit(self, task: Task) -> "Future[Outcome[Task, Value]]":
        """Runs a task; an exception, a crash or a hang is an outcome, too.

        The future raises PoolError where the engine fails or is closed before the task is done.

        Raises:
            PoolError: No worker can be started, or the engine is closed.
        """

    def map(
        self, tasks: Iterable[Task], *, ordered: bool = True, ahead: int | None = None
    ) -> Generator[Outcome[Task, Value], None, None]:
        """Yields an outcome for every task; closing the generator cancels those that have not begun.

        Args:
            tasks: Read one at a time, as workers come free.
            ordered: Whether outcomes come in the order of the tasks, or as they are done.
            ahead: Outcomes that may wait for the consumer, those in work included; None lets the engine choose.
        """

    def close(self, *, cancel: bool = False) -> None:
        """Ends the workers, once the submitted tasks are done.

        With ``cancel``, what has not begun is cancelled, and what has is ended after a short grace period.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(cancel=kind is not None)
