"""Options of a prediction. No torch here: they are read and checked before anything heavy is imported."""

from dataclasses import dataclass
from typing import Literal

from rsna.settings import require


@dataclass(frozen=True)
class InferOptions:
    """Options of `infer.py`."""

    run: str
    """Run folder with trained folds."""
    input: str
    """Folder with test.csv and test_images, or any folder of DICOM files."""
    out: str = "submission.csv"
    """Submission to write; images, breasts and failures are written beside it."""
    folds: tuple[int, ...] = ()
    """Folds to use; every trained one where empty."""
    average: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the folds."""
    submit: Literal["threshold", "probability"] = "threshold"
    """Column cancer: 0 or 1 at the threshold, or the probability."""
    threshold: float | None = None
    """Threshold; the one chosen out of fold where null."""
    batch_size: int = 16
    """Images per forward pass."""
    workers: int | None = None
    """Preparing processes; null is one a core."""
    file_timeout: float = 60.0
    """Seconds after which a file is given up."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, f"batch_size: {self.batch_size} is below 1")
        require(self.workers is None or self.workers >= 1, f"workers: {self.workers} is below 1")
        require(self.file_timeout > 0, f"file_timeout: {self.file_timeout} is not above 0 seconds")
        require(self.threshold is None or 0 <= self.threshold <= 1, f"threshold: {self.threshold} is not in [0, 1]")
