"""What the files of a run and of a bundle hold: their names, their format numbers, and a typed record for each.

docs/run-directory.md shows all of it to people.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field

from rsna.config.data import Aggregate, JoinMethod, Sampling
from rsna.config.model import Unit
from rsna.config.schema import Config
from rsna.config.settings import to_mapping
from rsna.config.training import WantedPrecision
from rsna.dataset.adapters import label_origins
from rsna.dataset.table import ImageTable
from rsna.dataset.table_inputs import TableInput
from rsna.dataset.targets import Target
from rsna.evaluation.bootstrap import Interval as BootstrapInterval
from rsna.evaluation.checks import FEW
from rsna.evaluation.evaluate import Evaluation, learned_nothing
from rsna.runs.set_schema import DataRecord, LabelOrigin, Record, TrainingSet
from rsna.version import __version__

RUN_FORMAT = 5
BUNDLE_FORMAT = 6
"""Raised whenever the records below change; a run or a bundle of another number is refused."""

CONFIG, FOLDS, RECORD, CV = "config.yaml", "folds.csv", "run.json", "cv"
TRAINING_SET = "training_set.json"
"""In a run folder."""
OOF, METRICS, WEIGHTS, HISTORY, LB = "oof.parquet", "metrics.json", "model.safetensors", "history.csv", "lb.json"
"""In its fold folders and in cv/."""
RESAMPLED, SLICES, BANDS = "resamples.json", "slices.json", "bands.json"
"""In cv/, kept of what is computed of the predictions there."""
MLFLOW = "mlflow.db"
"""Beside the runs: the database that mirrors them."""
BUNDLE, CARD = "bundle.json", "README.md"
"""In a bundle."""

Share = Annotated[float, Field(ge=0, le=1)]


class Hashes(Record):
    """The three hashes that travel in cache, run and bundle; 12 hexadecimal characters each."""

    preprocessing: str
    """Settings and version of the preprocessing, and the content of a file of boxes."""
    folds: str
    """Image and fold of every row of folds.csv."""
    dataset: str
    """Every column of the table that training reads, and sizes of files."""


class Commit(Record):
    """The checkout that trained."""

    hash: str | None
    """Null for an installed package."""
    dirty: bool | None
    """Whether it had changes that are in no commit."""


class RunRecord(Record):
    """run.json: what a run is bound to."""

    format: int
    """RUN_FORMAT of the version that wrote it."""
    name: str
    """Name of the experiment."""
    data: DataRecord
    hashes: Hashes
    files: dict[str, str] = Field(default_factory=dict)
    """config.yaml and folds.csv → SHA-256."""
    targets: tuple[str, ...]
    """What is learnt, in the order of the heads."""
    table_inputs: dict[str, tuple[str, ...]]
    """What the network is told of an image beside its pixels → the values that it knows; none of a number."""
    n_folds: int = Field(ge=2)
    """Folds of the split, trained or not."""
    created: str
    """ISO 8601, UTC."""
    commit: Commit
    versions: dict[str, str]
    """Package → version that trained."""

    @classmethod
    def of(
        cls,
        config: Config,
        table: ImageTable,
        hashes: Mapping[str, str],
        targets: Sequence[Target],
        inputs: Sequence[TableInput],
        n_folds: int,
        start: Sequence[LabelOrigin] = (),
    ) -> Self:
        """What a run is bound to that this checkout begins now; ``targets`` are those that the table has labels for,
        ``start`` the sets that the weights had learnt from before.
        """
        from rsna.demo import is_simulated

        return cls(
            format=RUN_FORMAT,
            name=config.name,
            data=DataRecord(
                name=table.name,
                sampling=table.sampling,
                images=len(table.frame),
                simulated=config.data.demo or any(map(is_simulated, table.images.get("path", [])[:1])),
                labels=(*(LabelOrigin(**asdict(origin)) for origin in label_origins(table.images)), *start),
            ),
            hashes=Hashes(**hashes),
            targets=tuple(target.name for target in targets),
            table_inputs={one.name: one.values for one in inputs},
            n_folds=n_folds,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=checkout_commit(),
            versions=package_versions(),
        )


class Interval(Record):
    """Ends of an interval; null where too few resamples define the metric."""

    low: float | None
    high: float | None
    undefined: int = 0
    """Resamples in which the metric is undefined."""


class MetricValues(Record):
    """Metrics of one set of breasts, each under its name; null where the set leaves one undefined."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    name: str
    """`pooled`, `fold 0`, or `fold 0 alone`, whose thresholds saw no other fold."""
    breasts: int
    positives: int
    patients: int
    prevalence: float
    """Share of positive breasts."""
    intervals: dict[str, Interval]
    """Metric → its interval."""

    def get(self, name: str) -> float | None:
        """A metric by its name; None where it is undefined, or unknown."""
        value: float | None = (self.model_extra or {}).get(name)
        return value

    def has(self, name: str) -> bool:
        """Whether it was computed, be it as undefined: a run that was scored before there was a metric has none."""
        return name in (self.model_extra or {})

    def ends(self, name: str) -> tuple[float, float] | None:
        """Ends of a metric's interval; None where it has none."""
        interval = self.intervals.get(name)
        if interval is None or interval.low is None or interval.high is None:
            return None
        return interval.low, interval.high

    @property
    def learned_nothing(self) -> str:
        """Why this is no better than recalling every breast, or than chance; empty where it is."""
        ends, values = self.ends("auroc"), self.model_extra or {}
        return learned_nothing(values, values.get("baseline") or 0.0, BootstrapInterval(*ends) if ends else None)

    @property
    def doubt(self) -> str:
        """:attr:`learned_nothing`, or that this makes no mistake, as labels do; empty where neither is so."""
        if self.get("auroc") == 1 and self.positives >= FEW:
            return (
                "puts every positive above every negative: make sure that its predictions are not made of the labels, "
                "and that it was trained on none of these patients"
            )
        return self.learned_nothing


