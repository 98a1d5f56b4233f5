"""The typed schema of everything under conf/, and how Hydra's composition becomes one frozen :class:`Config`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from rsna.config.data import DataSettings, FoldSettings, PreprocessSettings, TargetName
from rsna.config.model import ModelSettings
from rsna.config.settings import require
from rsna.config.training import AugmentSettings, LossSettings, OptimSettings, SamplerSettings, TrainerSettings


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
    targets: tuple[TargetName, ...] = ("cancer",)
    """Heads: cancer, biopsy, invasive, difficult_negative_case, BIRADS, density, view."""
    global_batch_size: int = 16
    """Images per optimiser step over all devices: 2 GPUs × 8; fewer devices accumulate gradients to the same."""
    batch_size_per_device: int = 8
    """Images per device and forward pass."""
    checkpoint: Literal["last", "best"] = "last"
    """Weights that count: the last epoch's, or the best epoch's by pF1 on the fold that is reported."""
    soup: int = 1
    """Average the weights of this many epochs: the last ones, or with checkpoint=best the best ones."""
    objective: Literal["nested_pf1", "raw_pf1", "auroc", "auprc"] = "nested_pf1"
    """What a sweep optimises: of all folds pooled with fold=all, else of the fold."""
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
        require(bool(self.targets), f"targets: name at least one of {', '.join(get_args(TargetName))}")
        twice = [name for name in self.targets if self.targets.count(name) > 1]
        require(not twice, f"targets: {twice and twice[0]!r} is named {twice and self.targets.count(twice[0])} times")
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
