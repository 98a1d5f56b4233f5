import io
import time

import pytest

from rsna.parallel.progress import Progress, duration, progress_line


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_says_how_far_how_fast_and_how_long_still() -> None:
    assert progress_line("prepare", 1000, 4000, "images", 50.0, 2) == (
        "prepare  1,000/4,000 images (25 %), 20.0/s, 2 min 30 s left, 2 failed"
    )
    assert progress_line("infer", 2, 3, "files", 10.0) == "infer  2/3 files (66 %), 5.0 s each, 5 s left"
    assert progress_line("prepare", 3, 3, "images", 90.0) == "prepare  3/3 images (100 %), 30.0 s each, took 1 min 30 s"
    assert progress_line("prepare", 0, 0, "images", 0.0) == "prepare  0/0 images (0 %)"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599.6, "1 h 00 min"), (11100, "3 h 05 min")]
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_log_gets_plain_lines_now_and_then() -> None:
    stream = io.StringIO()
    progress = Progress("prepare", stream=stream)
    for done in range(1, 1001):
        progress(done, 1000, 0)
    progress.close()
    assert stream.getvalue().startswith("prepare  1,000/1,000 images (100 %)")
    assert stream.getvalue().count("\n") == 1
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_one_line_that_changes() -> None:
    stream = _Terminal()
    progress = Progress("prepare", stream=stream)
    progress(1, 3)
    time.sleep(0.25)
    progress(2, 3)
    progress(3, 3)
    progress.close()
    lines = stream.getvalue().split("\r")
    assert [line.split(",")[0].strip() for line in lines[1:]] == [
        "prepare  2/3 images (66 %)",
        "prepare  3/3 images (100 %)",
    ]
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("\n")