class ThresholdRecord(Record):
    """The threshold of a submission."""

    model_config = ConfigDict(extra="allow")

    value: Share
    """Best pF1 on these out-of-fold breasts."""
    recalled: Share
    """Share of them at or above it."""


class BreastMetrics(Record):
    """`rsna.evaluation`'s result; what else it says of itself stands beside these keys."""

    model_config = ConfigDict(extra="allow")

    pooled: MetricValues
    folds: tuple[MetricValues, ...]
    """One a fold; empty where there is one alone."""
    threshold: ThresholdRecord
    nested: dict[str, float | None]
    """Fold → threshold chosen on the other folds; null where these have no positive."""
    crossfitted: bool
    """Whether there are no other folds: thresholds are those of parts made of these breasts, and nested pF1 another."""
    sampling: Sampling
    level: float
    """Nominal coverage of the intervals."""

    @classmethod
    def of(cls, found: Evaluation) -> Self:
        """An evaluation as a record."""
        return cls.model_validate_json(json.dumps(found.to_dict()))


class Metrics(Record):
    """metrics.json, of a fold and of all folds pooled."""

    checkpoint: Literal["last", "best"]
    """Which epoch's weights count."""
    data: str
    """Name of the set."""
    breasts: BreastMetrics | None = None
    """Cancer; null where it is not learnt, or no breast is positive."""
    targets: dict[str, Any] = Field(default_factory=dict)
    """Target or target_class → images (with unit=breast, breasts), positives, auroc, interval."""
    hashes: Hashes
    fold: int | None = None
    """A fold's alone."""
    hardware: str = ""
    """A fold's: devices that trained it."""
    seconds: float | None = None
    """A fold's: training, every start of it, and predicting."""
    weights: str = ""
    """A fold's: SHA-256 of its model.safetensors."""
    missing: tuple[str, ...] = ()
    """Pooled: examples without a prediction, by image_id or prediction_id, as no image of them could be prepared."""
    oof: str
    """SHA-256 of the oof.parquet that it was made of."""
    checksum: str
    """SHA-256 of all other keys: metrics that were edited count no more."""


class Calibration(Record):
    """Platt scaling of breast probabilities, on their logits."""

    slope: float = Field(gt=0)
    intercept: float


class Host(Record):
    """The machine that a bundle's wheels are for."""

    holds: str
    """kaggle, none, or the name of the file that said what is installed there."""
    python: str
    """As 3.12."""
    platform: str
    """As wheels name it: manylinux_2_28_x86_64."""


