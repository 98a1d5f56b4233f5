"""Options of the verbs that predict. No torch here: they are read and checked before anything heavy is imported."""

import re
from dataclasses import dataclass
from typing import Literal

from rsna.settings import require

Backend = Literal["torch", "onnxruntime"]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class InferOptions:
    """Options of `infer.py`."""

    run: str
    """Run folder with trained folds, or a bundle."""
    input: str
    """Folder with test.csv and test_images (or a column path in test.csv), or any folder of DICOM files."""
    out: str = "submission.csv"
    """Submission to write; images, breasts, failures and progress are written beside it."""
    folds: tuple[int, ...] = ()
    """Folds to use; every trained one where empty."""
    average: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the folds."""
    flip: bool | None = None
    """Test-time augmentation: predict the mirrored image, too, and average; twice the network's time. null does as the
    out-of-fold predictions were made, on which the threshold was chosen."""
    submit: Literal["threshold", "probability"] = "threshold"
    """Column cancer: 0 or 1 at the threshold, or the probability."""
    threshold: float | None = None
    """Threshold; the one chosen out of fold where null."""
    time_budget: str = ""
    """Time in which the submission must be done: 8h, 45m, 90s; flip, then folds are dropped to keep it."""
    strict: bool = False
    """Every fallback (an unreadable image, a breast without images, a dropped fold) is an error instead."""
    backend: Backend = "torch"
    """torch, or onnxruntime with what `rsna export` wrote."""
    batch_size: int = 16
    """Images per forward pass; halved where memory runs out."""
    compile: bool = False
    """Compile the networks: minutes at the start, faster afterwards on a GPU."""
    workers: int | None = None
    """Preparing processes; null is one a core."""
    file_timeout: float = 60.0
    """Seconds after which a file is given up."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, f"batch_size: {self.batch_size} is below 1")
        require(self.workers is None or self.workers >= 1, f"workers: {self.workers} is below 1")
        require(self.file_timeout > 0, f"file_timeout: {self.file_timeout} is not above 0 seconds")
        require(self.threshold is None or 0 <= self.threshold <= 1, f"threshold: {self.threshold} is not in [0, 1]")
        require(not self.time_budget or self.budget_seconds is not None, _bad_budget(self.time_budget))

    @property
    def budget_seconds(self) -> float | None:
        """The time budget in seconds; None where there is none, or where it is no time."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(\w*)", self.time_budget.strip())
        if match is None or match[2] not in _UNITS or float(match[1]) == 0:
            return None
        return float(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True)
class PredictOptions:
    """Options of `rsna predict`."""

    input: str
    """A DICOM file, or a folder of them, with test.csv or without; a file of it that cannot be read is a failure."""
    bundle: str
    """Bundle (folder, .zip or .tar), or a run folder."""
    format: Literal["table", "json"] = "table"
    """Text for people, or JSON for programs."""
    backend: Backend = "torch"
    """torch, or onnxruntime with what `rsna export` wrote."""
    workers: int | None = None
    """Preparing processes; null is one a core."""


@dataclass(frozen=True)
class BundleMakeOptions:
    """Options of `rsna bundle make`."""

    run: str
    """Run folder with trained folds."""
    out: str
    """Folder to write; it must be empty, or hold an earlier bundle, which is replaced."""
    folds: tuple[int, ...] = ()
    """Folds to take; every trained one where empty."""
    precision: Literal["fp16", "fp32"] = "fp16"
    """Of the stored weights: fp16 is half the size; the networks compute as everywhere else."""
    target: str = "kaggle"
    """Where it will run: kaggle, a file with one name==version a line that is installed there, or none for no wheels
    of others."""
    python: str = "3.12"
    """Python of the target."""
    platform: str = "manylinux_2_28_x86_64"
    """Platform of the target, as wheels name it."""
    owner: str = "INSERT_KAGGLE_USER"
    """User name in the metadata for upload."""
    title: str = ""
    """Title of the dataset for upload, 6 to 50 characters; made of the run's name where empty."""

    def __post_init__(self) -> None:
        require(re.fullmatch(r"3\.\d+", self.python) is not None, f"python: {self.python!r} is not like 3.12")
        require(not self.title or 6 <= len(self.title) <= 50, f"title: {self.title!r} has not 6 to 50 characters")
        slug = re.fullmatch(r"[\w-]+", self.owner) is not None
        require(slug, f"owner: {self.owner!r} holds more than letters, digits, - and _")


@dataclass(frozen=True)
class BundleVerifyOptions:
    """Options of `rsna bundle verify`."""

    bundle: str
    """Bundle to verify."""
    install: bool = True
    """Install it into a new environment and predict there with the network cut; false checks files and predicts
    here."""


@dataclass(frozen=True)
class ExportOptions:
    """Options of `rsna export`."""

    run: str
    """Run folder, or bundle."""
    format: Literal["onnx"] = "onnx"
    """What to write."""
    folds: tuple[int, ...] = ()
    """Folds to export; every trained one where empty."""
    images: str = ""
    """Folder of DICOM files for the parity check; simulated mammograms where empty."""
    tolerance: float = 1e-4
    """Largest difference in probability between torch and the export that is let through."""

    def __post_init__(self) -> None:
        require(self.tolerance > 0, f"tolerance: {self.tolerance} is not above 0")


def _bad_budget(text: str) -> str:
    return f"time_budget: {text!r} is no time above 0 such as 8h, 45m or 90s"
