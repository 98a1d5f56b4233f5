"""What a prediction needs and nothing else, read from a run directory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from rsna.dataset.prepare import PreprocessSettings, preprocessing_hash
from rsna.dataset.targets import Target, get_targets
from rsna.files import read_json
from rsna.model.heads import output_count, output_slices
from rsna.model.network import MammogramNet, build_model
from rsna.model.settings import ModelSettings
from rsna.settings import from_mapping


class RecipeError(ValueError):
    """A run that nothing can be predicted with; the message says what is missing."""


@dataclass(frozen=True)
class Recipe:
    """How a run turns files into breast probabilities."""

    source: Path
    """Run folder."""
    preprocess: PreprocessSettings
    model: ModelSettings
    targets: tuple[Target, ...]
    aggregate: Literal["mean", "max", "top2"]
    """Breast probability from its images'."""
    weights: tuple[Path, ...]
    """One file a fold."""
    threshold: float
    """Chosen on all out-of-fold breasts; of a single fold's where the others are not trained."""
    recalled: float
    """Share of out-of-fold breasts at or above the threshold."""
    prevalence: float
    """Share of positive breasts in training: what a breast without any readable image gets."""
    folds: tuple[int, ...]
    """Folds whose weights are used."""

    @property
    def cancer_column(self) -> int:
        """Column of the logits that is cancer's."""
        names = [target.name for target in self.targets]
        return int(output_slices(self.targets)[names.index("cancer")].start)

    def networks(self) -> list[MammogramNet]:
        """Builds every fold's network with its weights.

        Raises:
            RecipeError: A weight file cannot be read or does not fit.
        """
        return [self._network(file) for file in self.weights]

    def _network(self, file: Path) -> MammogramNet:
        network = build_model(self.model, output_count(self.targets))
        try:
            network.load_state_dict(load_file(file))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise RecipeError(f"{file}: cannot be loaded into {self.model.backbone}: {error}") from error
        return network


def load_recipe(run: str | Path, folds: tuple[int, ...] = ()) -> Recipe:
    """Reads a run directory.

    Args:
        run: ``runs/<experiment>``.
        folds: Folds to use; empty takes every one that is trained.

    Raises:
        RecipeError: No run, no trained fold, no cancer among the targets, preprocessing of another version.
    """
    run = Path(run)
    if not (run / "config.yaml").is_file():
        raise RecipeError(f"run={run}: there is no {run / 'config.yaml'}; `rsna leaderboard` lists the runs")
    config = yaml.safe_load((run / "config.yaml").read_text())
    record = read_json(run / "run.json")
    trained = {k: run / f"fold{k}" / "model.safetensors" for k in range(record["n_folds"])}
    trained = {k: file for k, file in trained.items() if file.is_file() and (not folds or k in folds)}
    if not trained or any(fold not in trained for fold in folds):
        asked = f"fold {', '.join(map(str, folds))}" if folds else "any fold"
        raise RecipeError(f"{run}: has no weights of {asked}; train it first (python train.py fold=all)")
    preprocess = from_mapping(PreprocessSettings, config["preprocess"], "preprocess")
    _check_preprocessing(run, preprocess, record)
    targets = get_targets(tuple(record["targets"]))
    if "cancer" not in record["targets"]:
        raise RecipeError(f"{run}: learnt {', '.join(record['targets'])}, not cancer; there is nothing to submit")
    figures = _figures(run, tuple(trained), record["n_folds"])
    model = config["model"] | {"pretrained": False, "weights": "", "gradient_checkpointing": False}
    return Recipe(
        source=run,
        preprocess=preprocess,
        model=from_mapping(ModelSettings, model, "model"),
        targets=targets,
        aggregate=config["evaluation"]["aggregate"],
        weights=tuple(trained.values()),
        threshold=figures["threshold"]["value"],
        recalled=figures["threshold"]["recalled"],
        prevalence=figures["pooled"]["prevalence"],
        folds=tuple(trained),
    )


def training_patients(run: str | Path) -> set[str]:
    """Patients of a run's folds; predictions on them are no test."""
    return set(pd.read_csv(Path(run) / "folds.csv", dtype=str)["patient_id"])


def _check_preprocessing(run: Path, preprocess: PreprocessSettings, record: dict[str, Any]) -> None:
    ours, theirs = preprocessing_hash(preprocess), record["hashes"]["preprocessing"]
    if ours != theirs:
        raise RecipeError(
            f"{run}: was trained with preprocessing {theirs}, this version prepares with {ours}; predictions would be "
            "of other pixels. Use the version that trained it, or train again"
        )


def _figures(run: Path, folds: tuple[int, ...], n_folds: int) -> dict[str, Any]:
    pooled = run / "cv" / "metrics.json"
    files = [pooled] if pooled.is_file() and len(folds) == n_folds else []
    files += [run / f"fold{fold}" / "metrics.json" for fold in folds]
    for file in files:
        if file.is_file() and "breasts" in (metrics := read_json(file)):
            breasts: dict[str, Any] = metrics["breasts"]
            return breasts
    raise RecipeError(f"{run}: no fold has figures yet; let python train.py finish one")
