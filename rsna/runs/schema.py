"""What the files of a run and of a bundle hold: their names, their format numbers, and a typed record for each.

docs/run-directory.md shows all of it to people.
"""

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rsna.config.data import Aggregate, Sampling
from rsna.config.schema import Config
from rsna.config.settings import to_mapping
from rsna.config.training import WantedPrecision
from rsna.dataset.table import ImageTable
from rsna.dataset.targets import Target
from rsna.runs.errors import RunError

RUN_FORMAT = 1
BUNDLE_FORMAT = 3
"""Raised whenever the records below change; a run or a bundle of another number is refused."""

CONFIG, FOLDS, RECORD, CV = "config.yaml", "folds.csv", "run.json", "cv"
"""In a run folder."""
OOF, METRICS, WEIGHTS, HISTORY, LB = "oof.parquet", "metrics.json", "model.safetensors", "history.csv", "lb.json"
MLFLOW = "mlflow.db"
"""Beside the runs: the database that mirrors them."""
"""In its fold folders and in cv/."""
BUNDLE, CARD = "bundle.json", "README.md"
"""In a bundle."""

Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """Values that are of just these types, under just these keys: anything else was torn, or is another's."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Hashes(Record):
    """The three hashes that travel in cache, run and bundle; 12 hexadecimal characters each."""

    preprocessing: str
    """Settings and version of the preprocessing, and choices of the decoder."""
    folds: str
    """Image and fold of every row of folds.csv."""
    dataset: str
    """Table and sizes of files."""


class Commit(Record):
    """The checkout that trained."""

    hash: str | None
    """Null for an installed package."""
    dirty: bool | None
    """Whether it had changes that are in no commit."""


class DataRecord(Record):
    """The set that was trained on."""

    name: str
    sampling: Sampling
    """Whether its share of positives means anything."""
    images: int
    """Images of the folds."""
    simulated: bool
    """Whether it is the demo's."""


class RunRecord(Record):
    """run.json: what a run is bound to."""

    format: int
    """RUN_FORMAT of the version that wrote it."""
    name: str
    """Name of the experiment."""
    data: DataRecord
    hashes: Hashes
    config: str
    """SHA-256 of config.yaml."""
    targets: tuple[str, ...]
    """What is learnt, in the order of the heads."""
    n_folds: int = Field(ge=2)
    """Folds of the split, trained or not."""
    created: str
    """ISO 8601, UTC."""
    commit: Commit
    versions: dict[str, str]
    """Package → version that trained."""

    @classmethod
    def of(
        cls, config: Config, table: ImageTable, hashes: Mapping[str, str], targets: Sequence[Target], n_folds: int
    ) -> Self:
        """What a run is bound to that this checkout begins now; ``targets`` are those that the table has labels for."""
        return cls(
            format=RUN_FORMAT,
            name=config.name,
            data=DataRecord(
                name=table.name, sampling=table.sampling, images=len(table.frame), simulated=config.data.demo
            ),
            hashes=Hashes(**hashes),
            config=hashlib.sha256(config_text(config).encode()).hexdigest(),
            targets=tuple(target.name for target in targets),
            n_folds=n_folds,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=checkout_commit(),
            versions={name: version(name) for name in ("rsna-mammography", "torch", "timm", "pytorch-lightning")},
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
    """`pooled`, or `fold 0`."""
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

    def ends(self, name: str) -> tuple[float, float] | None:
        """Ends of a metric's interval; None where it has none."""
        interval = self.intervals.get(name)
        if interval is None or interval.low is None or interval.high is None:
            return None
        return interval.low, interval.high


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
    sampling: Sampling
    level: float
    """Nominal coverage of the intervals."""


class Metrics(Record):
    """metrics.json, of a fold and of all folds pooled."""

    checkpoint: Literal["last", "best"]
    """Which epoch's weights count."""
    data: str
    """Name of the set."""
    breasts: BreastMetrics | None = None
    """Cancer; null where it is not learnt, or no breast is positive."""
    targets: dict[str, Any] = {}
    """Target or target_class → images, positives, auroc, interval."""
    hashes: Hashes
    fold: int | None = None
    """A fold's alone."""
    hardware: str = ""
    """A fold's: devices that trained it."""
    seconds: float | None = None
    """A fold's: training and predicting."""
    missing: tuple[str, ...] = ()
    """Pooled: image_id of images that could not be prepared and have no prediction."""


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


class BundleRecord(Record):
    """bundle.json: how to predict, and what every file must hold."""

    format: int
    """BUNDLE_FORMAT of the version that wrote it."""
    name: str
    """Experiment and set."""
    created: str
    """ISO 8601, UTC."""
    commit: Commit
    """The checkout that trained."""
    preprocess: dict[str, Any]
    """Settings of the preprocessing, see docs/configuration.md."""
    model: dict[str, Any]
    """Settings of the network, see docs/configuration.md."""
    targets: tuple[str, ...]
    """What was learnt, in the order of the heads."""
    aggregate: Aggregate
    """Breast probability from its images'."""
    flip: bool
    """Whether the out-of-fold predictions, and with them the threshold, are means over image and mirror image."""
    precision: WantedPrecision
    """trainer.precision."""
    stored: Literal["fp16", "fp32"]
    """Of the weights in their files."""
    weights: dict[Annotated[int, Field(ge=0)], str]
    """Fold → file."""
    threshold: Share
    """Chosen on the out-of-fold breasts of these folds."""
    recalled: Share
    """Share of those breasts at or above it."""
    prevalence: Share
    """Share of positive breasts in training: what a breast without any readable image gets."""
    calibration: Calibration
    hashes: Hashes
    metrics: BreastMetrics
    """Out of fold."""
    config: dict[str, Any]
    """config.yaml without what says where it ran."""
    trained_with: dict[str, str]
    """Package → version that trained."""
    versions: dict[str, str]
    """Package → version that packed."""
    host: Host
    files: dict[str, str]
    """File → SHA-256."""


def config_text(config: Config) -> str:
    """The resolved configuration as YAML: what config.yaml holds."""
    return str(yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True))


