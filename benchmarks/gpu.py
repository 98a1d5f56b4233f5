"""Everything that only a GPU can show, in one command: does it work, how fast, in how much memory.

    make gpu-check                                    # writes docs/results/gpu.json
    python benchmarks/gpu.py --only resume table      # some items

Trains, predicts out of fold, resumes after a kill, infers; bf16, fp16, 32 bits, compilation, gradient checkpointing, a
moving average, SyncBN, two ranks, memory that runs out, a GPU that is lost; then images per second as a ratio to a
bare loop, and peak memory. One line an item: pass, fail, or why it is not possible here. At most eight minutes. Needs
no data and no network; what is missing beside torch, timm and Lightning is carried by `make gpu-wheels`. Without a GPU
it runs on the CPU what a CPU can show, on tiny images: its figures then mean nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common import ROOT, above_zero, not_possible, parser_of, write_result
from gpu_wheels import CARRIED

THERE = (
    "torch", "timm", "pytorch_lightning", "numpy", "pandas", "cv2", "pyarrow", "yaml", "safetensors", "sklearn",
    "scipy", "PIL", "filelock",
)  # fmt: skip
"""Modules that the machine itself has to have."""


@dataclass(frozen=True)
class Item:
    """One line of the result."""

    lane: str
    """Items of a lane share a process, one after the other, as long as it lives."""
    seconds: float
    """After which it is ended, and the next one gets a new process."""


BACKBONES = ("efficientnet_b3", "efficientnet_b5", "convnext_small")
ROWS = [f"table:{backbone}:{rows}" for rows in (1024, 2048) for backbone in BACKBONES]
"""Backbone and rows of the images; columns are half as many."""
ITEMS = {
    "bf16": Item("train", 90),
    "fp32": Item("train", 40),
    "fp16": Item("train", 40),
    "options": Item("train", 60),
    "breasts": Item("train", 60),
    "fused": Item("train", 20),
    "resume": Item("apart", 150),
    "infer": Item("apart", 100),
    "ranks": Item("apart", 100),
    "syncbn": Item("apart", 100),
    "memory": Item("apart", 60),
    "lost": Item("apart", 60),
    **dict.fromkeys(ROWS, Item("table", 75)),
    "compile": Item("compile", 150),
}
STAGES = (("train", "apart"), ("table",), ("compile",))
"""Lanes that run side by side, since most of their time is not the GPU's; the table is measured alone. What takes
longest and is needed least comes last."""
START_S = 60
"""Seconds that a process may take to import torch and this package."""
OVER = "not possible here: the time was over"


@dataclass
class Report:
    """What is known so far; both lanes write into it."""

    json: Path | None
    deadline: float
    started: float = field(default_factory=time.monotonic)
    about: dict[str, Any] = field(default_factory=dict)
    items: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, outcome: str) -> None:
        """Prints the line of an item, and writes all of them."""
        with self.lock:
            if name in ROWS:
                row = self._row(name)
                measured = ", ".join(f"{key} {value}" for key, value in row.items() if key not in ("backbone", "size"))
                if outcome.startswith("pass"):
                    outcome = f"pass: {measured}"
                else:
                    row["failed"] = outcome
                    outcome = f"{outcome}; {measured or 'nothing measured'}"
            else:
                self.items[name] = outcome
            print(f"{time.monotonic() - self.started:5.0f} s  {name:<8} {outcome}", flush=True)
            self._write()

    def measured(self, name: str, part: dict[str, Any]) -> None:
        """Keeps what is known of a row whose measurement goes on."""
        with self.lock:
            self._row(name).update(part)

    def _row(self, name: str) -> dict[str, Any]:
        _, backbone, rows = name.split(":")
        return self.rows.setdefault(name, {"backbone": backbone, "size": [int(rows), int(rows) // 2]})

    def finish_table(self) -> None:
        """The line of all rows."""
        ends = [row.get("failed", "pass").split(":")[0] for row in self.rows.values()]
        if ends:
            worst = next(end for end in ("fail", "not possible here", "pass") if end in ends)
            self.add("table", f"{worst}: {ends.count('pass')} of {len(ends)} rows")

    def _write(self) -> None:
        if "gpu" not in self.about:
            return  # what a CPU showed must not stand where a GPU's result is kept
        result = {"items": self.items, "table": list(self.rows.values())}
        write_result(self.json, result, **{key: value for key, value in self.about.items() if key != "event"})


class Worker:
    """A process that works through items and says how each ended."""

    def __init__(self, names: list[str], folder: Path, log: Path) -> None:
        environment = os.environ | {
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        }
        command = [sys.executable, str(ROOT / "benchmarks" / "gpu_items.py"), str(folder), *names]
        self.log = log
        with log.open("a", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=file, encoding="utf-8", env=environment, cwd=ROOT,
                start_new_session=True,
            )  # fmt: skip
        self.events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.put(json.loads(line))
        self.events.put(None)

    def next(self, until: float) -> dict[str, Any] | None:
        """The next event; None once the process is over.

        Raises:
            queue.Empty: There was none until then.
        """
        return self.events.get(timeout=max(until - time.monotonic(), 0.01))

    def end(self) -> None:
        """Ends it, and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def why_over(self) -> str:
        """How a process ended that says no more."""
        code = self.process.wait()
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"the process ended with code {code}: {lines[-1][:200] if lines else 'it said nothing'}"


