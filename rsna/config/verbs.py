"""The options of most verbs: `PredictOptions` are the keys of `rsna predict`, and so on.

Those of a family of verbs have a file of their own beside this one: board.py, external.py, pack.py, slurm.py,
tables.py; what several verbs have stands in keys.py. Nothing heavy is imported here: options are read and checked
first, and printed by --help.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat

from rsna.config.data import Aggregate, NumberOfFolds, Sampling, ScoredUnit, SplitBy
from rsna.config.keys import (
    AddressKey,
    AverageKey,
    BackendKey,
    CalibrationKey,
    DistinctRuns,
    Distributed,
    EngineKey,
    FlipKey,
    FoldsKey,
    MethodKey,
    ModelsKey,
    PrecisionKey,
    Several,
    ShardKey,
    TimeoutKey,
    ToleranceKey,
    WeightsKey,
    WorkersKey,
    require_apart,
    require_file,
    require_folder,
)
from rsna.config.settings import AtLeastOne, Auto, Fraction, require, settings


def require_table_file(out: str, key: str = "out") -> None:
    """Refuses what cannot become a table before the work that fills it; the ending says which kind it is."""
    name = Path(out) / "submission.csv"
    require(not Path(out).is_dir(), f"{key}: {out} is a folder; name a file, such as {name}")
    known = out.lower().endswith((".csv", ".parquet"))
    require(known, f"{key}: {out} is neither .csv nor .parquet; give it one of these endings")


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@settings
class InferOptions(Several, Distributed):
    run: ModelsKey
    input: str
    """Folder with test.csv and test_images (or a column path in test.csv), or any folder of DICOM files."""
    out: str = "submission.csv"
    """Submission to write, .csv or .parquet; images, breasts, failures and progress are written beside it."""
    method: MethodKey = "auto"
    weights: WeightsKey = ()
    folds: FoldsKey = ()
    average: AverageKey = "logits"
    flip: FlipKey = "auto"
    submit: Literal["threshold", "probability"] = "threshold"
    """Column cancer: 0 or 1 at the threshold, or the probability, calibrated where a site's line is given or packed."""
    calibration: CalibrationKey = ""
    threshold: Fraction | Auto = "auto"
    """Threshold; auto is the one chosen out of fold."""
    time_budget: str = ""
    """Time from the start of the process in which the submission must be done: 8h, 45m, 90s; flip, then folds, then
    runs are dropped to keep it."""
    strict: bool = False
    """Every fallback (an unreadable image, a breast without images, a dropped fold) is an error instead."""
    backend: BackendKey = "auto"
    precision: PrecisionKey = "auto"
    tolerance: ToleranceKey = 1e-3
    batch_size: AtLeastOne = 16
    """Images per forward pass; halved where memory runs out."""
    compile: bool = False
    """Compile the networks: minutes at the start, faster afterwards on a GPU."""
    workers: WorkersKey = "auto"
    file_timeout: TimeoutKey = 60.0
    engine: EngineKey = "processes"
    address: AddressKey = "auto"
    shard: ShardKey = ""

    def __post_init__(self) -> None:
        self.check_submittable()
        self.check_engine(self.workers)
        require_table_file(self.out)
        require_apart(self.out, (Path(self.input, f"{split}.csv") for split in ("train", "test")))
        own = self.backend in ("auto", "torch")
        require(not self.compile or own, f"compile: it compiles networks of torch, and backend={self.backend}")
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
class PredictOptions(Several):
    input: str
    """A DICOM file, or a folder of them, with test.csv or without; a file of it that cannot be read is a failure."""
    run: ModelsKey
    method: MethodKey = "auto"
    weights: WeightsKey = ()
    format: Literal["table", "json"] = "table"
    """Text for people, or JSON for programs."""
    calibration: CalibrationKey = ""
    backend: BackendKey = "auto"
    precision: PrecisionKey = "auto"
    tolerance: ToleranceKey = 1e-3
    workers: WorkersKey = "auto"

    def __post_init__(self) -> None:
        self.check_submittable()


