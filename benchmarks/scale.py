"""What tables of up to 10^7 rows cost, step by step from the table to the leaderboard: seconds and peak memory.

    python benchmarks/scale.py [--rows N …] [--steps NAME …] [--files N] [--resamples N] [--runs N] [--json FILE]

Draws a screening archive of so many images: patients of one to four exams, four views each, one breast of a hundred
with cancer, eight machines. Its table names as many empty files as there are rows, at most --files; of more rows
several share one. Each step runs in a process of its own. `cpu_s` is the step alone, in seconds of a processor, without
reading what the steps before it left; `peak_mib` is the most memory (resident) that its process ever held, with that,
Python and the libraries; `read_mib` what it held when the step began. Bootstraps draw --resamples: their seconds follow
it. Files lie on a local disk: on one that is reached by a network, each that is looked at adds a round trip.

Steps: table (`train.csv` → checked image table), parquet (the same from Parquet), hash (dataset and preprocessing
hash), folds (made, hashed and written), read_folds (read back and held against the table), examples (images, breasts,
compared breasts), learn (labels and table inputs as the loaders hold them), plain, balanced and spread (the order of
one epoch), draws (of one epoch: every position's example and seed), cache (the names of all prepared images), oof (a
run opened, its predictions read), evaluate, bootstrap, slices, leaderboard (of --runs runs).
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import at_least, parser_of, write_result
from scale_archive import CACHE, DRAWN, DRAWS, FRAME, PARQUET, RUNS, SET, image_table

BATCH = 64


def main() -> None:
    """Measures each size, prints, and writes the figures where asked."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=at_least(1), nargs="+", default=[50_000], help="rows of the tables")
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=list(STEPS), metavar="NAME")
    parser.add_argument("--files", type=at_least(1), default=500_000, help="files that tables name at most")
    parser.add_argument("--resamples", type=at_least(0), default=200, help="bootstrap resamples")
    parser.add_argument("--runs", type=at_least(1), default=2, help="runs on the leaderboard")
    parser.add_argument("--folder", type=Path, help="where tables are drawn; kept, and used again")
    parser.add_argument("--run-step", metavar="NAME", help="one step, in this process and this --folder")
    options = parser.parse_args()
    if options.run_step:
        print(json.dumps(run_step(options.run_step, options.folder, options)))
        return
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for rows in options.rows:
            folder = (options.folder or Path(temporary)) / str(rows)
            folder.mkdir(parents=True, exist_ok=True)
            for step in options.steps:
                for part in (FRAME, *NEEDS.get(step, ())):
                    if not (folder / part).exists():
                        started(options, part, folder, rows)
                measured = {"rows": f"{rows:,}", "step": step} | started(options, step, folder, rows)
                found.append(measured)
                print("  ".join(f"{key} {value}" for key, value in measured.items()), flush=True)
                write_result(options.json, {"resamples": options.resamples, "runs": options.runs, "steps": found})