def run_lane(names: list[str], folder: Path, log: Path, report: Report) -> None:
    """Runs items in one process; where it dies, or an item takes too long, the rest gets another one."""
    waiting = list(names)
    while waiting:
        if time.monotonic() > report.deadline - 5:
            for name in waiting:
                report.add(name, OVER)
            return
        worker = Worker(waiting, folder, log)
        until = time.monotonic() + START_S
        try:
            while waiting:
                event = worker.next(min(until, report.deadline))
                if event is None:
                    report.add(waiting.pop(0), f"fail: {worker.why_over()}")
                    break
                if event["event"] == "started":
                    report.about.update(event)
                elif event["event"] == "measured":
                    report.measured(event["item"], event["part"])
                    continue
                elif event["event"] == "ended":
                    report.add(waiting.pop(0), event["outcome"])
                until = time.monotonic() + (ITEMS[waiting[0]].seconds if waiting else 0)
        except queue.Empty:
            over = time.monotonic() >= report.deadline
            report.add(waiting.pop(0), OVER if over else "fail: it took longer than it may")
        finally:
            worker.end()


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", metavar="ITEM", help=f"of {', '.join(_names())}")
    parser.add_argument("--minutes", type=above_zero, default=7.75, help="after which everything is ended")
    parser.add_argument("--log", type=Path, metavar="DIR", help="keep what the processes printed in this folder")
    options = parser.parse_args()
    if unknown := set(options.only or ()) - set(_names()):
        parser.error(f"no such item: {', '.join(sorted(unknown))}; there are {', '.join(_names())}")
    if missing := [module for module in THERE if find_spec(module) is None]:
        raise not_possible(f"{', '.join(missing)} cannot be imported, and must be the machine's own")
    if missing := [package for package, module in CARRIED.items() if find_spec(module) is None]:
        raise not_possible(f"{', '.join(missing)} are missing; `make gpu-wheels` fetches them where there is a network")
    wanted = [name for name in ITEMS if not options.only or name.split(":")[0] in options.only]
    report = Report(options.json, time.monotonic() + 60 * options.minutes)
    with tempfile.TemporaryDirectory() as folder:
        logs = options.log or Path(folder)
        logs.mkdir(parents=True, exist_ok=True)
        for lanes in STAGES:
            threads = [
                threading.Thread(target=run_lane, args=(names, Path(folder), logs / f"{lane}.txt", report))
                for lane in lanes
                if (names := [name for name in wanted if ITEMS[name].lane == lane])
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if "table" in lanes:
                report.finish_table()
    print(f"on {report.about.get('gpu') or 'no GPU: the CPU showed what it can, on tiny images; no result is written'}")
    return int(any(outcome.startswith("fail") for outcome in report.items.values()))


def _names() -> list[str]:
    return list(dict.fromkeys(name.split(":")[0] for name in ITEMS))


if __name__ == "__main__":
    sys.exit(main())
