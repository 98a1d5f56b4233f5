"""Many prepared images in few files: how fast each way is written and read in random order; a table in docs/cache.md.

    python benchmarks/packs.py [--data DIR] [--images 1024] [--size 1024 512] [--json FILE]

DIR holds DICOM files at any depth; their prepared images, each rolled by another number of rows, make as many as are
asked for. Each way is read by a DataLoader with two processes, in one order that the benchmark chooses: warm from the
page cache, and cold, after the system was asked to forget the files. The first batch counts from opening the pack, its
library's import included (torch's is not). Then a writer is killed in the middle, and one byte of an image is changed.
Libraries that are not installed are left out: pip install '.[bench]'.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from common import at_least, dicom_files, parser_of, write_result
from packs_ways import WAYS

from rsna.config.data import PreprocessSettings
from rsna.prepare import tiff
from rsna.prepare.cache import Cache, Entry
from rsna.prepare.image import prepare_image

BATCH = 16

COLUMNS = {
    "way": "way",
    "files": "files",
    "mib": "MiB",
    "write_s": "write, s",
    "warm_images_per_s": "warm, images/s",
    "cold_images_per_s": "cold, images/s",
    "fetch_us": "CPU for the bytes, µs an image",
    "cpu_ms": "CPU with decoding, ms",
    "first_batch_s": "first batch, s",
    "killed": "a killed writer",
    "changed": "a changed byte",
}
"""Figure → its heading."""


def write_sources(folder: Path, data: Path | None, settings: PreprocessSettings, n: int) -> Cache:
    """A cache of ``n`` images, made of what ``data`` holds, no two with equal pixels."""
    cache = Cache.create(folder, "benchmark", settings)
    prepared = [prepare_image(path, settings) for path in dicom_files(data, 64)]
    for number in range(n):
        pixels, geometry = prepared[number % len(prepared)]
        rolled = np.roll(pixels, number // len(prepared), axis=0)
        cache.write(f"{number:08d}", rolled, Entry(f"{number}-0", geometry))
    cache.write_index(cache.entries())
    return cache


class Drawn:
    """Images by their place, decoded; each process opens the pack for itself, as file positions are shared by forks."""

    def __init__(self, way: Any, out: Path) -> None:
        self.way, self.out, self.held = way, out, (0, None)

    def __getitem__(self, place: int) -> int:
        if self.held[0] != os.getpid():
            self.held = (os.getpid(), self.way.open(self.out)[1])
        return int(tiff.decode(self.held[1](place))[0, 0])


def read(way: Any, out: Path) -> dict[str, float]:
    """Reads everything once through a loader of two processes."""
    from torch.utils.data import DataLoader

    started = time.perf_counter()
    if hasattr(way, "stream"):
        dataset = way.stream(out).map(lambda content: int(tiff.decode(content)[0, 0]))
        loader = DataLoader(dataset, batch_size=BATCH, num_workers=2)
    else:
        order = list(range(way.open(out)[0]))
        random.Random(0).shuffle(order)
        loader = DataLoader(Drawn(way, out), batch_size=BATCH, sampler=order, num_workers=2)  # type: ignore[arg-type]
    first, seen = 0.0, 0
    for batch in loader:
        first = first or time.perf_counter()
        seen += len(batch)
    ended = time.perf_counter()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # the loader's processes, which have ended
    return {
        "images_per_s": (seen - BATCH) / (ended - first),
        "first_batch_s": first - started,
        "cpu_ms": (used.ru_utime + used.ru_stime) / seen * 1000,
    }


def fetch(way: Any, out: Path) -> dict[str, float]:
    """Processor time of one process for the bytes of an image, not decoded, the least of five rounds in random order.

    Other work on the machine, which makes everything else here slower, hardly changes it.
    """
    n, content = way.open(out)
    order = random.Random(0).sample(range(n), n)
    rounds = []
    for _ in range(5):
        started = time.process_time()
        for place in order:
            content(place)
        rounds.append(time.process_time() - started)
    return {"fetch_us": min(rounds) / n * 1e6}


def check(way: Any, out: Path, source: list[Path]) -> str:
    """What a reader sees of what is there."""
    try:
        n, content = getattr(way, "checked", way.open)(out)
        for place in range(n):
            if content(place) not in (source[place].read_bytes(), None):
                return "other bytes, without a word"
    except BaseException as error:
        return f"refused: {type(error).__name__}"
    return "whole" if n == len(source) else f"opens as a whole set of {n}" if n else "refused: nothing in it"


def child(work: str, way: str, source: Path, out: Path) -> dict[str, Any]:
    """What this script does in a process of its own, for the figures of one library not to hold another's imports."""
    command = [sys.executable, __file__, "--child", work, way, str(source), str(out)]
    environment = os.environ | {"TMPDIR": str(out.parent)}  # some write there first
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{way}, {work}: {done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def work_of_child(work: str, way: Any, source: Path, out: Path) -> dict[str, Any]:
    files = sorted(source.iterdir())
    if work == "write":
        started = time.perf_counter()
        way.write(files, out)
        return {"write_s": time.perf_counter() - started}
    if work == "check":
        return {"found": check(way, out, files)}
    return read(way, out) if work == "read" else dict(fetch(way, out))


def bytes_in(folder: Path) -> Iterator[int]:
    """Sizes of the files in a folder and below; a writer may be at work there."""
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if file.is_file():
                yield file.stat().st_size


def forget(folder: Path) -> None:
    """Asks the system to drop what it holds of the files in memory."""
    os.sync()
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def kill_in_the_middle(way: str, source: Path, out: Path, half: float) -> str:
    """Kills a writer once half is written, and says what a reader sees."""
    out.mkdir()
    command = [sys.executable, __file__, "--child", "write", way, str(source), str(out)]
    null = subprocess.DEVNULL
    environment = os.environ | {"TMPDIR": str(out.parent)}
    writer = subprocess.Popen(command, stdout=null, stderr=null, start_new_session=True, env=environment)
    while writer.poll() is None and sum(bytes_in(out)) < half:
        time.sleep(0.002)
    ended = writer.poll() is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(writer.pid, signal.SIGKILL)
    writer.wait()
    return "ended before it was killed" if ended else str(child("check", way, source, out)["found"])


def change_a_byte(way: str, source: Path, out: Path) -> str:
    """Changes a byte of one image, and says what a reader sees."""
    files = sorted(source.iterdir())
    wanted = files[len(files) // 2].read_bytes()[-1000:-900]  # of its pixels, wherever it lies
    for file in (file for file in out.rglob("*") if file.is_file()):
        content = bytearray(file.read_bytes())
        if (place := content.find(wanted)) >= 0:
            content[place] ^= 1
            file.write_bytes(content)
            return str(child("check", way, source, out)["found"])
    return "not tried: it is kept in other bytes"


def measure(way: str, source: Path, folder: Path, repeats: int) -> dict[str, Any]:
    """Every figure of one way."""
    out = folder / "out"
    writes = []
    for _ in range(repeats):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        writes.append(child("write", way, source, out)["write_s"])
    sizes = list(bytes_in(out))
    reads: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(repeats):
        forget(out)
        for state in reads:
            reads[state].append(child("read", way, source, out))
    found: dict[str, Any] = {
        "way": f"{way} {version(WAYS[way].package)}" if WAYS[way].package else way,
        "files": len(sizes),
        "mib": round(sum(sizes) / 2**20, 1),
        "write_s": round(min(writes), 2),
    }
    for state, runs in reads.items():
        found[f"{state}_images_per_s"] = round(max(run["images_per_s"] for run in runs))
    found["fetch_us"] = round(child("fetch", way, source, out)["fetch_us"])
    found["cpu_ms"] = round(min(run["cpu_ms"] for run in reads["warm"]), 2)
    found["first_batch_s"] = round(min(run["first_batch_s"] for run in reads["warm"]), 2)
    found["killed"] = kill_in_the_middle(way, source, folder / "killed", sum(sizes) / 2)
    found["changed"] = change_a_byte(way, source, out)
    shutil.rmtree(out)
    shutil.rmtree(folder / "killed")
    return found


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        work, way, source, out = sys.argv[2:]
        print(json.dumps(work_of_child(work, WAYS[way], Path(source), Path(out))))
        return
    parser = parser_of(__doc__, data=True)
    parser.add_argument("--images", type=at_least(1), default=1024)
    parser.add_argument("--size", type=at_least(1), nargs=2, default=(1024, 512), help="rows and columns, pixels")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--repeats", type=at_least(1), default=3, help="the best of how many counts")
    parser.add_argument("--scratch", type=Path, help="folder on the disk that is measured")
    options = parser.parse_args()
    settings = PreprocessSettings(size=tuple(options.size))
    print(f"{options.images} images, {settings.size[0]}×{settings.size[1]}\n")
    print("| " + " | ".join(COLUMNS.values()) + " |\n|---" + "|---:" * (len(COLUMNS) - 3) + "|---|---|")
    rows = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        source = write_sources(Path(folder) / "cache", options.data, settings, options.images).directory / "images"
        for way in options.ways:
            if WAYS[way].needs and not find_spec(WAYS[way].needs):
                print(f"| {way} | not installed |", flush=True)
                continue
            row = measure(way, source, Path(folder), options.repeats)
            rows.append(row)
            print("| " + " | ".join(str(row[name]) for name in COLUMNS) + " |", flush=True)
            write_result(options.json, {"images": options.images, "size": list(settings.size), "ways": rows})


if __name__ == "__main__":
    main()
