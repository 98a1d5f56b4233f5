"""What a prediction needs and nothing else, read from a run directory or a bundle."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load

from rsna.config.data import PreprocessSettings
from rsna.config.model import ModelSettings
from rsna.config.settings import digest, from_mapping
from rsna.config.training import WantedPrecision
from rsna.dataset.targets import Target, get_targets
from rsna.evaluation.breasts import to_breasts
from rsna.evaluation.calibration import Platt, fit_platt
from rsna.evaluation.evaluate import evaluate
from rsna.files import read_json, read_yaml, sha256
from rsna.model.heads import output_count, output_slices
from rsna.model.network import MammogramNet, build_model
from rsna.prepare.image import preprocessing_hash
from rsna.runs.bundle import BUNDLE_FILE, open_bundle
from rsna.runs.errors import RunError


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
    aggregate: Literal["mean", "max", "top2"]
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
    def fingerprint(self) -> str:
        """Same preprocessing and same weights, same fingerprint: predictions may be joined."""
        return digest(preprocessing_hash(self.preprocess), [weights.sha256 for weights in self.weights])

    def networks(self) -> list[MammogramNet]:
        """Builds every fold's network with its weights.

        Raises:
            RunError: A weight file cannot be read, is not the one that was recorded, or does not fit.
        """
        return [self._network(weights) for weights in self.weights]

    def _network(self, weights: Weights) -> MammogramNet:
        network = build_model(self.model, output_count(self.targets))
        content = weights.file.read_bytes()
        if hashlib.sha256(content).hexdigest() != weights.sha256:
            raise RunError(f"{weights.file}: its SHA-256 is not the recorded one; copy the file again")
        try:
            network.load_state_dict(load(content))
        except (SafetensorError, RuntimeError, ValueError) as error:
            raise RunError(f"{weights.file}: cannot be loaded into {self.model.backbone}: {error}") from error
        return network


def load_trained(source: str | Path, folds: tuple[int, ...] = ()) -> TrainedModel:
    """Reads a run directory or a bundle.

    Args:
        source: ``runs/<experiment>``, a bundle's folder, or its archive (.zip, .tar).
        folds: Folds to use; empty takes every one that is trained.

    Raises:
        RunError: No run, no trained fold, no cancer among the targets, preprocessing of another version, a bundle
            of a newer format or with a file that was changed.
    """
    source = Path(source).expanduser()
    if source.is_file() or (source / BUNDLE_FILE).is_file():
        return _from_bundle(source, folds)
    return _from_run(source, folds)


def _from_run(run: Path, folds: tuple[int, ...]) -> TrainedModel:
    if not (run / "config.yaml").is_file():
        raise RunError(
            f"{run}: holds neither config.yaml, as a run does, nor {BUNDLE_FILE}; `rsna leaderboard` lists the runs"
        )
    config = read_yaml(run / "config.yaml")
    record = read_json(run / "run.json")
    trained = {k: run / f"fold{k}" / "model.safetensors" for k in range(record["n_folds"])}
    trained = {k: file for k, file in trained.items() if file.is_file()}
    chosen = _choose(run, tuple(trained), folds)
    preprocess = from_mapping(PreprocessSettings, config["preprocess"], "preprocess")
    check_preprocessing(run, preprocess, record["hashes"]["preprocessing"])
    figures = breast_figures(run, chosen)
    return TrainedModel(
        source=run,
        n_folds=record["n_folds"],
        preprocess=preprocess,
        model=_model(config["model"]),
        targets=_targets(run, record["targets"]),
        aggregate=config["evaluation"]["aggregate"],
        flip=config["evaluation"]["flip_tta"],
        precision=config["trainer"]["precision"],
        weights=tuple(Weights(k, trained[k], sha256(trained[k])) for k in chosen),
        threshold=figures["threshold"]["value"],
        recalled=figures["threshold"]["recalled"],
        prevalence=figures["pooled"]["prevalence"],
        calibration=_calibration(run, chosen, config["evaluation"]["aggregate"]),
        trained_on=frozenset(pd.read_csv(run / "folds.csv", dtype=str)["patient_id"]),
    )


def _from_bundle(path: Path, folds: tuple[int, ...]) -> TrainedModel:
    bundle = open_bundle(path)
    about = bundle.about
    preprocess = from_mapping(PreprocessSettings, about["preprocess"], "preprocess")
    check_preprocessing(bundle.folder, preprocess, about["hashes"]["preprocessing"])
    files = {int(fold): name for fold, name in about["weights"].items()}
    chosen = _choose(bundle.folder, tuple(sorted(files)), folds)
    return TrainedModel(
        source=bundle.folder,
        n_folds=len(files),
        preprocess=preprocess,
        model=_model(about["model"]),
        targets=_targets(bundle.folder, about["targets"]),
        aggregate=about["aggregate"],
        flip=about["flip"],
        precision=about["arithmetic"],
        weights=tuple(Weights(k, bundle.file(files[k]), bundle.sha256(files[k])) for k in chosen),
        threshold=float(about["threshold"]),
        recalled=float(about["recalled"]),
        prevalence=float(about["prevalence"]),
        calibration=Platt(float(about["calibration"]["slope"]), float(about["calibration"]["intercept"])),
        trained_on=frozenset(),
    )


def check_preprocessing(source: Path, preprocess: PreprocessSettings, recorded: str) -> None:
    """Refuses weights that learnt from other pixels than this version makes.

    Raises:
        RunError: Shows both hashes.
    """
    ours = preprocessing_hash(preprocess)
    if ours != recorded:
        raise RunError(
            f"{source}: was trained with preprocessing {recorded}, this version prepares with {ours}; predictions "
            "would be of other pixels. Use the version that trained it, or train again"
        )


def breast_figures(run: Path, folds: tuple[int, ...]) -> dict[str, Any]:
    """The figures of the out-of-fold breasts of some folds of a run: from its records where these are just those folds.

    Raises:
        RunError: A fold has no figures or no predictions yet, or none of its breasts is positive.
    """
    record = read_json(run / "run.json")
    whole = run / "cv" / "metrics.json" if len(folds) == record["n_folds"] else None
    whole = run / f"fold{folds[0]}" / "metrics.json" if len(folds) == 1 else whole
    if whole and whole.is_file() and "breasts" in (metrics := read_json(whole)):
        recorded: dict[str, Any] = metrics["breasts"]
        return recorded
    config = read_yaml(run / "config.yaml")
    images = pd.concat(_out_of_fold(run, folds), ignore_index=True)
    try:
        found = evaluate(images, config["evaluation"]["aggregate"], sampling=record["data"]["sampling"], resamples=0)
    except ValueError as error:
        raise RunError(f"{run}: folds {', '.join(map(str, folds))}: {error}") from error
    return found.to_dict()


def _out_of_fold(run: Path, folds: tuple[int, ...]) -> list[pd.DataFrame]:
    files = [run / f"fold{fold}" / "oof.parquet" for fold in folds]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise RunError(f"{', '.join(missing)}: no out-of-fold predictions yet; let python train.py finish that fold")
    return [pd.read_parquet(file) for file in files]


def _calibration(run: Path, folds: tuple[int, ...], aggregate: Literal["mean", "max", "top2"]) -> Platt:
    breasts = to_breasts(pd.concat(_out_of_fold(run, folds), ignore_index=True), aggregate)
    if breasts["cancer"].nunique() < 2:
        return Platt()  # one class says nothing of the other
    return fit_platt(breasts["cancer"], breasts["probability"])


def _choose(source: Path, trained: tuple[int, ...], asked: tuple[int, ...]) -> tuple[int, ...]:
    chosen = tuple(fold for fold in trained if not asked or fold in asked)
    if not chosen or any(fold not in chosen for fold in asked):
        what = f"fold {', '.join(map(str, asked))}" if asked else "any fold"
        raise RunError(f"{source}: has no weights of {what}; train it first (python train.py fold=all)")
    return chosen


def _targets(source: Path, names: list[str]) -> tuple[Target, ...]:
    if "cancer" not in names:
        raise RunError(f"{source}: learnt {', '.join(names)}, not cancer; there is nothing to submit")
    return get_targets(tuple(names))


def _model(values: dict[str, Any]) -> ModelSettings:
    return from_mapping(
        ModelSettings, values | {"pretrained": False, "weights": "", "gradient_checkpointing": False}, "model"
    )