class MemberRecord(Record):
    """A trained model in a bundle."""

    name: str
    """Its run's folder."""
    commit: Commit
    """The checkout that trained."""
    preprocess: dict[str, Any]
    """Settings of the preprocessing, see docs/configuration.md."""
    model: dict[str, Any]
    """Settings of the network, see docs/configuration.md."""
    targets: tuple[str, ...]
    """What was learnt, in the order of the heads."""
    unit: Unit
    """What is predicted at once."""
    fusion: dict[str, Any]
    """Settings of how the images of a breast become one, see docs/configuration.md."""
    compare: bool
    """Whether the exam's other breast is looked at, too."""
    table_inputs: dict[str, tuple[str, ...]]
    """What the network is told of an image beside its pixels → the values that it knows; none of a number."""
    flip: bool
    """Whether the out-of-fold predictions, and with them the threshold, are means over image and mirror image."""
    precision: WantedPrecision
    """trainer.precision."""
    weights: dict[Annotated[int, Field(ge=0)], str]
    """Fold → file."""
    folds: dict[Annotated[int, Field(ge=0)], int]
    """The first member's number of a fold → this one's, where the same split has other numbers."""
    hashes: Hashes
    labels: tuple[LabelOrigin, ...]
    """Sets that it was trained on, now and before, what counts as cancer in each, and on what terms they are had."""
    training_set: TrainingSet | None
    """How the images that were trained on look."""
    config: dict[str, Any]
    """config.yaml without what says where it ran."""
    trained_with: dict[str, str]
    """Package → version that trained."""


class BundleRecord(Record):
    """bundle.json: how to predict, and what every file must hold."""

    format: int
    """BUNDLE_FORMAT of the version that wrote it."""
    name: str
    """Experiment and set; of several members their names."""
    created: str
    """ISO 8601, UTC."""
    members: Annotated[tuple[MemberRecord, ...], Field(min_length=1)]
    """Trained models, one or several, in the order in which they are joined."""
    method: JoinMethod
    """How the members' probabilities of a breast become one."""
    member_weights: tuple[Share, ...]
    """Of the members' logits, where the method is weights; their sum is 1."""
    aggregate: Aggregate
    """Breast probability from its images', in each member."""
    stored: Literal["fp16", "fp32"]
    """Of the weights in their files."""
    threshold: Share
    """Chosen on the joint out-of-fold breasts of these folds."""
    recalled: Share
    """Share of those breasts at or above it."""
    prevalence: Share
    """Share of positive breasts in training: what a breast without any readable image gets."""
    calibration: Calibration
    calibrated_on: str
    """What a site's calibration was fitted on, where it stands in place of the members' own; else empty."""
    simulated: bool
    """Whether a member was trained on the embedded sample: no real mammogram was seen."""
    metrics: BreastMetrics
    """Out of fold, joint."""
    versions: dict[str, str]
    """Package → version that packed."""
    host: Host
    files: dict[str, str]
    """File → SHA-256."""
    sizes: dict[str, Annotated[int, Field(ge=0)]]
    """File → bytes: what is unpacked from an archive, and no more."""


def config_text(config: Config) -> str:
    """The resolved configuration as YAML: what config.yaml holds."""
    import yaml

    return str(yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True))


def package_versions() -> dict[str, str]:
    """Package → version that trains here, of those that what is learnt depends on."""
    names = ("torch", "timm", "pytorch-lightning")
    return {"rsna-mammography": __version__, **{name: version(name) for name in names}}


def checkout_commit() -> Commit:
    """The checkout's commit and whether it has changes; nothing in an installed package."""
    package = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(package), *arguments], capture_output=True, encoding="utf-8", check=True
        )
        return done.stdout.strip()

    try:
        return Commit(hash=git("rev-parse", "--short=12", "HEAD"), dirty=bool(git("status", "--porcelain", "-uno")))
    except (OSError, subprocess.CalledProcessError):
        return Commit(hash=None, dirty=None)


class ExportedFold(Record):
    """One fold of an export."""

    fold: int
    sha256: str
    """Of fold<k>.onnx."""
    weights: str
    """SHA-256 of the weights that it was made of."""
    difference: float
    """Largest difference in probability from torch, over the checked images: singly, in batches, and as examples of two
    images each."""
    torch_images_per_s: float
    onnx_images_per_s: float


class ExportRecord(Record):
    """onnx/export.json, below a run or a bundle."""

    folds: dict[int, ExportedFold]
