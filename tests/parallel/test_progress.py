"""What is shown of long work: in a terminal, a log and a notebook, and where nobody reads."""

import fcntl
import io
import itertools
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from rsna.parallel.progress import Progress, Start, duration, pauses, place_of, progress_line, say


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Clock:
    """Seconds that pass when they are told to, so that the thread, which looks at the same clock, never draws."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture(autouse=True)
def no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def test_a_line_says_how_far_how_fast_and_how_long_still() -> None:
    assert progress_line("prepare", 1000, 4000, "images", 50.0, 20.0, 2) == (
        "prepare  1,000/4,000 images (25 %), 20.0/s, 2 min 30 s left, 2 failed"
    )
    assert progress_line("infer", 2, 3, "files", 10.0, 0.2) == "infer  2/3 files (66 %), 5.0 s each, 5 s left"
    assert progress_line("prepare", 3, 3, "images", 90.0, 1 / 30) == (
        "prepare  3/3 images (100 %), 30.0 s each, took 1 min 30 s"
    )


def test_what_is_not_known_is_not_told() -> None:
    assert progress_line("look for files", 3000, None, "files", 2.0, 1500.0) == "look for files  3,000 files, 1500.0/s"
    assert progress_line("export fold 0", 0, None, "images", 12.0, 0.0) == "export fold 0, 12 s so far"
    assert progress_line("prepare", 0, 9, "images", 12.0, 0.0) == "prepare  0/9 images (0 %), 12 s so far"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599.6, "1 h 00 min"), (11100, "3 h 05 min")]
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("stream", [io.StringIO(), _Terminal()])
def test_what_is_done_in_two_seconds_shows_nothing(stream: io.StringIO, clock: _Clock) -> None:
    with Progress("prepare", 3, stream=stream, clock=clock) as progress:
        for _ in progress.over(range(3)):
            clock.now += 0.6
            progress.tick()
    assert stream.getvalue() == ""


def test_a_log_gets_a_line_after_five_seconds_and_then_ever_more_seldom(clock: _Clock) -> None:
    stream = io.StringIO()
    with Progress("prepare", 1000, stream=stream, clock=clock) as progress:
        for _ in progress.over(range(1000)):
            clock.now += 1
            progress.tick()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "prepare  4/1,000 images (0 %), 1.2 s each, 20 min 45 s left"
    assert lines[-1] == "prepare  1,000/1,000 images (100 %), 1.0/s, took 16 min 40 s"
    # At 5, 15, 35, 75, 155 s, then every 2 minutes, and the end.
    assert len(lines) == 5 + (1000 - 155) // 120 + 1
    assert "\r" not in stream.getvalue()


def test_time_left_follows_the_recent_rate(clock: _Clock) -> None:
    stream = io.StringIO()
    with Progress("prepare", 1100, stream=stream, clock=clock) as progress:
        for step in range(400):  # a fast hundred seconds, then slow ones
            clock.now += 1
            progress.step(10 if step < 100 else 1 if step % 10 == 0 else 0)
            progress.tick()
    last = stream.getvalue().splitlines()[-2]
    assert last.startswith("prepare  1,030/1,100 images (93 %), 10.0 s each, 11 min 40 s left")


def test_a_terminal_gets_one_line_that_changes(clock: _Clock) -> None:
    stream = _Terminal()
    with Progress("prepare", 40, stream=stream, clock=clock) as progress:
        for _ in progress.over(range(40)):
            clock.now += 0.125
            progress.tick()
    lines = stream.getvalue().split("\r")
    assert lines[0] == ""
    assert lines[1] == "prepare  15/40 images (37 %), 7.5/s, 3 s left"
    assert lines[-1].rstrip(" \n") == "prepare  40/40 images (100 %), 8.0/s, took 5 s"
    assert len(lines) == 1 + 13 + 1  # every quarter from the second second on, and the end
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("\n")


def test_a_shorter_line_leaves_nothing_of_a_longer_one(clock: _Clock) -> None:
    stream = _Terminal()
    with Progress("x", 9, stream=stream, clock=clock) as progress:
        for note in ("a long remark", ""):
            clock.now += 3
            progress.note = note
            progress.tick()
    _, long, short, _ = stream.getvalue().split("\r")
    assert len(short) == len(long)


def test_of_work_within_work_the_part_is_shown(clock: _Clock) -> None:
    stream = io.StringIO()
    with Progress("whole", stream=stream, clock=clock) as whole:
        with Progress("part", stream=stream, clock=clock) as part:
            clock.now += 6
            part.tick()
            whole.tick()
        clock.now += 20
        whole.tick()
    assert stream.getvalue().splitlines() == [
        "part, 6 s so far", "part, took 6 s", "whole, 26 s so far", "whole, took 26 s",
    ]  # fmt: skip


def test_many_quick_parts_leave_the_whole_in_sight(clock: _Clock) -> None:
    stream = _Terminal()
    with Progress("slices", 9, "slices", stream=stream, clock=clock) as whole:
        for _ in whole.over(range(9)):
            with Progress("bootstrap", 2, stream=stream, clock=clock) as part:
                clock.now += 1
                part.tick()
                whole.tick()
    assert stream.getvalue().count("\rslices  ") == 9
    assert "bootstrap" not in stream.getvalue()


def test_a_part_that_takes_long_takes_the_line_over(clock: _Clock) -> None:
    stream = _Terminal()
    with Progress("whole", stream=stream, clock=clock) as whole:
        clock.now += 3
        whole.tick()
        with Progress("part", stream=stream, clock=clock) as part:
            clock.now += 3
            part.tick()
            whole.tick()
    blank = " " * len("whole, 3 s so far")
    assert (
        stream.getvalue() == f"\rwhole, 3 s so far\r{blank}\r\rpart, 3 s so far\rpart, took 3 s  \n\rwhole, took 6 s\n"
    )


def test_a_start_is_shown_until_work_begins_and_leaves_no_line(clock: _Clock) -> None:
    stream = _Terminal()
    with Start("rsna infer", stream=stream, clock=clock) as start:
        clock.now += 3
        start.tick()
        with Progress("predict", 9, stream=stream, clock=clock):
            pass
        clock.now += 3
        start.tick()
    assert stream.getvalue() == f"\rrsna infer, 3 s so far\r{' ' * 22}\r"


def test_what_is_said_meanwhile_stands_on_a_line_of_its_own(clock: _Clock) -> None:
    stream = _Terminal()
    with Progress("prepare", 9, stream=stream, clock=clock) as progress:
        clock.now += 3
        progress.tick()
        say("a remark", stream)
        clock.now += 3
        progress.tick()
    shown = stream.getvalue().replace("prepare  0/9 images (0 %), 3 s so far", "LINE")
    assert shown.startswith(f"\rLINE\r{' ' * 37}\ra remark\n\rprepare")


def test_what_fails_leaves_its_line_and_says_nothing_of_an_end(clock: _Clock) -> None:
    stream = _Terminal()
    with pytest.raises(KeyError), Progress("prepare", 9, stream=stream, clock=clock) as progress:
        clock.now += 3
        progress.tick()
        raise KeyError
    assert stream.getvalue() == "\rprepare  0/9 images (0 %), 3 s so far\n"


def test_a_notebook_that_keeps_every_line_gets_fewer() -> None:
    def lines(place: str, seconds: float) -> int:
        return sum(1 for _ in itertools.takewhile(lambda t: t < seconds, itertools.accumulate(pauses(place))))

    assert lines("log", 8 * 3600) < 300
    assert lines("notebook", 8 * 3600) < 3200


def test_a_terminal_without_a_way_back_is_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place_of(_Terminal()) == "terminal"
    monkeypatch.setenv("TERM", "dumb")
    assert place_of(_Terminal()) == "log"
    closed = io.StringIO()
    closed.close()
    assert place_of(closed) == place_of(None) == "log"


WORK = """if True:
    import sys, time
    from rsna.parallel.progress import Progress, say
    with Progress("prepare", 30) as progress:
        for _ in progress.over(range(30)):
            time.sleep(0.1)
    print("result")