def started(options: Any, step: str, folder: Path, rows: int) -> dict[str, Any]:
    """A step in a fresh process; this one stays small, since a child counts its parent's memory as its own first."""
    command = [sys.executable, __file__, "--run-step", step, "--folder", str(folder)]
    for name in ("files", "resamples", "runs"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(f"{step} of {rows:,} rows ended with exit code {done.returncode}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def run_step(name: str, folder: Path, options: Any) -> dict[str, Any]:
    """Figures of one step; none of what draws a part of the archive."""
    if name in DRAWS:
        DRAWS[name](folder, options)
        return {}
    work = STEPS[name](folder, options)
    read = peak_mib()
    begin = time.process_time()
    work()
    return {
        "cpu_s": round(time.process_time() - begin, 2),
        "peak_mib": round(peak_mib()),
        "read_mib": round(read),
    }


def peak_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# The steps: what is read first, outside of the clock, and the work


def table(folder: Path, options: Any) -> Callable[[], object]:
    from rsna.dataset.source import load_table

    return lambda: load_table(folder / SET)


def parquet(folder: Path, options: Any) -> Callable[[], object]:
    from rsna.dataset.table import check_frame, read_rows

    return lambda: check_frame(read_rows(folder / PARQUET, []), PARQUET)


def hashes(folder: Path, options: Any) -> Callable[[], object]:
    from rsna.config.data import PreprocessSettings
    from rsna.prepare.hashing import preprocessing_hash

    table = image_table(folder)
    return lambda: (table.hash, preprocessing_hash(PreprocessSettings()))


def folds(folder: Path, options: Any) -> Callable[[], object]:
    from rsna.config.data import FoldSettings
    from rsna.dataset.folds import folds_for, folds_hash, write_folds

    frame = image_table(folder).frame

    def work() -> None:
        made = folds_for(frame, FoldSettings(), [])
        folds_hash(made)
        write_folds(made, folder / "folds.csv")

    return work


def read_folds(folder: Path, options: Any) -> Callable[[], object]:
    from rsna.dataset.folds import load_folds

    frame = image_table(folder).frame
    return lambda: load_folds(folder / RUNS / "run0" / "folds.csv", frame, [])


def examples(folder: Path, options: Any) -> Callable[[], object]:
    from rsna.dataset.examples import examples_of

    frame = image_table(folder).frame

    def work() -> None:
        for unit, compare in (("image", False), ("breast", False), ("breast", True)):
            examples_of(unit, frame, compare=compare)

    return work


def learn(folder: Path, options: Any) -> Callable[[], object]:
    from rsna.dataset.examples import examples_of
    from rsna.dataset.table_inputs import learn_inputs, read_inputs
    from rsna.dataset.targets import get_targets

    found = examples_of("image", image_table(folder).frame)
    names = ("age", "implant", "view", "machine_id")
    targets = get_targets(("cancer", "density", "view"))
    return lambda: (found.labels(targets), read_inputs(learn_inputs(names, found.images), found.images))


def epoch(kind: str, spread: str = "none") -> Callable[[Path, Any], Callable[[], object]]:
    """The order of one epoch of examples that are images."""

    def step(folder: Path, options: Any) -> Callable[[], object]:
        from rsna.config.training import SamplerSettings
        from rsna.dataset.examples import examples_of
        from rsna.training.data.batch import plan_batch
        from rsna.training.data.module import kinds_of
        from rsna.training.data.sampler import make_order

        found = examples_of("image", image_table(folder).frame)
        settings = SamplerSettings(kind=kind, spread=spread)
        plan = plan_batch(BATCH, BATCH, 1)
        return lambda: make_order(found.positive, settings, 0, plan, kinds_of(found, settings)).indices(0)

    return step


def draws(folder: Path, options: Any) -> Callable[[], object]:
    import numpy as np

    from rsna.training.data.batch import plan_batch
    from rsna.training.data.sampler import EpochSampler, ShuffledOrder

    sampler = EpochSampler(ShuffledOrder(np.arange(int(folder.name)), 0, BATCH), plan_batch(BATCH, BATCH, 1), 0, 0)
    return lambda: sum(map(len, sampler))


def cache(folder: Path, options: Any) -> Callable[[], object]:
    from rsna.prepare.cache import Cache

    return lambda: set(Cache(folder / CACHE))


def oof(folder: Path, options: Any) -> Callable[[], object]:
    from rsna.runs.run import open_run

    return lambda: open_run(folder / RUNS / "run0").oof()


def evaluated(resamples: bool) -> Callable[[Path, Any], Callable[[], object]]:
    """Metrics of predictions, with or without intervals."""

    def step(folder: Path, options: Any) -> Callable[[], object]:
        import pandas as pd

        from rsna.evaluation.evaluate import evaluate

        predictions = pd.read_pickle(folder / DRAWN)
        return lambda: evaluate(predictions, resamples=options.resamples if resamples else 0)

    return step


def sliced(folder: Path, options: Any) -> Callable[[], object]:
    import pandas as pd

    from rsna.evaluation.evaluate import evaluate
    from rsna.evaluation.slices import slices

    evaluation = evaluate(pd.read_pickle(folder / DRAWN), resamples=0)
    return lambda: slices(evaluation, resamples=options.resamples)


def board(folder: Path, options: Any) -> Callable[[], object]:
    from rsna.board.leaderboard import leaderboard
    from rsna.runs.run import find_runs
    from rsna.runs.schema import CV, RESAMPLED

    def work() -> None:
        for file in (folder / RUNS).glob(f"*/{CV}/{RESAMPLED}"):
            file.unlink()
        leaderboard(find_runs(folder / RUNS)[0], options.resamples)

    return work


STEPS: dict[str, Callable[[Path, Any], Callable[[], object]]] = {
    "table": table,
    "parquet": parquet,
    "hash": hashes,
    "folds": folds,
    "read_folds": read_folds,
    "examples": examples,
    "learn": learn,
    "plain": epoch("plain"),
    "balanced": epoch("balanced"),
    "spread": epoch("balanced", "machine_id"),
    "draws": draws,
    "cache": cache,
    "oof": oof,
    "evaluate": evaluated(resamples=False),
    "bootstrap": evaluated(resamples=True),
    "slices": sliced,
    "leaderboard": board,
}
"""Name → what reads what a step needs, and returns the step."""

NEEDS = {
    "table": [SET],
    "parquet": [SET],
    "read_folds": [RUNS],
    "oof": [RUNS],
    "evaluate": [DRAWN],
    "bootstrap": [DRAWN],
    "slices": [DRAWN],
    "leaderboard": [RUNS],
}
"""Step → what it needs beside the image table."""


if __name__ == "__main__":
    main()
