"""What a prediction needs and nothing else, read from a run directory or a bundle."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load

from rsna.config.data import Aggregate, PreprocessSettings
from rsna.config.model import ModelSettings
from rsna.config.settings import ConfigError, digest, from_mapping
from rsna.config.training import WantedPrecision
from rsna.dataset.targets import Target, get_targets
from rsna.evaluation.breasts import to_breasts
from rsna.evaluation.calibration import Platt, fit_platt
from rsna.files import sha256
from rsna.model.heads import output_count, output_slices
from rsna.model.network import MammogramNet, build_model
from rsna.prepare.image import preprocessing_hash
from rsna.runs.bundle import Bundle, one_path, open_bundle
from rsna.runs.errors import RunError
from rsna.runs.run import Run, open_run
from rsna.runs.schema import BUNDLE, BundleRecord, RunRecord


@dataclass(frozen=True)
class Weights:
    """One fold's weights on disk."""

    fold: int
    file: Path
    sha256: str
    """What the file must hold; nothing else is loaded."""


@dataclass(frozen=True)
class TrainedModel:
    """How a run turns files into breast probabilities."""

    source: Path
    """Run folder, or bundle."""
    n_folds: int
    """Folds that the run has, or the bundle holds, used or not."""
    preprocess: PreprocessSettings
    model: ModelSettings
    targets: tuple[Target, ...]
    aggregate: Aggregate
    """Breast probability from its images'."""
    flip: bool
    """Whether out-of-fold predictions, and with them the threshold, are means over each image and its mirror image."""
    precision: WantedPrecision
    """``trainer.precision``: a run that was trained in 32 bits by choice predicts in them, too."""
    weights: tuple[Weights, ...]
    """One file a fold."""
    threshold: float
    """Chosen on the out-of-fold breasts of the folds that are used; a bundle's, on those that it holds."""
    recalled: float
    """Share of those breasts at or above the threshold."""
    prevalence: float
    """Share of positive breasts in training: what a breast without any readable image gets."""
    calibration: Platt
    """Calibrates breast probabilities; fitted on the out-of-fold breasts."""
    trained_on: frozenset[str]
    """Patients of the run's folds; predictions on them are no test. A bundle does not carry them."""

    @property
    def folds(self) -> tuple[int, ...]:
        """Folds whose weights are used."""
        return tuple(weights.fold for weights in self.weights)

    @property
    def cancer_column(self) -> int:
        """Column of the logits that is cancer's."""
        names = [target.name for target in self.targets]
        return int(output_slices(self.targets)[names.index("cancer")].start)

    @property
    def model_hash(self) -> str:
        """Of preprocessing and weights: predictions under the same hash may be joined."""
        return digest(preprocessing_hash(self.preprocess), [weights.sha256 for weights in self.weights])

    def networks(self) -> list[MammogramNet]:
        """Builds every fold's network with its weights.

        Raises:
            RunError: A weight file cannot be read, is not the one that was recorded, or does not fit.
        """
        networks = []
        for weights in self.weights:
            content = weights.file.read_bytes()
            if hashlib.sha256(content).hexdigest() != weights.sha256:
                raise RunError(f"{weights.file}: its SHA-256 is not the recorded one; copy the file again")
            networks.append(build_model(self.model, output_count(self.targets)))
            try:
                networks[-1].load_state_dict(load(content))
            except (SafetensorError, RuntimeError, ValueError) as error:
                raise RunError(f"{weights.file}: cannot be loaded into {self.model.backbone}: {error}") from error
        return networks


def load_trained(source: str | Path | Run | Bundle, folds: tuple[int, ...] = ()) -> TrainedModel:
    """Reads what a run folder or a bundle says of how it predicts; weights follow with :meth:`TrainedModel.networks`.

    Args:
        source: Run folder, bundle's folder, or its archive (.zip, .tar); or any of them opened.
        folds: Folds to use; empty takes every one that is trained.

    Raises:
        RunError: It is not there, or neither; a file of it is torn, changed or of another format; no fold is trained;
            cancer is not among the targets; preprocessing of another version.
    """
    opened = source if isinstance(source, (Run, Bundle)) else open_any(source)
    return _of_run(opened, folds) if isinstance(opened, Run) else _of_bundle(opened, folds)


