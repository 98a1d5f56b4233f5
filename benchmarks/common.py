"""What the benchmarks share: the machine, files to measure on, results as JSON, and how far they moved."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # of a checkout that is not installed

# It chooses how the threads of torch wait, for this process and those that it starts.
from rsna.cores import available_cores  # noqa: E402

RESULTS = ROOT / "docs" / "results"
NOT_POSSIBLE = 3
"""Exit code of a benchmark that this machine cannot run; the line that it printed says why."""
PACKAGES = (
    "numpy", "opencv-python-headless", "imagecodecs", "pillow", "pydicom", "torch", "timm", "pytorch-lightning",
    "onnxruntime", "openvino", "python-gdcm", "dicomsdl", "pylibjpeg-openjpeg", "pyarrow",
)  # fmt: skip
"""Whose versions a result names, where they are installed."""
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""What of the processor decides how fast networks are."""

_BETTER_WHEN_HIGHER = ("per_s", "share", "times", "ratio", "largest_batch")
_BETTER_WHEN_LOWER = ("_s", "_ms", "_mib", "_mb", "gib", "kib", "hours", "difference")
_NOTICED = 0.1
"""Share by which a figure has to be worse to be marked."""


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option: a whole number, no smaller; anything else argparse refuses in a line."""

    def read(text: str) -> int:
        if text.isdecimal() and int(text) >= least:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text} is no whole number ≥ {least}")

    return read


def above_zero(text: str) -> float:
    """The type of an option: a finite number > 0."""
    if (number := _finite(text)) > 0:
        return number
    raise argparse.ArgumentTypeError(f"{text} is no number > 0")


def from_zero(text: str) -> float:
    """The type of an option: a finite number ≥ 0."""
    if (number := _finite(text)) >= 0:
        return number
    raise argparse.ArgumentTypeError(f"{text} is no number ≥ 0")


def _finite(text: str) -> float:
    """The number, -1 where it is none."""
    with suppress(ValueError):
        return float(text) if math.isfinite(float(text)) else -1.0
    return -1.0


def parser_of(doc: str | None, *, data: bool = False) -> argparse.ArgumentParser:
    """A parser whose help is the module's docstring, with ``--json`` and, where it is wanted, ``--data``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    if data:
        parser.add_argument(
            "--data", type=Path, metavar="DIR",
            help="folder with DICOM files, searched through; default $RSNA_TEST_DATA/rsna, else simulated files",
        )  # fmt: skip
    return parser


def dicom_files(folder: Path | None, limit: int | None = None) -> list[Path]:
    """DICOM files below a folder, else below the default one; of more than ``limit``, as many, evenly spread.

    Raises:
        SystemExit: There are none.
    """
    folder = folder or default_folder()
    paths = sorted(folder.rglob("*.dcm"))
    if not paths:
        raise SystemExit(f"{folder} holds no *.dcm; name another folder with --data")
    return paths if limit is None else spread(paths, limit)


def spread(paths: list[Path], limit: int) -> list[Path]:
    """All of them, or ``limit`` that lie evenly among them."""
    return paths if len(paths) <= limit else [paths[i * len(paths) // limit] for i in range(limit)]


def default_folder() -> Path:
    """``$RSNA_TEST_DATA/rsna``; without it a small simulated set, which is written to ``data/benchmark`` once."""
    real = os.environ.get("RSNA_TEST_DATA")
    if real and (Path(real) / "rsna").is_dir():
        return Path(real) / "rsna"
    from rsna.demo import DemoSettings, write_demo

    folder = ROOT / "data" / "benchmark"
    write_demo(folder, DemoSettings(n_train=9, n_test=1))
    return folder


def not_possible(why: str) -> SystemExit:
    """What a benchmark raises that cannot run here; ``why`` says how to mend it."""
    print(f"not possible here: {why}")
    return SystemExit(NOT_POSSIBLE)


def machine() -> dict[str, Any]:
    """Processor, cores that may be used, memory, and versions of what the time is spent in."""
    info = _cpu_info()
    flags = info.get("flags", "").split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cpu": info.get("model name", platform.machine()),
        "cpu_flags": [flag for flag in FLAGS if flag in flags],
        "cores": available_cores(),
        "memory_gib": round(memory),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "packages": found,
    }


def _cpu_info() -> dict[str, str]:
    """Of the first processor, as Linux knows it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def commit() -> str | None:
    """The commit that was measured, with a ``+`` where files differ from it; None outside of a checkout."""
    head = _git("rev-parse", "--short", "HEAD")
    return f"{head}{'+' if _git('status', '--porcelain', '--untracked-files=no') else ''}" if head else None


def _git(*command: str) -> str:
    try:
        result = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    except OSError:
        return ""
    return result.stdout.strip()


def write_result(path: Path | None, result: Any, **more: Any) -> None:
    """Writes what was measured beside when, where and by which command; without a path, nothing.

    Args:
        path: Of the JSON file.
        result: Figures, named so that :func:`compare` knows which way is better: ``…_per_s``, ``…_ms``, ``…_gib``.
        more: Further facts about the machine.
    """
    if path is None:
        return
    arguments, json_is_next = [], False
    for argument in sys.argv[1:]:
        if not json_is_next and argument != "--json" and not argument.startswith("--json="):
            arguments.append(_without_home(argument))
        json_is_next = argument == "--json"
    about = {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments]),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine() | more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about | {"result": result}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _without_home(argument: str) -> str:
    """A folder of this machine means nothing on another one."""
    return "DIR" if Path(argument).is_absolute() else argument


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """(name, number) of every figure; rows of a list are named by their words and sizes."""
    if isinstance(value, dict):
        words = [str(part) for part in value.values() if isinstance(part, str)] if name.endswith("]") else []
        sizes = ["×".join(map(str, part)) for part in value.values() if _is_size(part)] if name.endswith("]") else []
        name = f"{name[: name.rindex('[')]}[{', '.join(words + sizes)}]" if words + sizes else name
        for key, part in value.items():
            yield from flatten(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and not _is_size(value):
        for number, part in enumerate(value):
            yield from flatten(part, f"{name}[{number}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, float(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, int) for part in value)


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """A line for each figure that both results have; what is more than a tenth worse is marked.

    Of other sizes or other files figures are others, which says nothing of the program: those are not compared.

    Args:
        old: As :func:`write_result` wrote it.
        new: The same, later.
    """
    if old["command"] != new["command"]:
        return [f"  not compared: the last time by {old['command']}, now by {new['command']}"]
    before, after = dict(flatten(old["result"])), dict(flatten(new["result"]))
    lines = []
    for key in ("cpu", "cores"):
        if old["machine"].get(key) != new["machine"].get(key):
            lines.append(f"  another machine: {old['machine'].get(key)} → {new['machine'].get(key)}")
    for name in after:
        direction = _direction(name)
        if name not in before or not direction or not before[name] or not after[name]:
            continue
        ratio = after[name] / before[name]
        worse = (1 / ratio if direction > 0 else ratio) > 1 + _NOTICED
        mark = "   ← worse" if worse else ""
        lines.append(f"  {name:<66} {before[name]:>10.4g} → {after[name]:<10.4g} {ratio:5.2f} ×{mark}")
    return lines


def _direction(name: str) -> int:
    """1 where more is better, -1 where less is, 0 where a figure only describes."""
    last = name.rsplit(".", 1)[-1]
    if any(part in last for part in _BETTER_WHEN_HIGHER):
        return 1
    return -1 if any(last.endswith(part) or last.startswith(part) for part in _BETTER_WHEN_LOWER) else 0
