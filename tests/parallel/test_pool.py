import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rsna.parallel.engine import PoolError
from rsna.parallel.pool import LocalProcesses, map_tasks
from tests.parallel import pool_tasks


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _gone(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_ordered_outcomes_come_in_the_order_of_the_tasks() -> None:
    outcomes = list(map_tasks(pool_tasks.slow_square, range(12), workers=3))
    assert [(o.index, o.task, o.value, o.failure) for o in outcomes] == [(n, n, n * n, None) for n in range(12)]


def test_unordered_outcomes_come_once_each() -> None:
    outcomes = list(map_tasks(pool_tasks.slow_square, range(12), workers=3, ordered=False))
    assert sorted(o.value for o in outcomes if o.value is not None) == [n * n for n in range(12)]


def test_no_tasks_give_no_outcomes() -> None:
    assert list(map_tasks(pool_tasks.square, [], workers=2)) == []


def test_arrays_come_back_whole_and_writable() -> None:
    for outcome in map_tasks(pool_tasks.array, [1, 700, 5000], workers=2):
        assert outcome.value is not None
        assert np.array_equal(outcome.value["bytes"], np.full((outcome.task, 1024), outcome.task % 251))
        assert outcome.value["words"].dtype == np.uint16
        outcome.value["bytes"][0, 0] = 7


@pytest.mark.parametrize(
    ("order", "kind", "message"),
    [
        ("abort", "WorkerCrashed", "SIGABRT"),
        ("segfault", "WorkerCrashed", "SIGSEGV"),
        ("exit", "WorkerCrashed", "exit status 3"),
        ("eat", "MemoryError|_ArrayMemoryError", "allocate"),
        ("raise", "KeyError", "what is missing"),
        ("unpicklable", "PicklingError|AttributeError", "pickle"),
    ],
)
def test_a_task_that_fails_costs_itself_alone(order: str, kind: str, message: str) -> None:
    orders = ["a", "b", order, "c", "d"]
    outcomes = list(map_tasks(pool_tasks.obey, orders, workers=2))
    assert [o.value for o in outcomes] == ["a", "b", None, "c", "d"]
    assert [o.task for o in outcomes if o.failure] == [order]
    failure = outcomes[2].failure
    assert failure is not None
    assert failure.kind in kind.split("|")
    assert message in failure.message


@pytest.mark.parametrize("order", ["hang", "deaf hang"])
def test_a_task_that_hangs_costs_itself_alone(order: str) -> None:
    started = time.monotonic()
    outcomes = list(map_tasks(pool_tasks.obey, ["a", order, "b", "c"], workers=2, timeout=5.0))
    assert [o.value for o in outcomes] == ["a", None, "b", "c"]
    assert outcomes[1].failure is not None
    assert outcomes[1].failure.kind == "TaskTimeout"
    assert time.monotonic() - started < 120


def test_many_crashes_in_a_row_are_survived() -> None:
    outcomes = list(map_tasks(pool_tasks.obey, ["abort"] * 4 + ["fine"], workers=1))
    assert [o.failure is None for o in outcomes] == [False] * 4 + [True]


def test_a_process_is_kept_from_task_to_task() -> None:
    assert len({o.value for o in map_tasks(pool_tasks.pid, range(20), workers=2)}) <= 2


def test_workers_import_neither_torch_nor_pandas_nor_the_main_module() -> None:
    (outcome,) = map_tasks(pool_tasks.imported, [0], workers=1)
    assert outcome.value is not None
    assert {"torch", "pandas", "pytest", "tests.parallel.test_pool"}.isdisjoint(outcome.value)


def test_a_worker_finds_modules_where_its_parent_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where a folder of the parent's path is relative to a folder that it has left, or is not ASCII."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "bü d'r"), *sys.path, ".."])
    monkeypatch.chdir(tmp_path)
    (outcome,) = map_tasks(pool_tasks.path, [0], workers=1)
    assert outcome.value is not None
    assert outcome.value[:-1] == sys.path  # the package's own folder comes last


def test_nothing_in_the_working_directory_takes_the_place_of_a_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("pickle", "cv2", "rsna", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not the module')")
    monkeypatch.chdir(tmp_path)
    assert [o.value for o in map_tasks(pool_tasks.square, [3], workers=1)] == [9]


def test_a_task_whose_worker_is_killed_from_outside_is_done_again_once(tmp_path: Path) -> None:
    assert [o.value for o in map_tasks(pool_tasks.killed_once, [tmp_path / "mark"], workers=1)] == ["done"]
    outcomes = list(map_tasks(pool_tasks.killed, [0, 1], workers=1))
    assert [o.failure and o.failure.kind for o in outcomes] == ["WorkerCrashed"] * 2
    assert "SIGKILL" in str(outcomes[0].failure)


def test_at_the_deadline_everything_that_is_not_done_is_given_up() -> None:
    started = time.monotonic()
    orders = ["a", "deaf hang", "hang", *["b"] * 50]
    outcomes = list(map_tasks(pool_tasks.obey, orders, workers=2, deadline=started + 5.0))
    assert 4.9 < time.monotonic() - started < 30.0  # the hang takes a minute and more
    assert len(outcomes) == len(orders)
    assert outcomes[0].value == "a"
    assert {str(o.failure) for o in outcomes[1:]} == {"TaskTimeout: was given up, as the time was up"}
    assert [o.failure and o.failure.kind for o in map_tasks(pool_tasks.obey, ["a"], deadline=started)] == [
        "TaskTimeout"
    ]


def test_a_start_that_takes_longer_than_the_deadline_is_given_up(tmp_path: Path) -> None:
    started = time.monotonic()
    (outcome,) = map_tasks(pool_tasks.StartHangs(), [1], workers=1, deadline=started + 2.0)
    assert str(outcome.failure) == "TaskTimeout: was given up, as the time was up"
    assert time.monotonic() - started < 30.0


def test_logs_and_warnings_of_a_task_reach_the_parent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        list(map_tasks(pool_tasks.obey, ["warn"], workers=1))
    assert any("from a warning" in text for text in caplog.messages)
    assert ("decoder", logging.WARNING, "from a log") in caplog.record_tuples


def test_no_more_tasks_are_taken_than_may_wait() -> None:
    taken = itertools.count()
    last = 0

    def tasks() -> Iterator[int]:
        nonlocal last
        for number in range(40):
            last = next(taken)
            yield number

    outcomes = map_tasks(pool_tasks.square, tasks(), workers=2, ahead=5)
    next(outcomes)
    time.sleep(0.5)
    assert last <= 6
    assert len(list(outcomes)) == 39


def test_an_endless_supply_of_tasks_can_be_left() -> None:
    outcomes = map_tasks(pool_tasks.pid, itertools.count(), workers=2)
    pids = [o.value for o in itertools.islice(outcomes, 10) if o.value]
    outcomes.close()  # type: ignore[attr-defined]
    assert _gone(pids, 30)
    assert not any(thread.name == "rsna-pool" for thread in threading.enumerate())


def test_an_error_in_the_supply_of_tasks_reaches_the_consumer() -> None:
    def tasks() -> Iterator[int]:
        yield 1
        raise RuntimeError("the table ends here")

    with pytest.raises(RuntimeError, match="the table ends here"):
        list(map_tasks(pool_tasks.square, tasks(), workers=2))


def test_a_run_fails_where_no_worker_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    for ordered in (True, False):
        with pytest.raises(PoolError, match="does not start: the process ended"):
            list(map_tasks(pool_tasks.square, range(9), workers=2, ordered=ordered))
    with LocalProcesses(pool_tasks.square, workers=1) as pool:
        futures = [pool.submit(1), pool.submit(2)]
        for future in futures:
            with pytest.raises(PoolError, match="does not start"):
                future.result(30)
        with pytest.raises(PoolError, match="does not start"):
            pool.submit(3)


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_worker_that_dies_while_it_starts_is_started_again(tmp_path: Path, deaths: int) -> None:
    function = pool_tasks.StartFails(tmp_path)
    for number in range(deaths):
        (tmp_path / str(number)).touch()
    assert [o.value for o in map_tasks(function, range(3), workers=1)] == [0, 1, 4]
    assert not list(tmp_path.iterdir())


def test_workers_that_start_do_the_tasks_of_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rsna.parallel.pool._START_PAUSES", ())
    (tmp_path / "one").touch()
    outcomes = list(map_tasks(pool_tasks.StartFails(tmp_path), range(6), workers=2))
    assert [o.value for o in outcomes] == [n * n for n in range(6)]
    assert "a worker process does not start: the process ended (exit status 9); going on with 1 of 2" in caplog.messages


def test_a_pool_takes_tasks_from_any_thread_as_long_as_it_is_open() -> None:
    results: dict[int, int | None] = {}

    def work(number: int) -> None:
        results[number] = pool.submit(number).result(60).value

    with LocalProcesses(pool_tasks.slow_square, workers=2) as pool:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [o.value for o in pool.map([3, 1, 2])] == [9, 1, 4]  # the same processes
        last = pool.submit(9)
    assert last.result(0).value == 81  # what was submitted is done before the pool ends
    assert results == {number: number * number for number in range(8)}
    with pytest.raises(PoolError, match="have ended"):
        pool.submit(1)
    pool.close()  # again, which changes nothing


def test_submitted_tasks_fail_alone_and_cancelled_ones_never_begin(tmp_path: Path) -> None:
    with LocalProcesses(pool_tasks.obey, workers=1, timeout=5.0) as pool:
        futures = [pool.submit(order) for order in ("a", "abort", "hang", "raise", "b")]
        outcomes = [future.result(60) for future in futures]
        assert [o.value for o in outcomes] == ["a", None, None, None, "b"]
        assert [o.failure.kind for o in outcomes if o.failure] == ["WorkerCrashed", "TaskTimeout", "KeyError"]
        assert [o.index for o in outcomes] == [0, 1, 2, 3, 4]
    with LocalProcesses(pool_tasks.touch, workers=1) as pool2:
        begun, waiting = (pool2.submit((str(tmp_path / name), 0.5)) for name in ("begun", "waiting"))
        assert waiting.cancel()
        begun.result(60)
    assert [file.name for file in tmp_path.iterdir()] == ["begun"]


def test_a_task_that_cannot_be_pickled_costs_itself_alone() -> None:
    outcomes = list(map_tasks(pool_tasks.pid, [1, threading.Lock(), 2], workers=1))
    assert [o.failure is None for o in outcomes] == [True, False, True]
    assert outcomes[1].failure is not None
    assert "pickle" in outcomes[1].failure.message


def test_a_pool_left_by_an_error_ends_within_seconds_and_its_futures_with_it(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError), LocalProcesses(pool_tasks.touch, workers=1) as pool:
        futures = [pool.submit((str(tmp_path / name), 100.0)) for name in ("begun", "waiting")]
        while not (tmp_path / "begun").exists():
            assert not futures[0].done()
            time.sleep(0.05)
        raise ZeroDivisionError
    assert time.monotonic() - started < 120
    for future in futures:
        with pytest.raises(PoolError, match="have ended"):
            future.result(0)


def _run_parent(tmp_path: Path, seconds: float) -> tuple["subprocess.Popen[bytes]", list[int]]:
    """A process of its own that maps `touch` with two workers; returns once both are at work."""
    code = (
        "from rsna.parallel.pool import map_tasks\n"
        "from tests.parallel.pool_tasks import touch\n"
        f"tasks = [(r'{tmp_path}/' + str(i), {seconds}) for i in range(100)]\n"
        "try:\n"
        "    for _ in map_tasks(touch, tasks, workers=2, timeout=60): pass\n"
        "except KeyboardInterrupt:\n"
        "    raise SystemExit(130)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], start_new_session=True)
    deadline = time.monotonic() + 60
    while len(pids := [int(p.read_text()) for p in tmp_path.iterdir() if p.read_text()]) < 2:
        assert time.monotonic() < deadline, "the workers did not start"
        time.sleep(0.05)
    return parent, pids


def test_an_interrupt_ends_everything_within_seconds(tmp_path: Path) -> None:
    parent, pids = _run_parent(tmp_path, seconds=100)
    os.killpg(parent.pid, signal.SIGINT)  # as Ctrl-C does: to the workers, too
    assert parent.wait(60) == 130
    assert _gone(pids, 30)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent, pids = _run_parent(tmp_path, seconds=1)
    parent.kill()
    parent.wait()
    assert _gone(pids, 30)
