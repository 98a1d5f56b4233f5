"""Reads a run directory, all but the values of weights and predictions: whoever opens it says what is torn."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from pyarrow import ArrowException
from safetensors import SafetensorError, safe_open

from rsna.config.schema import Config
from rsna.dataset.folds import COLUMNS, folds_hash
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.evaluate import Evaluation, evaluate
from rsna.evaluation.predictions import read_predictions
from rsna.evaluation.tables import html_table, number
from rsna.files import first_line
from rsna.runs import schema
from rsna.runs.errors import RunError
from rsna.runs.lb_scores import LbScores, read_scores
from rsna.runs.run_directory import fold_folder, is_finished, read_config
from rsna.runs.schema import BreastMetrics, Metrics, MetricValues, RunRecord, read_bytes, read_record


@dataclass(frozen=True, eq=False)
class Run:
    """One experiment on disk."""

    path: Path
    config: Config
    record: RunRecord
    folds: pd.DataFrame
    """patient_id, image_id (text), fold (int): the split."""
    fold_metrics: Mapping[int, Metrics]
    """Fold → its metrics, of the folds that are finished."""
    pooled: Metrics | None
    """Metrics of all folds; None until every fold is there."""
    weights: Mapping[int, Path]
    """Fold → weights, of the folds that are trained."""
    lb: LbScores

    @property
    def name(self) -> str:
        """The folder's name, by which people tell runs apart."""
        return self.path.name

    @property
    def comparable(self) -> tuple[str, str]:
        """Dataset and folds hashes: only runs that share both are ranked together."""
        return self.record.hashes.dataset, self.record.hashes.folds

    @property
    def metrics(self) -> MetricValues | None:
        """Pooled breast metrics; None for an incomplete cross-validation, and for runs that do not learn cancer."""
        return self.pooled.breasts.pooled if self.pooled and self.pooled.breasts else None

    def metric(self, name: str) -> float | None:
        """One of them; None where it is undefined, or there are none."""
        return self.metrics.get(name) if self.metrics else None

    def ends(self, name: str) -> tuple[float, float] | None:
        """Ends of its interval; None where it has none."""
        return self.metrics.ends(name) if self.metrics else None

    @property
    def selected(self) -> bool:
        """Whether the epoch was chosen on the very fold that is reported."""
        return self.config.checkpoint == "best"

    @property
    def input(self) -> str:
        """Rows × columns that the network sees."""
        return "×".join(map(str, self.config.preprocess.size))

    @property
    def backbone(self) -> str:
        """timm's name."""
        return self.config.model.backbone

    @property
    def commit(self) -> str:
        """`1a2b3c4`, with `+` behind it where the checkout had changes; empty for an installed package."""
        commit = self.record.commit
        return f"{commit.hash[:7]}{'+' if commit.dirty else ''}" if commit.hash else ""

    @property
    def hardware(self) -> str:
        """Devices the folds were trained on, each kind once."""
        return "; ".join(dict.fromkeys(fold.hardware for fold in self.fold_metrics.values() if fold.hardware))

    @property
    def seconds(self) -> float | None:
        """Training and predicting, over the folds that are finished; None where they do not say."""
        spent = [fold.seconds for fold in self.fold_metrics.values() if fold.seconds is not None]
        return sum(spent) if spent else None

    def oof(self, folds: Sequence[int] = ()) -> pd.DataFrame:
        """Out-of-fold predictions, a row an example, of some folds or else of every finished one.

        Raises:
            RunError: There are none, or not of a fold that is asked for.
        """
        if folds or not self.pooled:
            files = [fold_folder(self.path, fold) / schema.OOF for fold in folds or self.fold_metrics]
        else:
            files = [self.path / schema.CV / schema.OOF]
        if not files:
            raise RunError(f"{self.path}: has no out-of-fold predictions yet; python train.py fold=all makes them")
        if missing := [str(file) for file in files if not file.is_file()]:
            raise RunError(
                f"{', '.join(missing)}: no out-of-fold predictions yet; let python train.py finish that fold"
            )
        try:
            return pd.concat([read_predictions(file) for file in files], ignore_index=True)
        except PredictionError as error:
            raise RunError(f"{error}; copy it again, or remove the fold and train it again") from error

    def evaluate(self, folds: Sequence[int] = ()) -> Evaluation:
        """The breasts of :meth:`oof` with nested thresholds, without intervals: those are in metrics.json.

        Raises:
            PredictionError: No breast is positive; beside what :meth:`oof` raises.
        """
        aggregate = self.config.evaluation.aggregate
        return evaluate(self.oof(folds), aggregate, sampling=self.record.data.sampling, resamples=0)

    def breast_metrics(self, folds: Sequence[int]) -> BreastMetrics:
        """Metrics of the out-of-fold breasts of some folds: as recorded where these are just those folds.

        Raises:
            RunError: A fold has no predictions yet, or none of its breasts is positive.
        """
        recorded = self.pooled if len(folds) == self.record.n_folds else None
        recorded = self.fold_metrics.get(folds[0]) if len(folds) == 1 else recorded
        if recorded and recorded.breasts:
            return recorded.breasts
        try:
            found = self.evaluate(folds)
        except PredictionError as error:
            raise RunError(f"{self.path}: folds {', '.join(map(str, folds))}: {error}") from error
        return BreastMetrics.model_validate_json(json.dumps(found.to_dict()))

    def _repr_html_(self) -> str:
        head = ["run", "data", "backbone", "input", "folds", "nested pF1", "AUROC"]
        folds = f"{len(self.fold_metrics)} of {self.record.n_folds}"
        scores = [number(self.metric(name)) for name in ("pf1_nested", "auroc")]
        return html_table([head, [self.name, self.record.data.name, self.backbone, self.input, folds, *scores]])