@settings
class BundleMakeOptions(Several):
    run: DistinctRuns
    """Run folder with trained folds, or several of them, joined."""
    out: str
    """Folder to write; it must be empty, or hold an earlier bundle, which is replaced."""
    method: MethodKey = "auto"
    weights: WeightsKey = ()
    folds: FoldsKey = ()
    precision: Literal["fp16", "fp32"] = "fp16"
    """Of the stored weights: fp16 is half the size; the networks compute as everywhere else."""
    calibration: CalibrationKey = ""
    host: str = "kaggle"
    """Where it will run: kaggle, a file with one name==version a line that is installed there, or none for no wheels
    of others."""
    python: str = "3.12"
    """Python of the host."""
    platform: str = "manylinux_2_28_x86_64"
    """Platform of the host, as wheels name it."""
    despite_licence: bool = False
    """Make it although the licence of a set that was trained on forbids to release what is trained on it."""
    owner: str = "INSERT_KAGGLE_USER"
    """User name in the metadata for upload."""
    title: str = ""
    """Title of the dataset for upload, 6 to 50 characters; made of the run's name where empty."""

    def __post_init__(self) -> None:
        self.check_submittable()
        require(re.fullmatch(r"3\.\d+", self.python) is not None, f"python: {self.python!r} is not like 3.12")
        require(not self.title or 6 <= len(self.title) <= 50, f"title: {self.title!r} has not 6 to 50 characters")
        letters = len(re.findall("[a-z0-9]", self.title.lower()))
        require(not self.title or letters >= 3, f"title: {self.title!r}: its address needs three of a-z and 0-9")
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
    run: ModelsKey
    format: Literal["onnx"] = "onnx"
    """What to write."""
    folds: FoldsKey = ()
    images: str = ""
    """Folder of DICOM files for the parity check; simulated mammograms where empty."""
    tolerance: PositiveFloat = 1e-4
    """Largest difference in probability between torch and the export that is let through."""


@settings
class PrepareOptions(Distributed):
    shard: ShardKey = ""
    engine: EngineKey = "processes"
    address: AddressKey = "auto"

    def __post_init__(self) -> None:
        self.check_engine()


@settings
class AuditOptions(Distributed):
    input: str
    """Folder in the competition's layout, or with a table that names its files, or any folder of images."""
    out: str = "audit"
    """Folder for audit.txt, images.csv, issues.csv and sheets of prepared images, a machine each."""
    run: str = ""
    """Run folder, or bundle: says what is unlike the images that it was trained on, and writes against_run.txt, .json
    and .svg."""
    sheet_images: NonNegativeInt = 12
    """Images shown of each machine; 0 draws no sheets."""
    workers: WorkersKey = "auto"
    file_timeout: TimeoutKey = 60.0
    engine: EngineKey = "processes"
    address: AddressKey = "auto"

    def __post_init__(self) -> None:
        self.check_engine(self.workers)


@settings
class BrowseOptions:
    out: str = "browse"
    """Folder for the sheets."""
    n: NonNegativeInt = 24
    """Images to draw at random; 0 shows all."""
    seed: NonNegativeInt = 0
    """Seed of the draw; with batches, of training, that of the configuration where it is 0."""
    batches: NonNegativeInt = 0
    """Show this many augmented training batches of the fold instead, prepared first where they are not."""

    def __post_init__(self) -> None:
        require(not self.batches or self.n == BrowseOptions.n, "n: images are drawn without batches; give one of them")


@settings
class FoldsMakeOptions:
    labels: str
    """Table with patient_id, image_id, laterality and cancer, as the competition's train.csv."""
    out: str = "folds.csv"
    """CSV to write: patient_id, image_id, fold."""
    n_folds: NumberOfFolds = 4
    """Number of folds."""
    seed: NonNegativeInt = 0
    """Seed of the shuffle."""
    by: SplitBy | Literal["chance"] = "chance"
    """Patients by chance, or the values of a column, one left out at a time."""
    smallest: AtLeastOne = 60
    """With by: patients; parts with fewer are one together."""

    def __post_init__(self) -> None:
        drawn = (self.n_folds, self.seed) == (FoldsMakeOptions.n_folds, FoldsMakeOptions.seed)
        chance = self.by == "chance"
        require(chance or drawn, f"by: the folds are the values of {self.by}; leave out n_folds and seed")
        require_apart(self.out, [self.labels])
        joins = self.smallest != FoldsMakeOptions.smallest
        require(not (chance and joins), "smallest: it joins small parts of a column; name that with by=")


@settings
class FoldsCheckOptions:
    splits: str = ""
    """Table with patient_id and fold."""
    train: str = ""
    """Instead of splits, with valid=: table with the patient_id of the rows trained on."""
    valid: str = ""
    """Instead of splits, with train=: table with the patient_id of the rows validated on."""

    def __post_init__(self) -> None:
        one, two = bool(self.splits), bool(self.train) and bool(self.valid)
        require(one != two, "splits: give splits=FILE, or train=FILE and valid=FILE")


