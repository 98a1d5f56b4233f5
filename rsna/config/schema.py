"""The typed schema of everything under conf/, and how Hydra's composition becomes one frozen :class:`Config`."""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, NonNegativeInt, PositiveFloat

from rsna.config.data import Aggregate, DataSettings, FolderName, FoldSettings, PreprocessSettings, TargetName
from rsna.config.model import FusionSettings, ModelSettings, TableInputName, Unit
from rsna.config.settings import AtLeastOne, Auto, BelowOne, Fraction, require, settings
from rsna.config.training import AugmentSettings, LossSettings, OptimSettings, SamplerSettings, TrainerSettings


@settings
class EvaluationSettings:
    """How image probabilities become the breasts', and their metrics."""

    aggregate: Aggregate = "mean"
    """Breast probability from its images'."""
    flip_tta: bool = False
    """Predict each image and its mirror image, and average the two logits."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Patient-level bootstrap resamples behind every interval."""


@settings
class PrepareSettings:
    """How the cache is filled; nothing here changes a pixel."""

    workers: AtLeastOne | Auto = "auto"
    """Preparing processes; auto is one a core."""
    file_timeout: PositiveFloat = 60.0
    """Seconds after which a file counts as failed."""
    max_failed: Fraction = 0.01
    """Share of the images that may fail before the run stops."""


@settings
class Config:
    """One experiment: data, preparing, folds, model, training, evaluation."""

    name: FolderName = "b3"
    """Name of the experiment; with the name of the set it names the run folder."""
    run: str = ""
    """Run folder; empty is runs/<name>-<data.name>."""
    fold: NonNegativeInt | Literal["all"] = 0
    """Fold to train, validated on the patients it leaves out; all trains every fold."""
    targets: tuple[TargetName, ...] = ("cancer",)
    """Heads: cancer, biopsy, invasive, difficult_negative_case, BIRADS, density, view."""
    unit: Unit = "image"
    """What is learnt and predicted at once, an example: image, or breast with all its images, which fusion joins."""
    compare: bool = False
    """With unit=breast: the images of the exam's other breast are looked at, too, and enter as a difference."""
    table_inputs: tuple[TableInputName, ...] = ()
    """What the network is told of an image beside its pixels: age, implant, view, machine_id, site_id."""
    unknown_rate: BelowOne = 0.1
    """For table_inputs: probability of each in training to be unknown, so that the network knows what to do then."""
    global_batch_size: AtLeastOne = 16
    """Examples per optimiser step over all devices: 2 GPUs × 8; fewer devices accumulate gradients to the same."""
    batch_size_per_device: AtLeastOne = 8
    """Examples per device and forward pass."""
    checkpoint: Literal["last", "best"] = "last"
    """Weights that count: the last epoch's, or the best epoch's by pF1 on the fold that is reported."""
    soup: AtLeastOne = 1
    """Average the weights of this many epochs: the last ones, or with checkpoint=best the best ones."""
    objective: Literal["nested_pf1", "raw_pf1", "auroc", "auprc"] = "nested_pf1"
    """What a sweep optimises: of all folds pooled with fold=all, else of the fold."""
    seed: NonNegativeInt = 0
    """Seed of sampling, augmentation, drop-out and initial weights."""
    deterministic: bool = False
    """Only deterministic algorithms: the same weights bit for bit on the same machine, somewhat slower."""
    tracking: Literal["mlflow", "none"] = "mlflow"
    """Mirror runs into MLflow (mlflow.db beside the run folder: runs/mlflow.db), or nowhere."""
    cache_dir: Annotated[str, Field(min_length=1)] = "cache"
    """Folder of prepared images."""
    pack: str = ""
    """Pack of prepared images that is read in place of the cache: a folder, or a URL such as s3://bucket/pack."""
    data: DataSettings = Field(default_factory=DataSettings)
    """The set of images."""
    preprocess: PreprocessSettings = Field(default_factory=PreprocessSettings)
    """File → prepared image."""
    prepare: PrepareSettings = Field(default_factory=PrepareSettings)
    """Filling the cache."""
    folds: FoldSettings = Field(default_factory=FoldSettings)
    """Split of the patients."""
    model: ModelSettings = Field(default_factory=ModelSettings)
    """Network."""
    fusion: FusionSettings = Field(default_factory=FusionSettings)
    """Images of a breast → one."""
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    """Random changes to training images."""
    sampler: SamplerSettings = Field(default_factory=SamplerSettings)
    """Which images make up an epoch."""
    loss: LossSettings = Field(default_factory=LossSettings)
    """What is minimised."""
    optim: OptimSettings = Field(default_factory=OptimSettings)
    """Optimiser and schedule."""
    trainer: TrainerSettings = Field(default_factory=TrainerSettings)
    """Length and hardware."""
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    """Breast level metrics."""

    def __post_init__(self) -> None:
        require(bool(self.targets), f"targets: name at least one of {', '.join(get_args(TargetName))}")
        twice = [name for name in self.targets if self.targets.count(name) > 1]
        require(not twice, f"targets: {twice and twice[0]!r} is named {twice and self.targets.count(twice[0])} times")
        self._check_examples()
        # A file of folds, or a column, says how many there are when it is read.
        told_later = bool(self.folds.file) or self.folds.by != "chance"
        known = self.fold == "all" or told_later or self.fold < self.folds.n_folds
        numbers = ", ".join(map(str, range(self.folds.n_folds)))
        require(known, f"fold: there is no fold {self.fold}; this run has {numbers}, or all")
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
        require(bool(self.name), "name: it names the run folder; leave it out or give one")

    def _check_examples(self) -> None:
        """What joins images needs breasts, and mixup needs images that nothing else is known of."""
        breast = self.unit == "breast"
        require(
            breast or not self.loss.image_weight,
            "loss.image_weight: images have a loss beside that of their breast with unit=breast; add that",
        )
        require(breast or not self.compare, "compare: the other breast is compared with unit=breast; add that")
        kind = self.fusion.kind
        require(breast or kind == "mean", f"fusion.kind: {kind} joins the images of a breast; add unit=breast")
        require(
            not breast or self.targets != ("view",),
            "targets: a breast has no view to be learnt; name another target, or take unit=image",
        )
        twice = [name for name in self.table_inputs if self.table_inputs.count(name) > 1]
        require(not twice, f"table_inputs: {twice and twice[0]!r} is named more than once")
        told = "compare=true" if self.compare else "table_inputs" if self.table_inputs else ""
        told = told or ("fusion.kind=transformer, which knows views," if kind == "transformer" else "")
        require(
            not (self.augment.mixup and told),
            f"augment.mixup: {self.augment.mixup:g} mixes images of unlike patients and views, and {told} tells them "
            "apart; set one of them",
        )

    @property
    def input_names(self) -> tuple[TableInputName, ...]:
        """Table inputs with the view that a transformer tells images apart by."""
        view: tuple[TableInputName, ...] = ("view",) if self.fusion.kind == "transformer" else ()
        return view + tuple(name for name in self.table_inputs if name not in view)

    @property
    def run_dir(self) -> Path:
        """Folder that this experiment writes."""
        return Path(self.run) if self.run else Path("runs") / f"{self.name}-{self.data_name}"

    @property
    def data_name(self) -> str:
        """Name of the set of images."""
        return self.data.name or Path(self.data.root).expanduser().resolve().name