"""
"""Three seconds of work."""

OFTEN = WORK.replace("import sys, time", "import rsna.parallel.progress as p, time; p._LOG_S = (0.0, 0.01)")
"""The same, and a log of it that is written without a pause."""


def test_a_real_terminal_is_written_within_its_width() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    work = subprocess.Popen(
        [sys.executable, "-c", WORK], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
    )
    os.close(theirs)
    shown = b""
    with pytest.raises(OSError):  # as a terminal ends
        while True:
            shown += os.read(ours, 4096)
    assert work.communicate()[0] == "result\n"
    lines = shown.decode().strip("\r\n").split("\r")
    assert len(lines) >= 2
    assert all(line.startswith("prepare  ") and len(line) <= 29 for line in lines)
    assert b"\x1b" not in shown
    assert shown.count(b"\n") == 1


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2> >(true)"])
def test_nobody_has_to_read_it(where: str) -> None:
    """Closed, on a full disk, a pipe whose reader is gone."""
    command = ["bash", "-c", f"exec {sys.executable} -c '{OFTEN}' {where}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "result\n")


def test_a_pipe_that_is_full_keeps_nothing_from_its_end() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 512)
    os.set_blocking(writer, True)
    done = subprocess.run([sys.executable, "-c", OFTEN], stdout=subprocess.PIPE, stderr=writer, text=True, timeout=60)
    os.close(writer)
    os.close(reader)
    assert (done.returncode, done.stdout) == (0, "result\n")


def test_children_that_are_forked_meanwhile_end() -> None:
    code = """if True:
        import os, sys
        import rsna.parallel.progress as p
        p._LOG_S = (0.0, 0.0)  # as fast as it draws
        with p.Progress("train") as progress:
            for _ in range(200):
                if not (child := os.fork()):
                    sys.stderr.write(".")
                    sys.stderr.flush()
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
        print("all")
    """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60)
    assert done.stdout == "all\n"


def test_a_notebook_rewrites_its_line_in_a_cell_and_in_a_command(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    cells = [WORK, f"import sys\n!{{sys.executable}} {tmp_path / 'work.py'}"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    for cell in notebook.cells:
        text = "".join(output.text for output in cell.outputs)
        assert "\rprepare  " in text
        assert text.count("\rprepare  ") <= 4
        assert "\rprepare  30/30 images (100 %)" in text
        assert "result" in text


def test_a_process_knows_when_it_began() -> None:
    code = "import time; time.sleep(1.5); from rsna.parallel.progress import process_started as p; print(p())"
    before = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert before - 0.05 < float(done.stdout) < before + 1.4
