"""Reads a run directory, all but the values of weights and predictions: whoever opens it says what is torn."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from pyarrow import ArrowException

from rsna.config.schema import Config
from rsna.config.settings import digest, to_mapping
from rsna.dataset.folds import part_names
from rsna.evaluation.breasts import same_folds
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.evaluate import Evaluation, evaluate
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.tables import html_table, number
from rsna.files import first_line, require_regular
from rsna.runs import schema
from rsna.runs.errors import RunError
from rsna.runs.lb_scores import LbScores, read_scores
from rsna.runs.record_file import read_record
from rsna.runs.run_directory import bound_keys, changed_results, fold_folder, is_finished, read_bound
from rsna.runs.schema import BreastMetrics, Metrics, MetricValues, RunRecord

log = logging.getLogger(__name__)

SELECTED = "checkpoint=best chose the epoch on the very fold that is reported: metrics are too good by that"
"""Said wherever the metrics of such a run are."""

_ROUNDING = 1e-9
"""What the order of a sum may make of a metric."""


@dataclass(frozen=True, eq=False)
class Run:
    """One experiment on disk."""

    path: Path
    config: Config
    record: RunRecord
    fold_metrics: Mapping[int, Metrics]
    """Fold → its metrics, of the folds that are finished."""
    pooled: Metrics | None
    """Metrics of all folds; None until every fold is there."""
    weights: Mapping[int, Path]
    """Fold → weights, of the folds that are finished: before, nothing says which weights and threshold are meant."""
    changed: Mapping[Path, str]
    """metrics.json or oof.parquet → why it does not count: changed since it was written, or another run's."""

    @property
    def name(self) -> str:
        """The folder's name, by which people tell runs apart."""
        return self.path.name

    @cached_property
    def folds(self) -> pd.DataFrame:
        """patient_id, image_id (text), fold (int): the split, read when it is asked for; open_run checks its hash."""
        file = self.path / schema.FOLDS
        text = {"patient_id": str, "image_id": str, "part": str}
        return pd.read_csv(file, dtype=text, keep_default_na=False)

    def patients(self, without: int | None = None) -> set[str]:
        """Patients of the folds, but for one; those of a set that is a fold by the ids that they have there, too."""
        folds = self.folds
        names = set(folds["patient_id"] if without is None else folds.loc[folds["fold"] != without, "patient_id"])
        # Called set:patient, see ImageTable.as_one.
        return names | {one.partition(":")[2] or one for one in names} if self.config.folds.by == "dataset" else names

    @property
    def comparable(self) -> tuple[str, str]:
        """Dataset and folds hashes: only runs that share both are ranked together."""
        return self.record.hashes.dataset, self.record.hashes.folds

    @cached_property
    def configuration(self) -> str:
        """Hash over all that makes a run but its seed and its names: runs that share it differ in training's noise."""
        keys = bound_keys(to_mapping(self.config))
        for key in ("seed", "name"):
            del keys[key]
        return digest(keys, self.record.hashes.model_dump(), self.record.commit.model_dump())

    @cached_property
    def parts(self) -> dict[int, str]:
        """Fold → what it leaves out, such as a machine; empty where folds are patients by chance."""
        return part_names(self.folds)

    @property
    def metrics(self) -> MetricValues | None:
        """Pooled breast metrics; None for an incomplete cross-validation, for runs that do not learn cancer, and where
        any result was changed."""
        return self.pooled.breasts.pooled if self.pooled and self.pooled.breasts and not self.changed else None

    @cached_property
    def shown(self) -> MetricValues | None:
        """:attr:`metrics`, or those of the folds that are finished, which are not ranked; None where there are none."""
        finished = tuple(self.fold_metrics)
        if self.metrics or self.changed or self.pooled or not finished or "cancer" not in self.record.targets:
            return self.metrics
        with suppress(RunError):  # no breast of these folds is positive
            return self.breast_metrics(finished).pooled
        return None

    def metric(self, name: str) -> float | None:
        """One of :attr:`metrics`; None where it is undefined, or there are none."""
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

    @cached_property
    def lb(self) -> LbScores:
        """Leaderboard scores; a file of them that cannot be read is noted and costs them alone."""
        notes: list[str] = []
        try:
            return read_scores(self.path, notes)
        except RunError as error:
            notes.append(f"{error}; its scores are left out")
            return LbScores()
        finally:
            for note in notes:
                log.warning("%s", note)

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
        if changed := [self.changed[file] for file in files if file in self.changed]:
            raise RunError(changed[0])
        if missing := [str(file) for file in files if not file.is_file()]:
            raise RunError(
                f"{', '.join(missing)}: no out-of-fold predictions yet; let python train.py finish that fold"
            )
        # Not by the reader of tables, which asks what anybody's file means: four times slower, and these are our own.
        read = [_read_oof(file) for file in files]
        found = read[0] if len(read) == 1 else pd.concat(read, ignore_index=True)
        try:
            same_folds({str(self.path / schema.FOLDS): self.folds.set_index("patient_id")["fold"],
                        str(files[0]): found.set_index("patient_id")["fold"]})  # fmt: skip
        except PredictionError as error:
            raise RunError(str(error)) from error
        found.attrs["scored"] = f"column probability of {', '.join(map(str, files))}"
        return found

    @cached_property
    def histories(self) -> dict[int, pd.DataFrame]:
        """Fold → a row an epoch, with losses and metrics of validation; of folds that are still trained, too.

        Raises:
            RunError: One cannot be read.
        """
        found = {fold: fold_folder(self.path, fold) / schema.HISTORY for fold in range(self.record.n_folds)}
        return {fold: _read_history(file) for fold, file in found.items() if file.is_file()}

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
            RunError: A fold has no predictions yet, or none of its breasts is positive; a file that this reads was
                changed.
        """
        recorded, folder = (self.pooled, self.path / schema.CV) if len(folds) == self.record.n_folds else (None, None)
        if len(folds) == 1:
            recorded, folder = self.fold_metrics.get(folds[0]), fold_folder(self.path, folds[0])
        if recorded and recorded.breasts and folder:
            if (file := folder / schema.METRICS) in self.changed:
                raise RunError(self.changed[file])
            return recorded.breasts
        try:
            return BreastMetrics.of(self.evaluate(folds))
        except PredictionError as error:
            raise RunError(f"{self.path}: folds {', '.join(map(str, folds))}: {error}") from error

    def _repr_html_(self) -> str:
        head = ["run", "data", "backbone", "input", "folds", "nested pF1", "AUROC"]
        folds = f"{len(self.fold_metrics)} of {self.record.n_folds}"
        scores = [number(self.metric(name)) for name in ("pf1_nested", "auroc")]
        name = f"{self.name}, checkpoint=best" if self.selected else self.name
        return html_table([head, [name, self.record.data.name, self.backbone, self.input, folds, *scores]])


def open_run(path: str | Path, folds: Sequence[int] = ()) -> Run:
    """Reads a run folder and checks its records and predictions, in a third of a second at 54,706 images.

    Weights and leaderboard scores are read by what needs them.

    Args:
        folds: Folds that are read, as far as they are finished; nothing of the others, nor what was pooled over all,
            is opened or can be wrong. Empty for the whole run.

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
    record, config = read_bound(folder)
    some = bool(folds) and not set(folds) >= set(range(record.n_folds))
    finished = [k for k in range(record.n_folds) if (k in folds or not some) and is_finished(folder, k)]
    weights = {fold: fold_folder(folder, fold) / schema.WEIGHTS for fold in finished}
    fold_metrics = {fold: read_record(Metrics, fold_folder(folder, fold) / schema.METRICS) for fold in finished}
    file = folder / schema.CV / schema.METRICS
    pooled = read_record(Metrics, file) if file.exists() and not some else None
    return Run(
        path=folder,
        config=config,
        record=record,
        fold_metrics=fold_metrics,
        pooled=pooled,
        weights={fold: file for fold, file in weights.items() if file.exists()},
        changed=_changed(folder, record, fold_metrics, pooled),
    )


