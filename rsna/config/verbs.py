"""The options of every verb: `PredictOptions` are the keys of `rsna predict`, and so on.

Nothing heavy is imported here: options are read and checked first, and printed by --help.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat

from rsna.config.data import Aggregate, NumberOfFolds, Sampling
from rsna.config.settings import AtLeastOne, Auto, Fraction, require, settings


def _distinct(run: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses a run or file that is named twice, however it is spelt."""
    files = [Path(name).expanduser().resolve() for name in run]
    twice = [name for i, name in enumerate(run) if files[i] in files[:i]]
    require(not twice, f"run: {twice and twice[0]} is there twice; name each run or file once")
    return run


# What several verbs ask for in the same words.
Backend = Literal["torch", "onnxruntime"]
BackendKey = Annotated[Backend, Field(description="torch, or onnxruntime with what `rsna export` wrote.")]
ModelKey = Annotated[str, Field(description="Run folder, or bundle (folder, .zip or .tar).")]
FoldsKey = Annotated[tuple[int, ...], Field(description="Folds to use; every trained one where empty.")]
WorkersKey = Annotated[AtLeastOne | Auto, Field(description="Preparing processes; auto is one a core.")]
TimeoutKey = Annotated[PositiveFloat, Field(description="Seconds after which a file is given up as unreadable.")]
AverageKey = Annotated[Literal["logits", "probabilities"], Field(description="What is averaged over the folds.")]
# The threshold was chosen on out-of-fold predictions, so by default new images are predicted as those were.
FlipKey = Annotated[
    bool | Auto,
    Field(description="Predict mirrored images, too, in twice the time, and average; auto does as it was out of fold."),
]
RunsKey = Annotated[str, Field(description="Folder that holds run folders.")]
DistinctRuns = Annotated[tuple[str, ...], AfterValidator(_distinct)]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@settings
class InferOptions:
    run: ModelKey
    input: str
    """Folder with test.csv and test_images (or a column path in test.csv), or any folder of DICOM files."""
    out: str = "submission.csv"
    """Submission to write; images, breasts, failures and progress are written beside it."""
    folds: FoldsKey = ()
    average: AverageKey = "logits"
    flip: FlipKey = "auto"
    submit: Literal["threshold", "probability"] = "threshold"
    """Column cancer: 0 or 1 at the threshold, or the probability."""
    threshold: Fraction | Auto = "auto"
    """Threshold; auto is the one chosen out of fold."""
    time_budget: str = ""
    """Time in which the submission must be done: 8h, 45m, 90s; flip, then folds are dropped to keep it."""
    strict: bool = False
    """Every fallback (an unreadable image, a breast without images, a dropped fold) is an error instead."""
    backend: BackendKey = "torch"
    batch_size: AtLeastOne = 16
    """Images per forward pass; halved where memory runs out."""
    compile: bool = False
    """Compile the networks: minutes at the start, faster afterwards on a GPU."""
    workers: WorkersKey = "auto"
    file_timeout: TimeoutKey = 60.0

    def __post_init__(self) -> None:
        known = not self.time_budget or self.budget_seconds is not None
        require(known, f"time_budget: {self.time_budget!r} is no time above 0 such as 8h, 45m or 90s")

    @property
    def budget_seconds(self) -> float | None:
        """The time budget in seconds; None where there is none, or where it is no time."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(\w*)", self.time_budget.strip())
        if match is None or match[2] not in _UNITS or float(match[1]) == 0:
            return None
        return float(match[1]) * _UNITS[match[2]]


@settings
class PredictOptions:
    input: str
    """A DICOM file, or a folder of them, with test.csv or without; a file of it that cannot be read is a failure."""
    run: ModelKey
    format: Literal["table", "json"] = "table"
    """Text for people, or JSON for programs."""
    backend: BackendKey = "torch"
    workers: WorkersKey = "auto"


@settings
class BundleMakeOptions:
    run: str
    """Run folder with trained folds."""
    out: str
    """Folder to write; it must be empty, or hold an earlier bundle, which is replaced."""
    folds: FoldsKey = ()
    precision: Literal["fp16", "fp32"] = "fp16"
    """Of the stored weights: fp16 is half the size; the networks compute as everywhere else."""
    host: str = "kaggle"
    """Where it will run: kaggle, a file with one name==version a line that is installed there, or none for no wheels
    of others."""
    python: str = "3.12"
    """Python of the host."""
    platform: str = "manylinux_2_28_x86_64"
    """Platform of the host, as wheels name it."""
    owner: str = "INSERT_KAGGLE_USER"
    """User name in the metadata for upload."""
    title: str = ""
    """Title of the dataset for upload, 6 to 50 characters; made of the run's name where empty."""

    def __post_init__(self) -> None:
        require(re.fullmatch(r"3\.\d+", self.python) is not None, f"python: {self.python!r} is not like 3.12")
        require(not self.title or 6 <= len(self.title) <= 50, f"title: {self.title!r} has not 6 to 50 characters")
        slug = re.fullmatch(r"[\w-]+", self.owner) is not None
        require(slug, f"owner: {self.owner!r} holds more than letters, digits, - and _")


