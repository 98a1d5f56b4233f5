"""The typed schema of everything under conf/, and how Hydra's composition becomes one frozen :class:`Config`."""

import dataclasses
import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from rsna.dataset.folds import FoldSettings
from rsna.dataset.prepare import PreprocessSettings
from rsna.dataset.source import DataSettings, choose_data
from rsna.dataset.targets import get_targets
from rsna.model.settings import ModelSettings
from rsna.overrides import fit_override
from rsna.settings import ConfigError, from_mapping, require
from rsna.training.settings import AugmentSettings, LossSettings, OptimSettings, SamplerSettings, TrainerSettings


@dataclass(frozen=True)
class EvaluationSettings:
    """How image probabilities become the breasts' and their figures."""

    aggregate: Literal["mean", "max", "top2"] = "mean"
    """Breast probability from its images'."""
    flip_tta: bool = False
    """Predict each image and its mirror image, and average the two logits."""
    resamples: int = 2000
    """Patient-level bootstrap resamples behind every interval."""

    def __post_init__(self) -> None:
        require(self.resamples >= 100, f"resamples: {self.resamples} is below 100, too few for an interval")


@dataclass(frozen=True)
class PrepareOptions:
    """How the cache is filled; nothing here changes a pixel."""

    workers: int | None = None
    """Preparing processes; null is one a core."""
    file_timeout: float = 60.0
    """Seconds after which a file counts as failed."""
    max_failed: float = 0.01
    """Share of the images that may fail before the run stops."""

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 1, f"workers: {self.workers} is below 1")
        require(self.file_timeout > 0, f"file_timeout: {self.file_timeout} is not above 0 seconds")
        require(0 <= self.max_failed <= 1, f"max_failed: {self.max_failed} is not in [0, 1]")


@dataclass(frozen=True)
class Config:
    """One experiment: data, preparing, folds, model, training, evaluation."""

    name: str = "b3"
    """Name of the experiment; with the name of the set it names the run folder."""
    run: str = ""
    """Run folder; empty is runs/<name>-<data.name>."""
    fold: int | Literal["all"] = 0
    """Fold to train, validated on the patients it leaves out; all trains every fold."""
    targets: tuple[str, ...] = ("cancer",)
    """Heads: cancer, biopsy, invasive, difficult_negative_case, BIRADS, density, view."""
    global_batch_size: int = 16
    """Images per optimiser step over all devices: 2 GPUs × 8; fewer devices accumulate gradients to the same."""
    batch_size_per_device: int = 8
    """Images per device and forward pass."""
    checkpoint: Literal["last", "best"] = "last"
    """Weights that count: the last epoch's, or the best epoch's by pF1 on the fold that is reported."""
    soup: int = 1
    """Average the weights of this many epochs: the last ones, or with checkpoint=best the best ones."""
    seed: int = 0
    """Seed of sampling, augmentation, drop-out and initial weights."""
    deterministic: bool = False
    """Only deterministic algorithms: the same weights bit for bit on the same machine, somewhat slower."""
    tracking: Literal["mlflow", "none"] = "mlflow"
    """Mirror runs into MLflow (sqlite:///runs/mlflow.db), or nowhere."""
    cache_dir: str = "cache"
    """Folder of prepared images."""
    data: DataSettings = field(default_factory=DataSettings)
    """The set of images."""
    preprocess: PreprocessSettings = field(default_factory=PreprocessSettings)
    """File → prepared image."""
    prepare: PrepareOptions = field(default_factory=PrepareOptions)
    """Filling the cache."""
    folds: FoldSettings = field(default_factory=FoldSettings)
    """Split of the patients."""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Network."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Random changes to training images."""
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    """Which images make up an epoch."""
    loss: LossSettings = field(default_factory=LossSettings)
    """What is minimised."""
    optim: OptimSettings = field(default_factory=OptimSettings)
    """Optimiser and schedule."""
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    """Length and hardware."""
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    """Breast level figures."""

    def __post_init__(self) -> None:
        get_targets(self.targets)
        require(self.fold == "all" or self.fold >= 0, f"fold: {self.fold} is below 0")
        require(self.seed >= 0, f"seed: {self.seed} is below 0")
        for key in ("global_batch_size", "batch_size_per_device", "soup"):
            require(getattr(self, key) >= 1, f"{key}: {getattr(self, key)} is below 1")
        micro = min(self.batch_size_per_device, self.global_batch_size)
        require(
            self.sampler.kind != "balanced" or self.sampler.positives < micro,
            f"sampler.positives: {self.sampler.positives} leaves no room in batches of {micro} (batch_size_per_device)",
        )
        require(
            bool(self.augment.crop) == bool(self.model.crop),
            f"augment.crop: {self.augment.crop} and model.crop={self.model.crop}: random crops in training need a "
            "centre crop in evaluation, and the other way round; set both or neither",
        )
        bad = set(self.name) & set("/\\ ")
        require(not bad and bool(self.name), f"name: {self.name!r} becomes a folder's name; no slashes or spaces")

    @property
    def run_dir(self) -> Path:
        """Folder that this experiment writes."""
        return Path(self.run) if self.run else Path("runs") / f"{self.name}-{self.data_name}"

    @property
    def data_name(self) -> str:
        """Name of the set of images."""
        return self.data.name or Path(self.data.root).expanduser().resolve().name