def checkout_commit() -> Commit:
    """The checkout's commit and whether it has changes; nothing in an installed package."""
    package = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(package), *arguments], capture_output=True, text=True, check=True)
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


T = TypeVar("T", bound=Record)


def read_record(cls: type[T], file: Path, expected: int | None = None) -> T:
    """Reads a JSON file as the record that it must hold; ``expected`` is the number that its ``format`` must have.

    Raises:
        RunError: It is missing, torn, of another format, or holds something else; in one line that names the file.
    """
    content = read_bytes(file)
    try:
        if expected is not None:
            _check_format(TypeAdapter(Any).validate_json(content), file, expected)
        return cls.model_validate_json(content)
    except ValidationError as error:
        raise RunError(f"{file}: {_first(error)}; the file was cut off or changed, copy it again") from error


def read_bytes(file: Path) -> bytes:
    """A file of a run or a bundle.

    Raises:
        RunError: It is missing, or cannot be read.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise RunError(f"{file}: is missing; copy it again, or train again") from error
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror}") from error


def _check_format(content: Any, file: Path, expected: int) -> None:
    said = content.get("format") if isinstance(content, dict) else None
    if said == expected and not isinstance(said, bool):
        return
    versions = content.get("versions") if isinstance(content, dict) else None
    maker = versions.get("rsna-mammography") if isinstance(versions, dict) else None
    which = "says no format" if said is None else f"is of format {said!r}"
    raise RunError(
        f"{file}: {which}, this version reads format {expected}; "
        + (f"it was written by version {maker}: use that one, or " if maker else "use the version that wrote it, or ")
        + "train again"
    )


def _first(error: ValidationError) -> str:
    """What is wrong first, in a line: key, reason, value."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"is not JSON: {first['ctx']['error']}"
    key = ".".join(str(part) for part in first["loc"])
    value = repr(first["input"])
    shown = "" if first["type"] == "missing" else f", not {value if len(value) <= 60 else value[:57] + '…'}"
    return f"{key}: {first['msg']}{shown}".removeprefix(": ")