@settings
class BundleVerifyOptions:
    run: str
    """Bundle to verify: folder, .zip or .tar."""
    install: bool = True
    """Install it into a new environment and predict there with the network cut; false checks and predicts here."""


@settings
class ExportOptions:
    run: ModelKey
    format: Literal["onnx"] = "onnx"
    """What to write."""
    folds: FoldsKey = ()
    images: str = ""
    """Folder of DICOM files for the parity check; simulated mammograms where empty."""
    tolerance: PositiveFloat = 1e-4
    """Largest difference in probability between torch and the export that is let through."""


@settings
class TableOptions:
    input: str
    """Folder of DICOM files, of any depth; links are followed, what is hidden is passed over."""
    out: str = ""
    """CSV to write, never over one that is there; empty is <input>/train.csv, where training looks for it. Outside of
    the input it names the images by their whole paths. What is not in it is listed in <out>_left_out.csv."""
    labels: str = ""
    """CSV with labels, joined on image_id, or patient_id and laterality, or patient_id; fills in what headers lack."""


@settings
class AuditOptions:
    input: str
    """Folder in the competition's layout, or with a table that names its files, or any folder of images."""
    out: str = "audit"
    """Folder for audit.txt, images.csv, issues.csv and sheets of prepared images, a machine each."""
    sheet_images: NonNegativeInt = 12
    """Images shown of each machine; 0 draws no sheets."""
    workers: WorkersKey = "auto"
    file_timeout: TimeoutKey = 60.0


@settings
class BrowseOptions:
    out: str = "browse"
    """Folder for the sheets."""
    n: NonNegativeInt = 24
    """Images to draw at random; 0 shows all."""
    seed: NonNegativeInt = 0
    """Seed of the draw."""
    batches: NonNegativeInt = 0
    """Show this many augmented training batches of the fold instead, prepared first where they are not."""


@settings
class FoldsMakeOptions:
    labels: str
    """CSV with patient_id, image_id, laterality and cancer, as the competition's train.csv."""
    out: str = "folds.csv"
    """CSV to write: patient_id, image_id, fold."""
    n_folds: NumberOfFolds = 4
    """Number of folds."""
    seed: NonNegativeInt = 0
    """Seed of the shuffle."""


@settings
class FoldsCheckOptions:
    splits: str = ""
    """CSV with patient_id and fold."""
    train: str = ""
    """Instead of splits, with valid=: CSV with the patient_id of the rows trained on."""
    valid: str = ""
    """Instead of splits, with train=: CSV with the patient_id of the rows validated on."""

    def __post_init__(self) -> None:
        one, two = bool(self.splits), bool(self.train) and bool(self.valid)
        require(one != two, "splits: give splits=FILE, or train=FILE and valid=FILE")


@settings
class EvaluateOptions:
    run: DistinctRuns = ()
    """Run folders whose out-of-fold predictions to score, one or several."""
    predictions: str = ""
    """Instead of runs: CSV or Parquet with image_id or prediction_id and probability, of whatever origin."""
    labels: str = ""
    """CSV with the labels of predictions=, as the competition's train.csv."""
    aggregate: Aggregate | Auto = "auto"
    """Breast probability from its images'; auto is the run's own, and mean for files."""
    prevalence: float | None = None
    """Share of positive breasts to reweight the negatives to, on enriched sets alone; screening has 0.021."""
    sampling: Sampling = "population"
    """Whether prevalence in these predictions means anything; a run knows its own."""
    ranks: bool = False
    """Whether the file holds ranks or the like, which only order breasts: leaves out what needs probabilities."""
    slices: bool = False
    """Print metrics by site, machine, views, density, age, implant, BIRADS and difficult negatives too."""
    calibration: bool = False
    """Print cross-fitted temperature, Platt and isotonic calibration too."""
    resamples: NonNegativeInt = 2000
    """Patient-level bootstrap resamples behind each interval."""
    out: str = ""
    """JSON file to write the metrics to."""

    def __post_init__(self) -> None:
        require(bool(self.run) != bool(self.predictions), "run: give run=FOLDER or predictions=FILE, one of them")
        require(not (self.run and self.labels), "labels: a run brings its own; they go with predictions=FILE")
        require(not (self.run and self.ranks), "ranks: a run has probabilities; ranks=true goes with predictions=FILE")


