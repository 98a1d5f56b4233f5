"""How far a long work is and how long it still takes: what a terminal, a log and a notebook show of it.

Everything goes to standard error, since standard output is for results. Work of less than two seconds shows nothing.
"""

import contextlib
import io
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, Self, TextIO, TypeVar

Item = TypeVar("Item")
Place = Literal["terminal", "notebook", "log"]
"""Where lines go: a terminal and a notebook rewrite one line, in a log each stands below the other."""

_QUIET_S = 2.0
"""Seconds of work that nobody wants to be told of."""
_TERMINAL_S = 0.2
_LOG_S = (5.0, 120.0)
"""Seconds to the first line of a log, and at most between two: each pause is twice the one before."""
_RECENT_S, _RECENT_SHARE = 30.0, 0.2
"""Time left follows the rate of the last seconds, or of the last share of the work where that is longer."""

_PATIENCE_S = 1.0
"""Seconds that the work waits at most for a line that is being written: nobody may be reading."""

_LONGEST_START_S = 600.0
"""Seconds beyond which a process was something else before: importing torch from a cold network disk takes a minute."""

_drawing = threading.Lock()
_shown: "list[Progress]" = []
"""Work that is under way, a part behind the whole: of those that take long the last one is shown."""


class Progress:
    """A clock over a piece of work, in a ``with`` block: what it is, how far, how fast, how long still.

    A thread draws it, so that counting costs the work nothing and a single long step is seen to go on. Whatever is
    wrong with the stream (closed, full, read by nobody) ends the drawing, never the work.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        unit: str = "images",
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is shown before the block begins.

        Args:
            what: The work in a word or two, at the front of every line.
            total: Pieces there are; None where that is not known, or where it is all one piece.
            unit: What a piece is, in the plural.
            stream: Standard error where it is None.
            clock: Seconds from anywhere.
        """
        self.what, self.total, self.unit = what, total, unit
        self.done = self.failed = 0
        self.note = ""
        """What stands at the end of the line."""
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._place = place_of(self._stream)
        self._began = clock()
        self._due = self._began + (_LOG_S[0] if self._place == "log" else _QUIET_S)
        self._pauses = pauses(self._place)
        self._samples: deque[tuple[float, int]] = deque([(self._began, 0)])
        self._width = 0  # of the line that is on the screen
        self._drawn = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw_on, name="rsna-progress", daemon=True)

    def step(self, count: int = 1, failed: int = 0) -> None:
        """So many more pieces are behind, and so many of them have no result."""
        self.done += count
        self.failed += failed

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items; each counts as a piece once the next one is asked for."""
        for item in items:
            yield item
            self.done += 1

    def tick(self) -> None:
        """Draws the line where it is time to."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + next(self._pauses)
        if _drawing.acquire(timeout=_PATIENCE_S):
            try:
                if self not in _shown:  # it has ended
                    return
                parts = _shown[_shown.index(self) + 1 :]
                if not any(part._drawn for part in parts):  # many quick ones show nothing of themselves
                    for other in _shown:
                        if other is not self:
                            other._clear()
                    self._draw(self._line(now))
            finally:
                _drawing.release()

    def __enter__(self) -> Self:
        _end_start()
        _shown.append(self)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join(_PATIENCE_S)
        held = _drawing.acquire(timeout=_PATIENCE_S)
        try:
            if held and self._drawn:
                if isinstance(self, Start):
                    self._clear()
                elif kind is None:
                    self._draw(self._last_line())
                if self._width:
                    self._write("\n")
        finally:
            _shown.remove(self)
            if held:
                _drawing.release()

    def _draw_on(self) -> None:
        while not self._ended.wait(max(0.0, self._due - self._clock())):
            self.tick()

    def _line(self, now: float) -> str:
        seconds, rate = now - self._began, self._recent_rate(now)
        return progress_line(self.what, self.done, self.total, self.unit, seconds, rate, self.failed, self.note)

    def _last_line(self) -> str:
        seconds = self._clock() - self._began
        if not self.done:
            return f"{self.what}, took {duration(seconds)}"
        rate = self.done / max(seconds, 1e-9)
        total = self.total if self.total is None else self.done
        return progress_line(self.what, self.done, total, self.unit, seconds, rate, self.failed)

    def _recent_rate(self, now: float) -> float:
        """Pieces a second, lately; of all the time where nothing came lately."""
        samples, done = self._samples, self.done
        samples.append((now, done))
        since = now - max(_RECENT_S, _RECENT_SHARE * (now - self._began))
        while len(samples) > 2 and samples[1][0] <= since:
            samples.popleft()
        at, before = samples[0]
        if done > before:
            return (done - before) / max(now - at, 1e-9)
        return done / max(now - self._began, 1e-9)

    def _draw(self, line: str) -> None:
        self._drawn = True
        if self._place == "log":
            self._write(f"{line}\n")
            return
        line = line[: _columns(self._stream) - 1]  # a line that wraps cannot be written over
        self._write(f"\r{line}{' ' * max(0, self._width - len(line))}")
        self._width = len(line)

    def _clear(self) -> None:
        if self._width:
            self._write(f"\r{' ' * self._width}\r")
            self._width = 0

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a full disk, a closed stream, none at all
            if type(self._stream) is io.TextIOWrapper:
                # Not through the stream, whose lock this thread would hold for as long as a pipe is full: Python could
                # not end, nor could a process that was forked meanwhile.
                content = text.encode(self._stream.encoding, self._stream.errors or "backslashreplace")
                os.write(self._stream.fileno(), content)
            else:
                self._stream.write(text)
                self._stream.flush()