def conf_dir() -> Path:
    """The folder conf/: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(f"conf/ is neither in {package} nor in {package.parent}; install the package again")


def hydra_schema(cls: type[Any]) -> Any:
    """An OmegaConf node with every key and default of a settings class.

    Hydra needs mutable schemas and knows no ``Literal``, so only the keys are held here; values are checked, with
    better words, by :func:`rsna.settings.from_mapping`.
    """
    from omegaconf import OmegaConf

    def defaults(settings: Any) -> dict[str, Any]:
        values = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
        return {
            key: defaults(value)
            if dataclasses.is_dataclass(value)
            else list(value)
            if isinstance(value, tuple)
            else value
            for key, value in values.items()
        }

    node = OmegaConf.create(defaults(cls()))
    OmegaConf.set_struct(node, True)
    return node


def register_schema() -> None:
    """Stores the schema under the name that conf/config.yaml starts from."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=hydra_schema(Config))


def resolve_overrides(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Replaces ``data=auto``, which is the default, by what it stands for here; returns the line that says so.

    A folder that is named by ``data.root=`` is the user's own set: the embedded sample is written there only where it
    is asked for by name.

    Raises:
        ConfigError: The environment names a folder that does not exist.
    """
    chosen = [a for a in arguments if a.startswith("data=")]
    # An experiment may bring its own set; then nothing is left to choose.
    if (chosen and chosen[-1] != "data=auto") or (not chosen and _experiment_sets_data(arguments)):
        return list(arguments), ""
    given = next((a for a in reversed(arguments) if a.lstrip("+").startswith("data.root=")), "")
    data, why = ("rsna", f"{given} is given") if given else choose_data()
    return [a for a in arguments if a != "data=auto"] + [f"data={data}"], f"data=auto → data={data}: {why}"


def compose(arguments: Sequence[str]) -> Config:
    """Composes conf/ with ``key=value`` overrides, as train.py does, for every other verb that needs a configuration.

    Raises:
        ConfigError: A misspelt key, an unknown group, a value that is not allowed.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    register_schema()
    overrides, said = resolve_overrides(arguments)
    overrides = check_overrides(overrides)
    if said:
        print(said, file=sys.stderr)
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return freeze(hydra_compose("config", overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error)) from error


def check_overrides(arguments: Sequence[str]) -> list[str]:
    """Refuses misspelt keys, groups and values before Hydra does, with the names that are near.

    Returns:
        The overrides as Hydra must be given them; see :func:`rsna.overrides.fit_override`.

    Raises:
        ConfigError: A key that the schema lacks, a group without this option, or a value that needs quotes.
    """
    checked = []
    for argument in arguments:
        key, equals, value = argument.lstrip("+~").partition("=")
        if not equals or argument.startswith("-") or key.startswith("hydra"):
            checked.append(argument)
            continue
        group = conf_dir() / key
        if group.is_dir() and "." not in key:
            options = sorted(file.stem for file in group.glob("*.yaml"))
            wrong = [name for name in value.split(",") if name not in (*options, "null")]
            require(not wrong, f"{key}: there is no {wrong and wrong[0]!r}; options: {', '.join(options)}")
            checked.append(argument)
        else:
            checked.append(fit_override(argument, _key_type(key)))
    return checked


def _key_type(key: str) -> Any:
    cls: Any = Config
    for part in key.split("."):
        names = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
        if part not in names:
            known = [*names, *(entry.name for entry in conf_dir().iterdir() if entry.is_dir() and cls is Config)]
            near = difflib.get_close_matches(part, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"{key}: there is no such key; {hint}")
        cls = get_type_hints(cls)[part]
    return cls


def explain(error: Exception) -> str:
    """A Hydra error in one or two lines, its cause included."""
    lines = [line for line in str(error).splitlines() if line.strip() and "object_type" not in line]
    cause = error.__cause__
    return "; ".join([*lines[:3], *([str(cause).splitlines()[0]] if cause and str(cause) else [])])


def freeze(composed: Any) -> Config:
    """An OmegaConf composition → the checked, frozen configuration."""
    from omegaconf import OmegaConf

    return from_mapping(Config, OmegaConf.to_container(composed, resolve=True))  # type: ignore[arg-type]


def _experiment_sets_data(arguments: Sequence[str]) -> bool:
    names = [a.removeprefix("experiment=") for a in arguments if a.startswith("experiment=")]
    file = conf_dir() / "experiment" / f"{names[-1]}.yaml" if names else None
    return bool(file and file.is_file() and "override /data:" in file.read_text())
