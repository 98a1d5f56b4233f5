"""One rank of a fold, started by torchrun: ``python -m rsna.training.worker FOLD_FOLDER FOLD``."""

import os
import sys
import threading
from pathlib import Path

from rsna.prepare.cache import Cache
from rsna.runs.run_directory import read_config
from rsna.training import ranks
from rsna.training.data.fold import fold_data
from rsna.training.experiment import resolve
from rsna.training.fit import fit_fold
from rsna.training.launch import RANKS


def main(folder: Path, fold: int) -> None:
    """Reads what the launching process wrote and trains."""
    with ranks.joined():
        experiment = resolve(read_config(folder / RANKS))
        config, table = experiment.config, experiment.table
        cache = Cache.create(config.cache_dir, table.name, config.preprocess)
        fit_fold(experiment, fold, folder, fold_data(experiment, fold, cache))


def _end_with_launcher() -> None:
    """Standard input is a pipe that the launching process never writes to; it ends when that process does."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    except Exception as error:
        if not (type(error).__module__.startswith("rsna.") or isinstance(error, OSError)):
            raise
        # The project's own errors say what, where and how to mend; a traceback would hide them.
        print(f"rank {ranks.rank()}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
