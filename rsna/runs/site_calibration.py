"""Reads and applies what `rsna calibrate` fitted for a site: other probabilities, by the same weights and threshold."""

from dataclasses import asdict, replace
from math import isclose
from pathlib import Path

from rsna.config.data import Sampling
from rsna.evaluation.calibration import Platt
from rsna.runs.errors import RunError
from rsna.runs.record_file import read_record
from rsna.runs.schema import Calibration, Interval, Share
from rsna.runs.set_schema import Record
from rsna.runs.trained_ensemble import TrainedEnsemble

CALIBRATION_FORMAT = 1
"""Raised whenever the records below change; a file of another number is refused."""

_ROUNDING = 1e-9
"""How far, relatively, the same line lies apart where processors add up in another order."""


class CalibrationScores(Record):
    """How far probabilities mean what they say on a site's exams."""

    log_loss: float
    brier: float
    calibration_error: float
    observed_expected: float
    """Positives that there are for each that the probabilities promise."""
    interval: Interval
    """Of observed_expected, patients resampled."""


class SiteCalibration(Record):
    """calibration.json of `rsna calibrate`: a line for one model at one site."""

    format: int
    """CALIBRATION_FORMAT of the version that wrote it."""
    model: str
    """Runs or bundle, for people; it is recognised by ``threshold`` and ``home``."""
    threshold: Share
    """The model's own, which stays."""
    home: Calibration
    """The model's own, fitted on its out-of-fold breasts."""
    site: Calibration
    """Fitted on all exams of the site."""
    set: str
    """Name of the site's set."""
    sampling: Sampling
    """Whether its share of positives is that of what will be predicted."""
    breasts: int
    positives: int
    patients: int
    scores: dict[str, CalibrationScores]
    """as_predicted, home and site, the last of them each breast by a line fitted on other patients."""
    created: str
    """ISO 8601, UTC."""

    def __str__(self) -> str:
        return (
            f"fitted on {self.breasts:,} breasts of {self.set} ({self.positives:,} positive), slope "
            f"{self.site.slope:.3g}, intercept {self.site.intercept:+.3g}"
        )


def read_calibration(file: str | Path) -> SiteCalibration:
    """Reads a site's calibration.

    Raises:
        RunError: It is missing, was changed, or is no such file.
    """
    return read_record(SiteCalibration, Path(file).expanduser(), CALIBRATION_FORMAT)


def with_calibration(trained: TrainedEnsemble, file: str) -> TrainedEnsemble:
    """The model with a site's line in place of its own; as it is where ``file`` is empty.

    Raises:
        RunError: See :func:`read_calibration`; the line was fitted for another model, or for other folds of it.
    """
    if not file:
        return trained
    found = read_calibration(file)
    own = Calibration(**asdict(trained.calibration))
    pairs = (
        (found.threshold, trained.threshold),
        (found.home.slope, own.slope),
        (found.home.intercept, own.intercept),
    )
    if not all(isclose(one, other, rel_tol=_ROUNDING, abs_tol=_ROUNDING) for one, other in pairs):
        raise RunError(
            f"calibration={file}: was fitted for {found.model}, whose threshold is {found.threshold:.6f} and whose own "
            f"line {found.home.slope:.6g} {found.home.intercept:+.6g}; this one has {trained.threshold:.6f}, "
            f"{own.slope:.6g} {own.intercept:+.6g}. Fit one for it, and for the same folds: rsna calibrate"
        )
    return replace(trained, calibration=Platt(found.site.slope, found.site.intercept), calibrated_on=str(found))
