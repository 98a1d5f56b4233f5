"""The screening archive that `benchmarks/scale.py` measures: its files, tables, predictions and runs.

Whatever is drawn goes below the folder of a size, which is named by its number of rows, and draws the same each time.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from rsna.dataset.table import ImageTable

SET, PARQUET, FRAME, DRAWN = "set", "train.parquet", "frame.pkl", "predictions.pkl"
RUNS, CACHE = "runs", "cache/drawn/0123456789ab"
"""Below the folder of a size."""
FOLDS, POSITIVE = 4, 0.01


def image_table(folder: Path) -> "ImageTable":
    """The checked image table, as drawn."""
    import pandas as pd

    from rsna.dataset.table import ImageTable

    return ImageTable("drawn", folder / SET, pd.read_pickle(folder / FRAME))


def draw_frame(folder: Path, options: Any) -> None:
    """Files, and the checked image table."""
    import numpy as np

    from rsna.dataset.table import check_frame

    rows = int(folder.name)
    images = folder / CACHE / "images"
    images.mkdir(parents=True)
    names = [f"{10**9 + number}.tif" for number in range(min(rows, options.files))]
    for name in names:
        os.close(os.open(images / name, os.O_CREAT | os.O_WRONLY))
    frame = drawn(rows, np.random.default_rng(0))
    frame["path"] = [f"{images}/{names[number % len(names)]}" for number in range(rows)]
    check_frame(frame, "drawn").to_pickle(folder / FRAME)


def draw_tables(folder: Path, options: Any) -> None:
    """The table as people give it, in two formats."""
    from pyarrow import Table, csv, parquet

    given = Table.from_pandas(image_table(folder).frame.drop(columns="prediction_id"), preserve_index=False)
    (folder / SET).mkdir()
    with (folder / SET / "train.csv").open("wb") as file:
        file.write(f"{','.join(given.column_names)}\n".encode())  # which Arrow would put between quotes
        csv.write_csv(given, file, csv.WriteOptions(include_header=False, quoting_style="none"))
    parquet.write_table(given, folder / PARQUET)


def draw_predictions(folder: Path, options: Any) -> None:
    """Out-of-fold predictions of the first run."""
    import numpy as np

    from rsna.dataset.folds import make_folds

    frame = image_table(folder).frame
    predicted(frame, make_folds(frame, FOLDS)["fold"], np.random.default_rng([1, 0])).to_pickle(folder / DRAWN)


def draw_runs(folder: Path, options: Any) -> None:
    """Runs with all that training leaves but weights and checkpoints."""
    import numpy as np

    from rsna.config.schema import Config
    from rsna.config.settings import from_mapping
    from rsna.dataset.folds import folds_hash, make_folds
    from rsna.dataset.targets import get_targets
    from rsna.evaluation.evaluate import evaluate
    from rsna.prepare.hashing import preprocessing_hash
    from rsna.runs.run_directory import bind_run, fold_folder, write_results
    from rsna.runs.schema import CV, RunRecord

    table = image_table(folder)
    folds = make_folds(table.frame, FOLDS)
    for number in range(options.runs):
        run = folder / RUNS / f"run{number}"
        config = from_mapping(Config, {"name": run.name, "data": {"root": "nowhere", "name": "drawn"}, "fold": "all"})
        hashes = {
            "preprocessing": preprocessing_hash(config.preprocess), "folds": folds_hash(folds), "dataset": "0" * 12,
        }  # fmt: skip
        bind_run(run, config, folds, RunRecord.of(config, table, hashes, get_targets(("cancer",)), (), FOLDS))
        shared = {"checkpoint": config.checkpoint, "data": "drawn", "hashes": hashes}
        oof = predicted(table.frame, folds["fold"], np.random.default_rng([1, number]))
        for fold in range(FOLDS):
            write_results(fold_folder(run, fold), oof[oof["fold"] == fold], {**shared, "fold": fold})
        write_results(run / CV, oof, {"breasts": evaluate(oof, resamples=0).to_dict(), **shared})


def drawn(rows: int, rng: "np.random.Generator") -> "pd.DataFrame":
    """Columns of the competition's table, and exam_id; patients of one to four exams of four images."""
    import numpy as np
    import pandas as pd

    exams = -(-rows // 4)
    exam, breast = np.arange(rows) // 4, np.arange(rows) // 2
    patient = np.repeat(np.arange(exams), rng.integers(1, 5, exams))[exam]
    cancer = (rng.random(breast[-1] + 1) < POSITIVE).astype(np.int64)

    def among(values: list[Any], place: "np.ndarray[Any, Any]") -> "pd.Series[Any]":
        return pd.Series(values).take(place % len(values)).reset_index(drop=True)

    return pd.DataFrame(
        {
            "patient_id": "P" + pd.Series(patient).astype("str"),
            "exam_id": "E" + pd.Series(10**7 + exam).astype("str"),
            "image_id": pd.Series(10**9 + np.arange(rows)).astype("str"),
            "laterality": among(["L", "R"], breast),
            "view": among(["CC", "MLO"], np.arange(rows)),
            "age": 40 + patient % 45,
            "site_id": 1 + patient % 2,
            "machine_id": among([21, 29, 48, 49, 93, 170, 190, 197], exam),
            "implant": (patient % 40 == 0).astype(np.int64),
            "density": among(list("ABCD"), patient),
            "cancer": cancer[breast].astype(np.float64),
        }
    )


def predicted(frame: "pd.DataFrame", fold: "pd.Series[int]", rng: "np.random.Generator") -> "pd.DataFrame":
    """A row an image, with its fold and a probability."""
    import numpy as np

    logits = 2.2 * frame["cancer"] - 4 + rng.normal(0, 1, len(frame))
    return frame.drop(columns="path").assign(probability=1 / (1 + np.exp(-logits)), fold=fold)


DRAWS: dict[str, Callable[[Path, Any], None]] = {
    FRAME: draw_frame,
    SET: draw_tables,
    DRAWN: draw_predictions,
    RUNS: draw_runs,
}
"""What lies in a size's folder → what draws it."""
