"""What the prediction of one trained model needs and nothing else, read from a run directory or a bundle."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rsna.config.data import PreprocessSettings
from rsna.config.model import FusionSettings, ModelSettings
from rsna.config.settings import ConfigError, digest, from_mapping
from rsna.config.training import WantedPrecision
from rsna.dataset.examples import ExampleSpec
from rsna.dataset.table_inputs import TableInput
from rsna.dataset.targets import Target, get_targets
from rsna.model.heads import output_count, output_slices
from rsna.prepare.hashing import preprocessing_hash
from rsna.runs.bundle import Bundle, one_path, open_bundle
from rsna.runs.errors import RunError
from rsna.runs.record_file import check_file, read_bytes
from rsna.runs.run import Run, open_run
from rsna.runs.run_directory import fold_folder
from rsna.runs.schema import BUNDLE, CV, RECORD, WEIGHTS, MemberRecord, RunRecord
from rsna.runs.set_schema import LabelOrigin

if TYPE_CHECKING:
    from rsna.model.network import MammogramNet


@dataclass(frozen=True)
class Weights:
    """One fold's weights on disk."""

    fold: int
    """As the first member of the ensemble numbers it."""
    own: int
    """As its run does."""
    file: Path
    sha256: str
    """What the file must hold; nothing else is loaded."""


@dataclass(frozen=True)
class TrainedModel:
    """How a run turns files into the logits of examples."""

    name: str
    """Of the run's folder."""
    source: Path
    """Run folder, or bundle."""
    exports: Path
    """Folder that `rsna export` writes."""
    n_folds: int
    """Folds that the run has, or the bundle holds, used or not."""
    preprocess: PreprocessSettings
    model: ModelSettings
    targets: tuple[Target, ...]
    spec: ExampleSpec
    """What is predicted at once, and how its images are joined."""
    flip: bool
    """Whether out-of-fold predictions, and with them the threshold, are means over each image and its mirror image."""
    precision: WantedPrecision
    """``trainer.precision``: a run that was trained in 32 bits by choice predicts in them, too."""
    weights: tuple[Weights, ...]
    """One file a fold."""
    trained_on: frozenset[str]
    """Patients of the run's folds, and of the runs that it started from as far as they are there; predictions on them
    are no test. A bundle does not carry them."""
    labels: tuple[LabelOrigin, ...]
    """Where the labels that it learnt came from."""
    selected: bool = False
    """Whether its epochs were chosen on the folds that threshold, calibration and metrics are of."""
    extra_sets: tuple[Path, ...] = ()
    """Folders of further sets that every fold was trained on, or every one but the fold that is the set itself, here or
    in the runs that it started from."""

    @property
    def folds(self) -> tuple[int, ...]:
        """Folds whose weights are used."""
        return tuple(weights.fold for weights in self.weights)

    @property
    def shown(self) -> str:
        """What people tell it by: its run folder; in a bundle of several, its name."""
        return str(self.source) if self.source.name == self.name else self.name

    @property
    def cancer_column(self) -> int:
        """Column of the logits that is cancer's."""
        names = [target.name for target in self.targets]
        return int(output_slices(self.targets)[names.index("cancer")].start)

    @property
    def model_hash(self) -> str:
        """Of preprocessing, weights, what is made of them and given to them, and what they tell: predictions under the
        same hash may be joined."""
        network = {name: getattr(self.model, name) for name in ("backbone", "in_chans", "pooling", "resize", "crop")}
        weights, targets = [weights.sha256 for weights in self.weights], [target.name for target in self.targets]
        return digest(preprocessing_hash(self.preprocess), weights, [asdict(self.spec)], network, targets)

    def networks(self) -> "list[MammogramNet]":
        """Builds every fold's network with its weights.

        Raises:
            RunError: A weight file cannot be read, is not the one that was recorded, or does not fit.
        """
        # torch, which reading what a run says of itself does without: what is wrong with it is said at once.
        from safetensors import SafetensorError
        from safetensors.torch import load

        from rsna.model.network import build_model
        from rsna.model.weights import with_counters

        networks = []
        for weights in self.weights:
            content = read_bytes(weights.file)
            if hashlib.sha256(content).hexdigest() != weights.sha256:
                raise RunError(f"{weights.file}: its SHA-256 is not the recorded one; copy the file again")
            networks.append(build_model(self.model, output_count(self.targets), self.spec))
            try:
                networks[-1].load_state_dict(with_counters(load(content), networks[-1].state_dict()))
            except (SafetensorError, RuntimeError, ValueError) as error:
                raise RunError(f"{weights.file}: cannot be loaded into {self.model.backbone}: {error}") from error
        return networks


def load_trained(source: str | Path | Run | Bundle, folds: tuple[int, ...] = ()) -> TrainedModel:
    """Reads what a run folder, or a bundle of one model, says of how it predicts; weights follow with
    :meth:`TrainedModel.networks`.

    Args:
        source: Run folder, bundle's folder, or its archive (.zip, .tar); or any of them opened.
        folds: Folds to use; empty takes every one that is finished.

    Raises:
        RunError: It is not there, or neither; a file of it is torn, changed or of another format; no fold is trained;
            cancer is not among the targets; preprocessing of another version; a bundle of several models.
    """
    opened = source if isinstance(source, (Run, Bundle)) else open_any(source, folds)
    if isinstance(opened, Run):
        return model_of_run(opened, folds)
    if len(opened.record.members) > 1:
        raise RunError(f"run={opened.folder}: is a bundle of {len(opened.record.members)} models, and this takes one")
    return models_of_bundle(opened, folds)[0]