class Start(Progress):
    """Shown until the first other clock begins: while libraries are loaded and small tables read."""


def _end_start() -> None:
    if _shown and isinstance(_shown[0], Start):
        _shown[0].__exit__(None)


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints a line at once, to standard output or ``stream``, clear of the work that is shown on a terminal."""
    held = _drawing.acquire(timeout=_PATIENCE_S)
    try:
        for one in _shown if held else ():
            one._clear()
        print(text, file=stream, flush=True)
    finally:
        if held:
            _drawing.release()


def progress_line(
    what: str,
    done: int,
    total: int | None,
    unit: str,
    seconds: float,
    rate: float,
    failed: int = 0,
    note: str = "",
) -> str:
    """``prepare  120/4,000 images (3 %), 28.4/s, 2 min 17 s left, 1 failed``.

    Args:
        seconds: Since the work began.
        rate: Pieces a second, by which the time left is told.
    """
    if total is None and not done:
        parts = [f"{what}, {duration(seconds)} so far"]
    elif total is None:
        parts = [f"{what}  {done:,} {unit}"]
    else:
        parts = [f"{what}  {done:,}/{total:,} {unit} ({100 * done // max(1, total)} %)"]
    if done and rate > 0:
        parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each")
        if total is not None:
            left = f"{duration(max(0, total - done) / rate)} left"
            parts.append(left if done < total else f"took {duration(seconds)}")
    elif total is not None:
        parts.append(f"{duration(seconds)} so far")
    if failed:
        parts.append(f"{failed:,} failed")
    return ", ".join(parts + [note] * bool(note))


def pauses(place: Place) -> Iterator[float]:
    """Seconds from each line to the next; the first comes after two seconds, in a log after five."""
    pause = 1.0 if place == "notebook" else _LOG_S[0] if place == "log" else _TERMINAL_S
    while True:
        if place == "log":
            pause = min(2 * pause, _LOG_S[1])
        elif place == "notebook":  # which keeps every line that was written over
            pause = min(1.02 * pause, 10.0)
        yield pause


def place_of(stream: TextIO | None) -> Place:
    """Where a stream leads: ``!rsna`` in a notebook is a notebook, a terminal that cannot go back is a log."""
    if type(stream).__module__.startswith("ipykernel"):
        return "notebook"
    try:
        terminal = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # it is closed
        terminal = False
    if not terminal:
        return "log"
    # Jupyter gives the commands of a cell a terminal, whose every line it keeps.
    return "notebook" if "JPY_PARENT_PID" in os.environ else "terminal"


def _columns(stream: TextIO) -> int:
    """Of the terminal that a stream leads to, at this moment."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal of its own, as in a notebook
        columns = shutil.get_terminal_size().columns
    return max(columns, 20) if columns else 80


def duration(seconds: float) -> str:
    """``48 s``, ``2 min 17 s``, ``3 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def process_started() -> float:
    """time.monotonic() when this process began, imports and all; of now where the system does not say."""
    try:
        # proc(5): field 22, counted from the name in brackets, which may hold anything.
        ticks = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):  # not Linux
        age = 0.0
    # exec keeps the process: a shell that was at work for hours before has not spent the budget.
    return time.monotonic() - (age if 0 <= age <= _LONGEST_START_S else 0.0)
