"""`rsna prepare` at length: processes beside one another, images a run, and the memory of a worker.

    python benchmarks/prepare.py [--data DIR] [--images 100 1000 10000] [--json FILE]

The files of the folder stand in the table again and again, under new ids, until it has the wanted length: into a cache
of 1024×512 at 8 bits. Times are by the clock, worker start included, files warm in memory. Memory is the largest
resident size that any worker reached, on the largest file of the folder.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from common import at_least, dicom_files, parser_of, write_result

from rsna.config.data import PreprocessSettings
from rsna.prepare.cache import Cache
from rsna.prepare.source import open_image
from rsna.prepare.table import prepare_table


def prepare(paths: list[Path], count: int, workers: int, *, full_resolution: bool = False) -> float:
    """Seconds to prepare a table of `count` rows into a cache that is thrown away."""
    settings = PreprocessSettings(size=(1024, 512), bits=8, full_resolution=full_resolution)
    rows = [(str(number), str(paths[number % len(paths)])) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache.create(folder, "benchmark", settings)
        table = pd.DataFrame(rows, columns=["image_id", "path"])
        report = prepare_table(table, settings, cache, workers=workers)
    if len(report.failures):
        raise SystemExit(report.failures.to_string())
    return report.seconds


def worker_mebibytes(path: Path, full_resolution: bool) -> float:
    """Of a worker that prepares one file three times; a process of its own, since a peak never falls."""
    command = [sys.executable, __file__, "--data", str(path), "--peak", *(["--full"] if full_resolution else [])]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main() -> None:
    """Print three small tables."""
    parser = parser_of(__doc__, data=True)
    parser.add_argument(
        "--images", type=at_least(1), nargs="+", default=[100, 1000, 10000], help="lengths of the table"
    )
    parser.add_argument("--pairs", type=at_least(1), default=3, help="runs of one process and of two, taking turns")
    parser.add_argument("--peak", action="store_true", help="print the MiB of a worker that prepares the file DATA")
    parser.add_argument("--full", action="store_true", help="with --peak: at full size")
    options = parser.parse_args()
    if options.peak:
        prepare([options.data], 3, 1, full_resolution=options.full)
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
        return
    paths = dicom_files(options.data)
    largest = max(paths, key=lambda path: open_image(path).size)
    rows, columns = open_image(largest).size
    print(f"{len(paths)} files, {len(os.sched_getaffinity(0))} cores\n")
    sizes = [worker_mebibytes(largest, full) for full in (False, True)]
    print(f"worker on {rows}×{columns}: {sizes[0]:.0f} MiB, with full_resolution=true {sizes[1]:.0f} MiB\n")

    count = options.images[0]
    prepare(paths, len(paths), 2)  # which warms the files
    print(f"{'processes':>9} {'images/s':>9}")
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(options.pairs):
        for workers, rate in rates.items():
            rate.append(count / prepare(paths, count, workers))
            print(f"{workers:>9} {rate[-1]:>9.2f}", flush=True)
    gain = max(rates[2]) / max(rates[1])
    print(f"two processes: {gain:.2f} × one\n")

    print(f"{'images':>9} {'images/s':>9} {'ms/image':>9}")
    lengths = []
    for count in options.images:
        seconds = prepare(paths, count, 2)
        lengths.append({"table": f"{count} images", "ms_per_image": round(1000 * seconds / count, 1)})
        print(f"{count:>9,} {count / seconds:>9.2f} {1000 * seconds / count:>9.1f}", flush=True)
    found = {
        "files": len(paths),
        "worker_mib": round(sizes[0]),
        "worker_full_resolution_mib": round(sizes[1]),
        "one_process_images_per_s": round(max(rates[1]), 2),
        "two_processes_images_per_s": round(max(rates[2]), 2),
        "two_processes_ratio": round(gain, 2),
        "lengths": lengths,
    }
    write_result(options.json, found)


if __name__ == "__main__":
    main()
