"""The options of the verbs that try a model elsewhere: validate, calibrate."""

from pathlib import Path

from rsna.config.data import Sampling, ScoredUnit
from rsna.config.keys import (
    AddressKey,
    AverageKey,
    BackendKey,
    BatchKey,
    Distributed,
    EngineKey,
    FlipKey,
    FoldsKey,
    MethodKey,
    ModelsKey,
    PrecisionKey,
    ResamplesKey,
    Several,
    ToleranceKey,
    WeightsKey,
    WorkersKey,
    require_apart,
    require_distinct,
)
from rsna.config.settings import require, settings
from rsna.config.verbs import require_table_file


@settings
class ValidateOptions(Several, Distributed):
    input: tuple[str, ...]
    """Folders with train.csv, labels included, and train_images, one or several; never the one that was trained on."""
    run: ModelsKey
    method: MethodKey = "auto"
    weights: WeightsKey = ()
    folds: FoldsKey = ()
    cancer_from: tuple[str, ...] = ()
    """What counts as cancer in each, by a name that `rsna datasets` lists; auto, or an empty list, is the set's own."""
    unit: ScoredUnit = "breast"
    """What is scored: breasts, as the competition does, or exams, each the maximum over its breasts."""
    sampling: Sampling = "population"
    """Whether the share of positives in these sets means anything."""
    average: AverageKey = "logits"
    flip: FlipKey = "auto"
    resamples: ResamplesKey = 2000
    backend: BackendKey = "auto"
    precision: PrecisionKey = "auto"
    tolerance: ToleranceKey = 1e-3
    batch_size: BatchKey = 16
    workers: WorkersKey = "auto"
    engine: EngineKey = "processes"
    address: AddressKey = "auto"
    out: str = ""
    """Predictions, a row an image, as .csv or .parquet; empty writes none."""
    report: str = ""
    """Folder for the table over all sets and home, and within each by machine, site and view: sets.csv, sets.json,
    sets.svg; empty is `validation` for several sets, and none for one."""

    def __post_init__(self) -> None:
        self.check_submittable()
        self.check_engine(self.workers)
        require(bool(self.input), "input: name a folder with train.csv, or several: input=[A,B]")
        require_distinct("input", self.input, "folder")
        given = len(self.cancer_from)
        require(given in (0, len(self.input)), f"cancer_from: {given} for {len(self.input)} folders; name one each")
        if self.out:
            require_table_file(self.out)
            require_apart(self.out, (Path(folder, "train.csv") for folder in self.input))


@settings
class CalibrateOptions(Several, Distributed):
    input: str
    """Folder with train.csv, labels included, and train_images: a site's own labelled exams."""
    run: ModelsKey
    method: MethodKey = "auto"
    weights: WeightsKey = ()
    out: str = "calibration.json"
    """JSON file to write the line to; infer, predict and bundle make take it as calibration=FILE."""
    folds: FoldsKey = ()
    cancer_from: str = "auto"
    """What counts as cancer in a public set, by a name that `rsna datasets` lists; auto is the set's own."""
    sampling: Sampling = "population"
    """Whether the share of positives among these exams is that of what will be predicted."""
    average: AverageKey = "logits"
    flip: FlipKey = "auto"
    resamples: ResamplesKey = 2000
    backend: BackendKey = "auto"
    precision: PrecisionKey = "auto"
    tolerance: ToleranceKey = 1e-3
    batch_size: BatchKey = 16
    workers: WorkersKey = "auto"
    engine: EngineKey = "processes"
    address: AddressKey = "auto"

    def __post_init__(self) -> None:
        self.check_submittable()
        self.check_engine(self.workers)
        require(self.out.lower().endswith(".json"), f"out: {self.out} is no .json")