def open_any(source: str | Path, folds: tuple[int, ...] = ()) -> Run | Bundle:
    """A run folder, or a bundle as folder or archive; refuses what :func:`load_trained` refuses of the files.

    Args:
        folds: Folds of a run that are read; empty for all.
    """
    path = one_path(source)
    return open_bundle(path) if path.is_file() or (path / BUNDLE).is_file() else open_run(path, folds)


def folds_not_trained_on(run: Sequence[str]) -> Mapping[str, int]:
    """Patient → the fold that was not trained on it, of a run, or of runs that share theirs; empty of a bundle."""
    source = open_any(run[0])
    if isinstance(source, Bundle):
        return {}
    return dict(zip(source.folds["patient_id"], source.folds["fold"], strict=True))


def model_of_run(run: Run, folds: tuple[int, ...], numbers: Mapping[int, int] | None = None) -> TrainedModel:
    """The model of an open run; raises what :func:`load_trained` does.

    Args:
        numbers: The number that a fold gets → the run's own; None where they are the same.
    """
    own = tuple(numbers.values()) if numbers else folds
    chosen, targets = _check(run.path, run.config.preprocess, run.record, run.weights, own)
    used = [fold_folder(run.path, fold) for fold in chosen]
    used += [run.path / CV] if len(chosen) == run.record.n_folds else []
    for why in (why for file, why in run.changed.items() if file.parent in used):
        raise RunError(why)
    for k in chosen:
        check_file(run.weights[k], {WEIGHTS: run.fold_metrics[k].weights})
    numbers = numbers or {k: k for k in chosen}
    trained = _with_starts(run)
    return TrainedModel(
        name=run.name,
        source=run.path,
        exports=run.path / "onnx",
        n_folds=run.record.n_folds,
        preprocess=run.config.preprocess,
        model=_network_alone(run.config.model),
        targets=targets,
        spec=ExampleSpec(run.config.unit, run.config.fusion, run.config.compare, _inputs(run.record)),
        flip=run.config.evaluation.flip_tta,
        precision=run.config.trainer.precision,
        weights=tuple(Weights(fold, k, run.weights[k], run.fold_metrics[k].weights) for fold, k in numbers.items()),
        trained_on=frozenset[str]().union(*(one.patients() for one in trained)),
        labels=run.record.data.labels,
        selected=run.selected,
        extra_sets=tuple(Path(root).expanduser().resolve() for one in trained for root in one.config.data.extra),
    )


def _with_starts(run: Run) -> list[Run]:
    """A run, the one whose weights it started from, the one before that, …, as far as they can be read."""
    found: dict[Path, Run] = {}
    ahead = [run]
    while ahead:
        one = ahead.pop()
        start = Path(one.config.model.weights).expanduser()
        known = one.path.resolve() in found  # runs of the same names may start in a circle
        found[one.path.resolve()] = one
        if known or not one.config.model.weights or not start.exists():
            continue
        # By the name that was given, and by where it leads.
        for place in dict.fromkeys((start.absolute(), start.resolve())):
            for folder in (place, *place.parents[:2]):
                with suppress(RunError):
                    ahead += [open_run(folder)] if (folder / RECORD).is_file() else []
    return list(found.values())


def models_of_bundle(bundle: Bundle, folds: tuple[int, ...]) -> tuple[TrainedModel, ...]:
    """The members of an open bundle; raises what :func:`load_trained` does."""
    return tuple(_member(bundle, record, folds) for record in bundle.record.members)


def _member(bundle: Bundle, record: MemberRecord, folds: tuple[int, ...]) -> TrainedModel:
    try:
        preprocess = from_mapping(PreprocessSettings, record.preprocess, "preprocess")
        model = from_mapping(ModelSettings, record.model, "model")
        fusion = from_mapping(FusionSettings, record.fusion, "fusion")
    except ConfigError as error:
        raise RunError(f"{bundle.folder / BUNDLE}: {error}; the file was changed, copy it again") from error
    chosen, targets = _check(bundle.folder, preprocess, record, sorted(record.folds), folds)
    files = {fold: record.weights.get(record.folds[fold], "") for fold in chosen}
    bundle.check_files(files.values())
    hashes = bundle.record.files
    alone = len(bundle.record.members) == 1
    return TrainedModel(
        name=record.name,
        source=bundle.folder,
        exports=bundle.folder / "onnx" if alone else bundle.folder / "onnx" / record.name,
        n_folds=len(record.weights),
        preprocess=preprocess,
        model=_network_alone(model),
        targets=targets,
        spec=ExampleSpec(record.unit, fusion, record.compare, _inputs(record)),
        flip=record.flip,
        precision=record.precision,
        weights=tuple(
            Weights(fold, record.folds[fold], bundle.folder / name, hashes[name]) for fold, name in files.items()
        ),
        trained_on=frozenset(),
        labels=record.labels,
        selected=record.config.get("checkpoint") == "best",
    )


def _check(
    path: Path,
    preprocess: PreprocessSettings,
    record: RunRecord | MemberRecord,
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
        what = f"fold {', '.join(str(fold) for fold in asked if fold not in chosen)}" if asked else "any fold"
        raise RunError(f"{path}: has no weights of {what} that is finished; train it first (python train.py fold=all)")
    return chosen, get_targets(record.targets)


def _inputs(record: RunRecord | MemberRecord) -> tuple[TableInput, ...]:
    return tuple(TableInput(name, values) for name, values in record.table_inputs.items())


def _network_alone(model: ModelSettings) -> ModelSettings:
    """Where training's first weights came from, and how it saved memory, does not matter any more."""
    return replace(model, pretrained=False, weights="", gradient_checkpointing=False)
