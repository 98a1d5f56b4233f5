"""Rankings and reports of full runs: 23,826 breasts (54,706 images) of 11,913 patients each, 492 positive, four folds.

    python benchmarks/board.py [--runs N] [--reported N] [--submits N] [--json FILE]

Draws the predictions of as many runs, and writes run folders as training does. Processor seconds (user and system) of
`rsna leaderboard` and `rsna report`: the first time, when nothing is kept of the runs yet, and afterwards; and what a
help and a recorded score take. `submits_s` is by the clock: so many `rsna leaderboard submit` at once, with a store of
MLflow beside the runs where that is installed.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import ROOT, at_least, parser_of, write_result

from rsna.config.schema import Config
from rsna.config.settings import from_mapping
from rsna.dataset.folds import folds_hash
from rsna.dataset.table import ImageTable
from rsna.dataset.targets import get_targets
from rsna.evaluation.evaluate import evaluate
from rsna.prepare.hashing import preprocessing_hash
from rsna.runs.run_directory import bind_run, fold_folder, write_results
from rsna.runs.schema import CV, MLFLOW, RESAMPLED, SLICES, RunRecord

PATIENTS, IMAGES, POSITIVES, FOLDS = 11_913, 54_706, 492, 4


def labels(rng: np.random.Generator) -> pd.DataFrame:
    """Columns of predictions but for the probability: two breasts a patient, of two or three images each."""
    breasts = np.repeat(np.arange(2 * PATIENTS), 2)
    breasts = np.sort(np.concatenate([breasts, rng.choice(2 * PATIENTS, IMAGES - len(breasts), replace=False)]))
    cancer = np.zeros(2 * PATIENTS, dtype=np.int64)
    cancer[rng.choice(2 * PATIENTS, POSITIVES, replace=False)] = 1
    patient = breasts // 2
    side = np.where(breasts % 2, "R", "L")
    return pd.DataFrame(
        {
            "patient_id": patient.astype(str),
            "image_id": (10**6 + np.arange(IMAGES)).astype(str),
            "prediction_id": [f"{p}_{s}" for p, s in zip(patient, side, strict=True)],
            "laterality": side,
            "view": np.where(np.arange(IMAGES) % 2, "MLO", "CC"),
            "age": (40.0 + patient % 45),
            "site_id": 1 + patient % 2,
            "machine_id": np.array([21, 29, 48, 49, 93, 170, 190, 197, 210, 216])[patient % 10],
            "implant": (patient % 40 == 0).astype(np.int64),
            "density": np.where(patient % 2 == 0, np.array(list("ABCD"))[patient // 2 % 4], None),
            "BIRADS": np.where(patient % 2 == 0, patient // 2 % 3, np.nan),
            "difficult_negative_case": (patient % 7 == 0) & (cancer[breasts] == 0),
            "cancer": cancer[breasts],
            "fold": patient % FOLDS,
        }
    )


def write_run(folder: Path, table: pd.DataFrame, rng: np.random.Generator) -> None:
    """A run folder with all that training leaves but weights and checkpoints."""
    shift = np.repeat(rng.normal(0, 0.8, 2 * PATIENTS), np.bincount(pd.factorize(table["prediction_id"])[0]))
    logits = 2.2 * table["cancer"] - 4 + shift + rng.normal(0, 0.6, len(table))
    oof = table.assign(probability=1 / (1 + np.exp(-logits)))
    config = from_mapping(Config, {"name": folder.name, "data": {"root": "nowhere", "name": "drawn"}, "fold": "all"})
    folds = oof[["patient_id", "image_id", "fold"]]
    hashes = {
        "preprocessing": preprocessing_hash(config.preprocess), "folds": folds_hash(folds), "dataset": "0" * 12,
    }  # fmt: skip
    images = ImageTable("drawn", folder, oof)
    bind_run(folder, config, folds, RunRecord.of(config, images, hashes, get_targets(("cancer",)), (), FOLDS))
    shared = {"checkpoint": config.checkpoint, "data": "drawn", "hashes": hashes}
    for fold in range(FOLDS):
        part = oof[oof["fold"] == fold]
        scores = {"breasts": evaluate(part, resamples=0).to_dict()}
        write_results(fold_folder(folder, fold), part, {**scores, **shared, "fold": fold})
    write_results(folder / CV, oof, {"breasts": evaluate(oof, resamples=100).to_dict(), **shared})


def processor_seconds(*arguments: str) -> float:
    """User and system time of `rsna VERB …`, its workers included."""
    before = os.times()
    command = [sys.executable, "-m", "rsna.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def submit_at_once(runs: list[Path], count: int) -> float:
    """Seconds by the clock until as many scores are recorded, of one run after the other."""
    started = time.perf_counter()
    commands = [
        [sys.executable, "-m", "rsna.cli", "leaderboard", "submit", f"run={runs[i % len(runs)]}", f"public=0.{50 + i}"]
        for i in range(count)
    ]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for command in commands]
    codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit("a score was not recorded")
    return time.perf_counter() - started


def mirror_runs(folder: Path, runs: list[Path]) -> bool:
    """A store of MLflow with the pooled metrics' runs, as training mirrors them; whether there can be one."""
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError:
        return False
    client = MlflowClient(f"sqlite:///{folder / MLFLOW}")
    experiment = client.create_experiment("drawn")
    for run in runs:
        client.create_run(experiment, run_name=f"{run.name}/{CV}")
    return True


def main() -> None:
    """Measures, prints, and writes the times where asked."""
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=at_least(1), default=30, help="runs on the leaderboard")
    parser.add_argument("--reported", type=at_least(1), default=10, help="runs of them in the report")
    parser.add_argument("--submits", type=at_least(1), default=20, help="scores that are recorded at once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "runs"
        table = labels(np.random.default_rng(0))
        runs = [folder / f"run{number:02d}" for number in range(options.runs)]
        for number, run in enumerate(runs):
            write_run(run, table, np.random.default_rng([1, number]))
        found: dict[str, object] = {"runs": options.runs, "reported": options.reported, "submits": options.submits}

        def measure(name: str, seconds: float) -> None:
            found[name] = round(seconds, 2)
            print(f"{name:28s}{seconds:8.2f}", flush=True)

        board = ["leaderboard", f"runs={folder}"]
        reported = ",".join(map(str, runs[: options.reported]))
        report = ["report", f"run=[{reported}]", f"out={temporary}/report.html"]
        measure("help_cpu_s", processor_seconds("leaderboard", "--help"))
        for name, command in (("leaderboard", board), ("report", report)):
            measure(f"{name}_first_cpu_s", processor_seconds(*command))
            measure(f"{name}_cpu_s", processor_seconds(*command))
        measure("submit_cpu_s", processor_seconds("leaderboard", "submit", f"run={runs[0]}", "public=0.5"))
        found["mirrored"] = mirror_runs(folder, runs)
        measure("submits_s", submit_at_once(runs, options.submits))
        kept = sum(file.stat().st_size for name in (RESAMPLED, SLICES) for file in folder.glob(f"*/{CV}/{name}"))
        found["kept_kib_a_run"] = round(kept / len(runs) / 1024)
    write_result(options.json, found)


if __name__ == "__main__":
    main()