def open_any(source: str | Path) -> Run | Bundle:
    """A run folder, or a bundle as folder or archive; refuses what :func:`load_trained` refuses of the files."""
    path = one_path(source)
    return open_bundle(path) if path.is_file() or (path / BUNDLE).is_file() else open_run(path)


def _of_run(run: Run, folds: tuple[int, ...]) -> TrainedModel:
    chosen, targets = _check(run.path, run.config.preprocess, run.record, run.weights, folds)
    metrics = run.breast_metrics(chosen)
    settings = run.config.evaluation
    breasts = to_breasts(run.oof(chosen), settings.aggregate)
    # One class says nothing of the other.
    both = breasts["cancer"].nunique() == 2
    return TrainedModel(
        source=run.path,
        n_folds=run.record.n_folds,
        preprocess=run.config.preprocess,
        model=_network_alone(run.config.model),
        targets=targets,
        aggregate=settings.aggregate,
        flip=settings.flip_tta,
        precision=run.config.trainer.precision,
        weights=tuple(Weights(k, run.weights[k], sha256(run.weights[k])) for k in chosen),
        threshold=metrics.threshold.value,
        recalled=metrics.threshold.recalled,
        prevalence=metrics.pooled.prevalence,
        calibration=fit_platt(breasts["cancer"], breasts["probability"]) if both else Platt(),
        trained_on=frozenset(run.folds["patient_id"]),
    )


def _of_bundle(bundle: Bundle, folds: tuple[int, ...]) -> TrainedModel:
    record = bundle.record
    try:
        preprocess = from_mapping(PreprocessSettings, record.preprocess, "preprocess")
        model = from_mapping(ModelSettings, record.model, "model")
    except ConfigError as error:
        raise RunError(f"{bundle.folder / BUNDLE}: {error}; the file was changed, copy it again") from error
    chosen, targets = _check(bundle.folder, preprocess, record, sorted(record.weights), folds)
    files = {fold: record.weights[fold] for fold in chosen}
    bundle.check_files(files.values())
    return TrainedModel(
        source=bundle.folder,
        n_folds=len(record.weights),
        preprocess=preprocess,
        model=_network_alone(model),
        targets=targets,
        aggregate=record.aggregate,
        flip=record.flip,
        precision=record.precision,
        weights=tuple(Weights(fold, bundle.folder / name, record.files[name]) for fold, name in files.items()),
        threshold=record.threshold,
        recalled=record.recalled,
        prevalence=record.prevalence,
        calibration=Platt(record.calibration.slope, record.calibration.intercept),
        trained_on=frozenset(),
    )


def _check(
    path: Path,
    preprocess: PreprocessSettings,
    record: RunRecord | BundleRecord,
    trained: Iterable[int],
    asked: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[Target, ...]]:
    """Folds that are used, and what they learnt; refuses what would predict something else than it learnt."""
    if (ours := preprocessing_hash(preprocess)) != record.hashes.preprocessing:
        raise RunError(
            f"{path}: was trained with preprocessing {record.hashes.preprocessing}, this version prepares with {ours}; "
            "predictions would be of other pixels. Use the version that trained it, or train again"
        )
    if "cancer" not in record.targets:
        raise RunError(f"{path}: learnt {', '.join(record.targets)}, not cancer; there is nothing to submit")
    chosen = tuple(fold for fold in trained if not asked or fold in asked)
    if not chosen or any(fold not in chosen for fold in asked):
        what = f"fold {', '.join(map(str, asked))}" if asked else "any fold"
        raise RunError(f"{path}: has no weights of {what}; train it first (python train.py fold=all)")
    return chosen, get_targets(record.targets)


def _network_alone(model: ModelSettings) -> ModelSettings:
    """Where training's first weights came from, and how it saved memory, does not matter any more."""
    return replace(model, pretrained=False, weights="", gradient_checkpointing=False)
