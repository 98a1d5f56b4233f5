"""`rsna prepare` by engine: Ray on one node beside this machine's own processes, and two nodes beside one.

    python benchmarks/engines.py [--data DIR] [--images 256] [--pairs 3] [--json FILE]

The nodes are all on this machine, with a CPU each, so that two of them have what two processes have. The files of the
folder stand in the table again and again, under new ids, until it has the wanted length; each run fills a cache of its
own, of 1024×512 at 8 bits. The cluster and a worker on each of its nodes are started before the clock, as a cluster
that people share is: what that takes stands by itself. Ratios are of runs one after the other, the median of some
pairs: other work on the machine hits both sides, since Ray's processes have the niceness of the others here (by default
15, that is to say they stand back).
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from common import at_least, dicom_files, not_possible, parser_of, write_result

from rsna.config.data import PreprocessSettings
from rsna.parallel.cluster import Cluster
from rsna.prepare.cache import Cache
from rsna.prepare.table import prepare_table

SETTINGS = PreprocessSettings(size=(1024, 512), bits=8)


def prepare(paths: list[Path], count: int, **where: Any) -> float:
    """Images a second of a table of ``count`` rows, into a cache that is thrown away."""
    rows = [(str(number), str(paths[number % len(paths)])) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache.create(folder, "benchmark", SETTINGS)
        report = prepare_table(pd.DataFrame(rows, columns=["image_id", "path"]), SETTINGS, cache, **where)
    if len(report.failures):
        raise SystemExit(report.failures.to_string())
    return count / report.seconds


def main() -> int:
    parser = parser_of(__doc__, data=True)
    parser.add_argument("--images", type=at_least(1), default=256, help="rows of the table")
    parser.add_argument("--pairs", type=at_least(1), default=3, help="runs of each")
    options = parser.parse_args()
    try:
        from ray.cluster_utils import Cluster as Nodes
    except ModuleNotFoundError:
        raise not_possible("ray is not installed: pip install -e '.[cluster]'") from None
    paths, found = dicom_files(options.data), []
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  Ray's own spelling
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        started = time.monotonic()
        nodes = Nodes()
        try:
            nodes.add_node(num_cpus=1, object_store_memory=80 << 20, include_dashboard=False, temp_dir=folder)
            with Cluster(nodes.address) as cluster:
                prepare(paths, 2, cluster=cluster)
                start_s = time.monotonic() - started
                for _ in range(options.pairs):
                    found.append({"processes_1": prepare(paths, options.images, workers=1)})
                    found[-1]["ray_1"] = prepare(paths, options.images, cluster=cluster)
            nodes.add_node(num_cpus=1, object_store_memory=80 << 20)
            with Cluster(nodes.address) as cluster:
                for run in found:
                    prepare(paths, 16, cluster=cluster)
                    run["processes_2"] = prepare(paths, options.images, workers=2)
                    run["ray_2"] = prepare(paths, options.images, cluster=cluster)
        finally:
            nodes.shutdown()
    rates = {name: statistics.median(run[name] for run in found) for name in found[0]}
    ratios = {
        "ray_to_processes_ratio": statistics.median(run["ray_1"] / run["processes_1"] for run in found),
        "ray_to_processes_2_ratio": statistics.median(run["ray_2"] / run["processes_2"] for run in found),
        "two_nodes_to_one_ratio": statistics.median(run["ray_2"] / run["ray_1"] for run in found),
        "two_processes_to_one_ratio": statistics.median(run["processes_2"] / run["processes_1"] for run in found),
    }
    print(f"{options.images} images, median of {options.pairs}")
    for name, rate in rates.items():
        print(f"  {name:<28} {rate:6.1f} images/s")
    for name, ratio in ratios.items():
        print(f"  {name:<28} {ratio:6.2f}")
    print(f"  start of the cluster, first image {start_s:.0f} s")
    result = {f"{name}_per_s": round(rate, 2) for name, rate in rates.items()}
    result |= {name: round(ratio, 3) for name, ratio in ratios.items()}
    write_result(options.json, result | {"images": options.images, "start_s": round(start_s, 1)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