def _changed(
    run: Path, record: RunRecord, fold_metrics: Mapping[int, Metrics], pooled: Metrics | None
) -> dict[Path, str]:
    """See :attr:`Run.changed`; raises where predictions are missing or torn."""
    cv = run / schema.CV
    folders = [*(fold_folder(run, fold) for fold in fold_metrics), *([cv] if pooled else [])]
    for folder in folders:
        _check_oof(folder / schema.OOF)
    changed = {file: why for folder in folders for file, why in changed_results(folder, record.hashes).items()}
    if pooled and (begun := [str(fold) for fold in range(record.n_folds) if fold not in fold_metrics]):
        file = cv / schema.METRICS
        changed.setdefault(
            file,
            f"{file}: is of all folds, but fold {', '.join(begun)} is not finished, as it is while that is trained "
            "again; python train.py fold=all finishes and pools the folds",
        )
    if not changed and pooled and (apart := _apart(fold_metrics, pooled)):
        file = cv / schema.METRICS
        changed[file] = f"{file}: {apart}: it is of another run; python train.py fold=all pools the folds again"
    return changed


def _apart(fold_metrics: Mapping[int, Metrics], pooled: Metrics) -> str:
    """Where a fold has other metrics among all than by itself; those of its thresholds always are."""
    for among in pooled.breasts.folds if pooled.breasts else ():
        fold = int(among.name.removeprefix("fold "))
        by_itself = fold_metrics[fold].breasts if fold in fold_metrics else None
        for name in ("pf1_raw", "auroc"):
            one, other = among.get(name), by_itself.pooled.get(name) if by_itself else None
            if one is not None and other is not None and abs(one - other) > _ROUNDING:
                return (
                    f"{METRICS[name].title} of fold {fold} is {number(one)} there and {number(other)} in its own folder"
                )
    return ""


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


def _read_oof(file: Path) -> pd.DataFrame:
    try:
        found = pd.read_parquet(file)
    except (ArrowException, ValueError, OSError) as error:
        raise RunError(f"{file}: cannot be read: {first_line(error)}; copy it again") from error
    if lacking := {"cancer", "probability"} - set(found):
        raise RunError(f"{file}: has no column {', '.join(sorted(lacking))}: this run did not learn cancer")
    return found


def _read_history(file: Path) -> pd.DataFrame:
    try:
        require_regular(file)
        found = pd.read_csv(file, encoding="utf-8")
        found["epoch"] = found["epoch"].astype(int)
    except (ValueError, KeyError, OSError) as error:  # of pandas, of UTF-8, of the disk
        raise RunError(f"{file}: cannot be read: {first_line(error)}; copy it again") from error
    return found


def _check_oof(file: Path) -> None:
    """Reads the footer, which stands at the end of a Parquet file: one that was cut off has none."""
    try:
        require_regular(file)
        columns = set(pq.read_schema(file).names)
    except FileNotFoundError as error:
        raise RunError(f"{file}: is missing beside metrics.json; copy it again") from error
    except (ArrowException, OSError) as error:
        reason = first_line(error)
        raise RunError(f"{file}: cannot be read: {reason}; copy it again, or train the fold again") from error
    if lacking := {"patient_id", "prediction_id", "fold"} - columns:
        raise RunError(f"{file}: holds no out-of-fold predictions: no column {', '.join(sorted(lacking))}")
