"""One rank of a fold, started by torchrun: ``python -m rsna.training.worker FOLD_FOLDER FOLD``."""

import os
import sys
import threading
from pathlib import Path

from rsna.dataset.folds import load_folds
from rsna.dataset.source import load_data
from rsna.runs.run_directory import read_config
from rsna.runs.schema import FOLDS
from rsna.training import ranks
from rsna.training.data.fold import cache_for, fold_data
from rsna.training.fit import fit_fold


def main(folder: Path, fold: int) -> None:
    """Reads what the launching process wrote and trains."""
    config = read_config(folder / "config.yaml")
    table = load_data(config.data)
    folds = load_folds(folder.parent / FOLDS, table.frame)
    with ranks.joined():
        fit_fold(config, fold, folder, fold_data(config, table, folds, fold, cache_for(config, table)))


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
        # The project's own errors say what, where and how to mend; a traceback would bury them.
        print(f"rank {ranks.rank()}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