@settings
class EvaluateOptions:
    run: DistinctRuns = ()
    """Run folders whose out-of-fold predictions to score, one or several."""
    predictions: str = ""
    """Instead of runs: table with image_id or prediction_id and probability, of whatever origin."""
    labels: str = ""
    """Table with the labels of predictions=, as the competition's train.csv."""
    column: str = ""
    """Column of predictions= that holds the probability; found by its name where empty, and always said."""
    aggregate: Aggregate | Auto = "auto"
    """Breast probability from its images'; auto is the run's own, and mean for files."""
    unit: ScoredUnit = "breast"
    """What is scored: breasts, as the competition does, or exams, each the maximum over its breasts."""
    prevalence: float | None = None
    """Share of positive breasts to reweight the negatives to, on enriched sets alone; screening has 0.021."""
    sampling: Sampling | Auto = "auto"
    """Whether prevalence in these predictions means anything; auto is what a run knows of its own, and population for
    files."""
    threshold: Fraction | None = None
    """Print pF1 and the share recalled at this threshold too, such as that of a submission."""
    ranks: bool = False
    """Whether the file holds ranks or the like, which only order breasts: leaves out what needs probabilities."""
    slices: bool = False
    """Print metrics by site, machine, views, density, age, implant, BIRADS and difficult negatives too."""
    calibration: bool = False
    """Print cross-fitted temperature, Platt and isotonic calibration too."""
    resamples: NonNegativeInt = 2000
    """Patient-level bootstrap resamples behind each interval; behind those of slices 1,000 at most."""
    out: str = ""
    """JSON file to write the metrics to."""

    def __post_init__(self) -> None:
        require(bool(self.run) != bool(self.predictions), "run: give run=FOLDER or predictions=FILE, one of them")
        require(not (self.run and self.labels), "labels: a run brings its own; they go with predictions=FILE")
        require(not (self.run and self.column), "column: a run has one; it goes with predictions=FILE")
        own = self.run and self.sampling != "auto"
        require(not own, "sampling: a run knows its own; it goes with predictions=FILE")
        require(not (self.run and self.ranks), "ranks: a run has probabilities; ranks=true goes with predictions=FILE")
        if self.out:
            require_file(self.out, example="metrics.json")
            require_apart(self.out, [self.predictions, self.labels])


@settings
class EnsembleOptions(Several):
    run: DistinctRuns
    """Run folders, or tables of predictions, two at least."""
    labels: str = ""
    """Table with the labels, where some are files without them."""
    column: str = ""
    """Column of the files that holds the probability; found by its name where empty, and always said."""
    method: MethodKey = "auto"
    weights: WeightsKey = ()
    aggregate: Aggregate | Auto = "auto"
    """Breast probability from its images', in each member; auto is the runs' own, and mean where all are files."""
    unit: ScoredUnit = "breast"
    """What is joined and scored: breasts, or exams, each the maximum over its breasts."""
    folds: FoldsKey = ()
    ranks: tuple[str, ...] = ()
    """Members that hold ranks or the like, which only order breasts: leaves out what needs probabilities."""
    prevalence: float | None = None
    """Share of positive breasts to reweight the negatives to, on enriched sets alone."""
    sampling: Sampling | Auto = "auto"
    """Whether prevalence in these predictions means anything; auto is what runs know of their own, and population for
    files."""
    resamples: NonNegativeInt = 2000
    """Patient-level bootstrap resamples behind each interval."""
    out: str = ""
    """JSON file to write the metrics to."""
    oof: str = ""
    """Table to write the joint out-of-fold probabilities to, a row a breast, as .csv or .parquet."""

    def __post_init__(self) -> None:
        require(len(self.run) >= 2, f"run: two at least, not {len(self.run)}")
        self.check_joining()
        if self.out:
            require_file(self.out, example="metrics.json")
            require_apart(self.out, [*self.run, self.labels])
        if self.oof:
            require_table_file(self.oof, "oof")
            require_file(self.oof, "oof")
            require_apart(self.oof, [*self.run, self.labels], "oof")
            require(
                Path(self.oof).absolute() != Path(self.out).absolute(), f"oof: {self.oof} is out=, too; name another"
            )
        strange = [name for name in self.ranks if name not in self.run]
        require(not strange, f"ranks: {strange and strange[0]} is none of run={', '.join(self.run)}")


@settings
class ModelsOptions:
    format: Literal["table", "json"] = "table"
    """table for people; json: a list of name, params, macs and input_size (rows, columns), at each one's own size."""
    size: tuple[Annotated[int, Field(ge=32)], Annotated[int, Field(ge=32)]] = (1024, 512)
    """(rows, columns) of the configured input, pixels, for which the table counts multiply-adds as well."""


@settings
class ExplainOptions(Several):
    run: ModelsKey
    image: str
    """DICOM, PNG, JPEG or PGM file, or an image_id of the run's set."""
    out: str = "explain"
    """Folder for <image>_original.png and <image>_heat.png."""
    method: MethodKey = "auto"
    weights: WeightsKey = ()
    folds: tuple[int, ...] = ()
    """Folds whose heat is averaged; empty takes the one that has not seen the patient, or for new images all."""
    height: NonNegativeInt = 1500
    """Rows of the pictures at most; 0 for all of the file's."""
    data: str = ""
    """Folder of the set, where it is no longer where the run had it."""

    def __post_init__(self) -> None:
        self.check_submittable()
        require_folder(self.data, "data")
