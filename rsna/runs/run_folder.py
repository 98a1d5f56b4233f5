"""What the leaderboard and the page know of a run, read from its folder alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from rsna.evaluation.evaluate import Evaluation, evaluate
from rsna.evaluation.predictions import read_predictions
from rsna.files import FileError, read_json, read_yaml
from rsna.runs.errors import RunError
from rsna.runs.lb_scores import LbScores, read_scores


@dataclass(frozen=True)
class RunFolder:
    """One experiment."""

    path: Path
    config: dict[str, Any]
    """config.yaml."""
    record: dict[str, Any]
    """run.json."""
    folds: dict[int, dict[str, Any]]
    """Fold → its metrics.json, of the folds that are finished."""
    pooled: dict[str, Any] | None
    """cv/metrics.json; None until every fold is there."""
    lb: LbScores

    @property
    def name(self) -> str:
        """The folder's name, by which people tell runs apart."""
        return self.path.name

    @property
    def comparable(self) -> tuple[str, str]:
        """Dataset and folds hashes: only runs that share both are ranked together."""
        hashes = self.record["hashes"]
        return hashes["dataset"], hashes["folds"]

    @property
    def n_folds(self) -> int:
        """Folds of the split."""
        return int(self.record["n_folds"])

    @property
    def figures(self) -> dict[str, Any] | None:
        """Pooled breast figures; None for an incomplete cross-validation, and for runs that do not learn cancer."""
        figures: dict[str, Any] | None = (self.pooled or {}).get("breasts", {}).get("pooled")
        return figures

    @property
    def selected(self) -> bool:
        """Whether the epoch was chosen on the very fold that is reported."""
        return bool(self.config.get("checkpoint") == "best")

    @property
    def sampling(self) -> Literal["population", "enriched"]:
        """Whether the set's share of positives means anything."""
        return "enriched" if self.record["data"]["sampling"] == "enriched" else "population"

    @property
    def input(self) -> str:
        """Rows × columns that the network sees."""
        return "×".join(str(side) for side in self.config["preprocess"]["size"])

    @property
    def backbone(self) -> str:
        """timm's name."""
        return str(self.config["model"]["backbone"])

    @property
    def commit(self) -> str:
        """`1a2b3c4`, with `+` behind it where the checkout had changes; empty for an installed package."""
        commit = self.record.get("commit") or {}
        return f"{commit['hash'][:7]}{'+' if commit.get('dirty') else ''}" if commit.get("hash") else ""

    @property
    def hardware(self) -> str:
        """Devices the folds were trained on, each kind once."""
        return "; ".join(dict.fromkeys(fold["hardware"] for fold in self.folds.values() if fold.get("hardware")))

    @property
    def seconds(self) -> float | None:
        """Training and predicting, over the folds that are finished; None where they do not say."""
        spent = [fold["seconds"] for fold in self.folds.values() if fold.get("seconds") is not None]
        return float(sum(spent)) if spent else None

    def out_of_fold(self) -> pd.DataFrame:
        """Out-of-fold predictions of every finished fold, a row an image.

        Raises:
            RunError: There are none.
        """
        pooled = self.path / "cv" / "oof.parquet"
        files = [pooled] if pooled.is_file() else sorted(self.path.glob("fold*/oof.parquet"))
        if not files:
            raise RunError(f"{self.path}: has no out-of-fold predictions yet; python train.py makes them")
        return pd.concat([read_predictions(file) for file in files], ignore_index=True)

    def evaluate(self) -> Evaluation:
        """The out-of-fold breasts with nested thresholds and calls; intervals are those of metrics.json."""
        return evaluate(self.out_of_fold(), self.config["evaluation"]["aggregate"], sampling=self.sampling, resamples=0)


def read_run(path: Path) -> RunFolder:
    """Reads a run folder; weights and predictions stay on disk.

    Raises:
        RunError: It is no run, or one of its files cannot be read.
    """
    try:
        config, record = read_yaml(path / "config.yaml"), read_json(path / "run.json")
        numbers = [k for k in range(int(record["n_folds"])) if (path / f"fold{k}" / "metrics.json").is_file()]
        folds = {k: read_json(path / f"fold{k}" / "metrics.json") for k in numbers}
        pooled = path / "cv" / "metrics.json"
        run = RunFolder(path, config, record, folds, read_json(pooled) if pooled.is_file() else None, read_scores(path))
        _ = run.comparable, run.input, run.backbone, run.sampling, run.config["evaluation"]["aggregate"]
    except FileNotFoundError as error:
        raise RunError(f"{path}: is no run folder: {Path(error.filename).name} is missing") from error
    except FileError as error:
        raise RunError(str(error)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: cannot be read as a run: {type(error).__name__}: {error}") from error
    return run


def find_runs(folder: Path) -> tuple[list[RunFolder], list[str]]:
    """Every run in a folder of runs, and why what looks like one is left out.

    Raises:
        RunError: There is no such folder.
    """
    if not folder.is_dir():
        raise RunError(f"runs={folder}: there is no such folder; train first, or name the folder of your runs")
    runs, left_out = [], []
    for file in sorted(folder.glob("*/run.json")):
        try:
            runs.append(read_run(file.parent))
        except RunError as error:
            left_out.append(str(error))
    return runs, left_out
