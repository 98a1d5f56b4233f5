"""How far a long run is: one line that changes on a terminal, a plain line now and then in a log or a notebook."""

import sys
import time
from typing import TextIO

_EVERY_TERMINAL = 0.2
_EVERY_LOG = 15.0
"""Seconds between two lines."""

_WIDTH = 79


class Progress:
    """Call it after each piece of work; it prints when there is something new to say."""

    def __init__(self, what: str, unit: str = "images", stream: TextIO | None = None) -> None:
        """``what`` stands at the front of every line; ``stream`` is standard error where it is None."""
        self._what, self._unit = what, unit
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._started = self._printed = time.monotonic()
        self._last = ""

    def __call__(self, done: int, total: int, failed: int = 0) -> None:
        """``done`` of ``total`` pieces are behind, ``failed`` of them without a result."""
        now = time.monotonic()
        if now - self._printed < (_EVERY_TERMINAL if self._terminal else _EVERY_LOG) and done < total:
            return
        self._printed = now
        line = progress_line(self._what, done, total, self._unit, now - self._started, failed)
        if line != self._last:
            self._last = line
            self._stream.write(f"\r{line:<{_WIDTH}}" if self._terminal else f"{line}\n")
            self._stream.flush()

    def close(self) -> None:
        """Leaves the line on the terminal as it is."""
        if self._terminal and self._last:
            self._stream.write("\n")
            self._stream.flush()


def progress_line(what: str, done: int, total: int, unit: str, seconds: float, failed: int = 0) -> str:
    """``prepare  120/4,000 images (3 %), 28.4/s, 2 min 17 s left, 1 failed``."""
    parts = [f"{what}  {done:,}/{total:,} {unit} ({100 * done // max(1, total)} %)"]
    if done and seconds > 0:
        rate = done / seconds
        parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each")
        parts.append(f"{duration((total - done) / rate)} left" if done < total else f"took {duration(seconds)}")
    if failed:
        parts.append(f"{failed:,} failed")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """``48 s``, ``2 min 17 s``, ``3 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