def open_run(path: str | Path) -> Run:
    """Reads a run folder and checks every file of it as far as takes a third of a second at 54,706 images.

    Raises:
        RunError: It is not there, is no run, or one of its files is missing, torn, another's or of another format.
    """
    folder = Path(path).expanduser()
    if not folder.exists():
        raise RunError(f"run={folder}: there is no such folder; `rsna leaderboard` lists the runs")
    if folder.is_file() or (folder / schema.BUNDLE).is_file():
        raise RunError(
            f"run={folder}: is a {'file' if folder.is_file() else 'bundle'}, and this needs a run folder, which alone "
            "keeps out-of-fold predictions; name the one that it was made of"
        )
    if not (folder / schema.CONFIG).exists() and not (folder / schema.RECORD).exists():
        raise RunError(
            f"run={folder}: is no run folder: it holds neither config.yaml nor run.json, nor bundle.json as a bundle "
            "does; `rsna leaderboard` lists the runs"
        )
    record = read_record(RunRecord, folder / schema.RECORD, schema.RUN_FORMAT)
    file = folder / schema.CONFIG
    config = read_config(file)
    if hashlib.sha256(read_bytes(file)).hexdigest() != record.config:
        # A YAML file that was cut off is mostly still one, and the keys that it lost would get their defaults.
        raise RunError(f"{file}: is not the file that run.json records: cut off, or changed; copy it again")
    finished = [fold for fold in range(record.n_folds) if is_finished(folder, fold)]
    trained = {fold: fold_folder(folder, fold) / schema.WEIGHTS for fold in range(record.n_folds)}
    pooled = folder / schema.CV / schema.METRICS
    run = Run(
        path=folder,
        config=config,
        record=record,
        folds=_read_folds(folder / schema.FOLDS, record.hashes.folds),
        fold_metrics={fold: read_record(Metrics, fold_folder(folder, fold) / schema.METRICS) for fold in finished},
        pooled=read_record(Metrics, pooled) if pooled.exists() else None,
        weights={fold: file for fold, file in trained.items() if file.exists()},
        lb=read_scores(folder),
    )
    for fold in finished:
        _check_oof(fold_folder(folder, fold) / schema.OOF)
    if run.pooled:
        _check_oof(folder / schema.CV / schema.OOF)
    for file in run.weights.values():
        try:
            with safe_open(file, "numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise RunError(f"{file}: cannot be loaded: {error}; copy it again, or train the fold again") from error
    return run


def find_runs(folder: Path) -> tuple[list[Run], list[str]]:
    """Every run in a folder of runs, and why what looks like one is left out.

    Raises:
        RunError: There is no such folder.
    """
    if not folder.is_dir():
        raise RunError(f"runs={folder}: there is no such folder; train first, or name the folder of your runs")
    runs, left_out = [], []
    for path in sorted({file.parent for name in (schema.RECORD, schema.CONFIG) for file in folder.glob(f"*/{name}")}):
        try:
            runs.append(open_run(path))
        except RunError as error:
            left_out.append(str(error))
    return runs, left_out


def _read_folds(file: Path, recorded: str) -> pd.DataFrame:
    read_bytes(file)
    try:
        folds = pd.read_csv(file, dtype={"patient_id": str, "image_id": str}, keep_default_na=False)
        whole = list(folds.columns) == list(COLUMNS) and folds_hash(folds) == recorded
    except (ValueError, OSError):  # what pandas raises for bytes that are no table
        whole = False
    if not whole:
        raise RunError(f"{file}: is not the split that run.json records: cut off, or changed; copy it again")
    return folds


def _check_oof(file: Path) -> None:
    """Reads the footer, which stands at the end of a Parquet file: one that was cut off has none."""
    try:
        columns = set(pq.read_schema(file).names)
    except FileNotFoundError as error:
        raise RunError(f"{file}: is missing beside metrics.json; copy it again") from error
    except (ArrowException, OSError) as error:
        reason = first_line(error)
        raise RunError(f"{file}: cannot be read: {reason}; copy it again, or train the fold again") from error
    if lacking := {"patient_id", "prediction_id", "fold"} - columns:
        raise RunError(f"{file}: holds no out-of-fold predictions: no column {', '.join(sorted(lacking))}")