@settings
class EnsembleOptions:
    run: DistinctRuns
    """Run folders, or CSV and Parquet files of predictions, two at least."""
    labels: str = ""
    """CSV with the labels, where some are files without them."""
    method: Literal["mean", "logit_mean", "rank_mean", "weights"] = "logit_mean"
    """Mean of probabilities, of logits, of ranks, or weights fitted on the other folds."""
    aggregate: Aggregate | Auto = "auto"
    """Breast probability from its images', in each member; auto is the runs' own, and mean where all are files."""
    ranks: tuple[str, ...] = ()
    """Members that hold ranks or the like, which only order breasts: leaves out what needs probabilities."""
    prevalence: float | None = None
    """Share of positive breasts to reweight the negatives to, on enriched sets alone."""
    sampling: Sampling = "population"
    """Whether prevalence in these predictions means anything; runs know their own."""
    resamples: NonNegativeInt = 2000
    """Patient-level bootstrap resamples behind each interval."""
    out: str = ""
    """JSON file to write the metrics to."""

    def __post_init__(self) -> None:
        require(len(self.run) >= 2, f"run: two at least, not {len(self.run)}")
        strange = [name for name in self.ranks if name not in self.run]
        require(not strange, f"ranks: {strange and strange[0]} is none of run={', '.join(self.run)}")


@settings
class ModelsOptions:
    format: Literal["table", "json"] = "table"
    """table for people; json: a list of name, params, macs and input_size (rows, columns), at each one's own size."""
    size: tuple[Annotated[int, Field(ge=32)], Annotated[int, Field(ge=32)]] = (1024, 512)
    """(rows, columns) of the configured input, pixels, for which the table counts multiply-adds as well."""


@settings
class ValidateOptions:
    input: str
    """Folder with train.csv, labels included, and train_images; never the one that was trained on."""
    run: ModelKey
    folds: FoldsKey = ()
    sampling: Sampling = "population"
    """Whether the share of positives in this set means anything."""
    average: AverageKey = "logits"
    flip: FlipKey = "auto"
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Patient-level bootstrap resamples behind every interval."""
    batch_size: AtLeastOne = 16
    """Images per forward pass."""
    workers: WorkersKey = "auto"
    out: str = ""
    """Predictions, a row an image, as .csv or .parquet; empty writes none."""

    def __post_init__(self) -> None:
        known = not self.out or self.out.endswith((".csv", ".parquet"))
        require(known, f"out: {self.out} is neither .csv nor .parquet")


@settings
class LeaderboardOptions:
    runs: RunsKey = "runs"
    format: Literal["text", "json", "csv"] = "text"
    """text for people; json and csv for programs, with every column and no rounding."""
    resamples: NonNegativeInt = 2000
    """Of the paired bootstrap against the leader; 0 leaves that comparison out."""


@settings
class LeaderboardSubmitOptions:
    run: DistinctRuns = ()
    """Run folder that the scores belong to; with submissions=FILE one or several, or every one in runs= where empty."""
    public: float | None = None
    """Score on the public part of the hidden test set."""
    private: float | None = None
    """Score on the private part."""
    submissions: str = ""
    """CSV from `kaggle competitions submissions --csv`; a row belongs to the run that its description names."""
    runs: RunsKey = "runs"

    def __post_init__(self) -> None:
        typed = self.public is not None or self.private is not None
        require(typed != bool(self.submissions), "public: give public= and private=, or submissions=FILE, one of them")
        require(not typed or len(self.run) == 1, "run: name the one run folder that the scores belong to")


@settings
class ReportOptions:
    run: DistinctRuns = ()
    """Run folders to report on, one or several; empty takes every run in runs=."""
    runs: RunsKey = "runs"
    out: str = "report.html"
    """HTML file to write; it needs no other file and no network."""
    data: str = ""
    """Folder of the set, where it is no longer where the runs had it."""
    images: NonNegativeInt = 6
    """Missed cancers, and as many false alarms, in each run's gallery; 0 leaves galleries out."""
    resamples: NonNegativeInt = 1000
    """Patient-level resamples behind the intervals of slices and the comparison with the leader."""


@settings
class ExplainOptions:
    run: ModelKey
    image: str
    """DICOM, PNG or JPEG file, or an image_id of the run's set."""
    out: str = "explain"
    """Folder for <image>_original.png and <image>_heat.png."""
    folds: tuple[int, ...] = ()
    """Folds whose heat is averaged; empty takes the one that has not seen the patient, or for new images all."""
    height: NonNegativeInt = 1500
    """Rows of the pictures at most; 0 for all of the file's."""
    data: str = ""
    """Folder of the set, where it is no longer where the run had it."""
