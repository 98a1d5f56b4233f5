"""Runs the benchmarks one after the other, keeps their results, and says how far they moved since the last ones.

    python benchmarks/all.py                   # make bench
    python benchmarks/all.py decode evaluation

Five are left out: gpu.py, which `make gpu-check` runs, accuracy.py, which trains for hours, calibration.py and
single_images.py, which read what that left, and coverage.py, whose simulations say more the longer they take. Sizes are
small, so that the others take some ten minutes on two cores; each benchmark's own `--help` says how to run it long.
Results go to docs/results/NAME.json. A benchmark that cannot run here, fails or takes longer than its time is said in a
line, and its last result stays. Other work on the machine makes figures worse: repeat before believing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import NOT_POSSIBLE, RESULTS, ROOT, above_zero, compare

BENCHMARKS: dict[str, tuple[str, ...]] = {
    "evaluation": (),
    "board": ("--runs", "6", "--reported", "2", "--submits", "6"),
    "decode": ("--limit", "2", "--repeats", "2"),
    "cache": ("--images", "8"),
    "packs": ("--images", "64", "--repeats", "1"),
    "prepare": ("--images", "48", "192", "--pairs", "2"),
    "train_step": ("--size", "256", "128", "--batch", "8", "--rounds", "2"),
    "infer": ("--part", "exam", "notebook"),
    "engines": ("--images", "64", "--pairs", "1"),
    "neighbour": ("--seconds", "4", "--rounds", "1"),
    "scale": ("--rows", "20000", "--resamples", "20", "--runs", "2"),
}
"""Name → the arguments that make it small."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="where they lie and go")
    parser.add_argument("--timeout", type=above_zero, default=300, help="seconds for each")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    failed = False
    for name in options.names or BENCHMARKS:
        started = time.monotonic()
        print(f"{name} …", flush=True)
        outcome, lines = run(name, options.results / f"{name}.json", options.timeout)
        failed |= outcome.startswith("failed")
        print(f"{name}: {outcome}, {time.monotonic() - started:.0f} s", *lines, sep="\n", flush=True)
    return int(failed)


def run(name: str, kept: Path, timeout: float) -> tuple[str, list[str]]:
    """Runs one benchmark; its result replaces the last one where it ends well.

    Returns:
        How it ended, and the lines below: how far its figures moved, or the end of what it printed.
    """
    last: dict[str, Any] | None = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else None
    with tempfile.TemporaryDirectory() as folder:
        written, log = Path(folder) / "result.json", Path(folder) / "log.txt"
        command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *BENCHMARKS[name], "--json", str(written)]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": path},
                start_new_session=True,
            )  # fmt: skip
            code = None
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                pass
            finally:
                if code is None:  # with the processes that it started
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        printed = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if code == NOT_POSSIBLE:
            return printed[-1], []
        if code is None:
            return f"failed: no end within {timeout:.0f} s", [f"  {line}" for line in printed[-3:]]
        if code or not written.exists():
            return f"failed with exit code {code}", [f"  {line}" for line in printed[-3:]]
        result = json.loads(written.read_text(encoding="utf-8"))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(written.read_text(encoding="utf-8"), encoding="utf-8")
    if last is None:
        return "measured for the first time", [f"  {line}" for line in printed]
    return f"measured, the last time {last['date']} at {last['commit']}", compare(last, result)


if __name__ == "__main__":
    sys.exit(main())
