"""A site's own line of the probabilities, fitted on its labelled exams; weights and threshold stay as they are."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.config.external import CalibrateOptions
from rsna.dataset.table import TableError
from rsna.evaluation.bootstrap import LEVEL, Difference, Interval
from rsna.evaluation.calibration import CLIP, fit_platt, nested_platt
from rsna.evaluation.checks import Floats
from rsna.evaluation.external import FEWEST, mean_difference, score_own, too_few
from rsna.evaluation.metrics import score
from rsna.evaluation.tables import Rows, Tables, interval_text, number
from rsna.evaluation.threshold import recalled
from rsna.inference.backends.choice import check_networks
from rsna.inference.validate import describe, load_labelled, predict_tables
from rsna.runs.record_file import write_record
from rsna.runs.schema import Calibration
from rsna.runs.schema import Interval as Ends
from rsna.runs.site_calibration import CALIBRATION_FORMAT, CalibrationScores, SiteCalibration
from rsna.runs.trained_ensemble import load_ensemble
from rsna.runs.trained_model import folds_not_trained_on

_TITLES = {"as_predicted": "as predicted", "home": "by home's line", "site": "by this site's line, on other patients"}


@dataclass(frozen=True)
class SiteLine(Tables):
    """What was fitted, and what it gains on patients that it was not fitted on."""

    record: SiteCalibration
    gain: Difference
    """Log loss by home's line less that by this site's."""
    out: str
    resamples: int

    def parts(self) -> list[Rows | str]:
        """Scores before and after, and whether the difference may be chance."""
        rows = [["", "log loss", "Brier score", "calibration error", "observed ÷ expected", f"{LEVEL:.0%} interval"]]
        for name, title in _TITLES.items():
            one = self.record.scores[name]
            low, high = (float("nan") if end is None else end for end in (one.interval.low, one.interval.high))
            shown = [number(one.log_loss), number(one.brier), number(one.calibration_error)]
            rows.append([title, *shown, f"{one.observed_expected:.2f}", interval_text(Interval(low, high))])
        return [rows, "\n".join(self._remarks())]

    def _remarks(self) -> list[str]:
        record, gain = self.record, self.gain
        ends = f"{gain.value:+.4f} ({interval_text(gain.interval)})"
        said = "better than home's" if gain.interval.low > 0 else "not told from home's: keep that, or label more exams"
        if gain.interval.high < 0:
            said = "worse than home's: keep that"
        lines = [
            f"log loss saved by this site's line: {ends}: {said}; {self.resamples:,} resamples of patients",
            f"{self.out}: {record}; at home {record.home.slope:.3g} {record.home.intercept:+.3g}",
            f"threshold {record.threshold:.4f} stays: it is of probabilities as predicted, and decides as before",
        ]
        if record.sampling == "enriched":
            lines.append(
                f"note: {record.positives / record.breasts:.1%} of these breasts are positive by choice, and the line "
                "promises as many of whatever it is applied to"
            )
        return lines


def calibrate_site(options: CalibrateOptions) -> SiteLine:
    """Predicts a site's labelled exams, fits their line, scores it on patients that it was not fitted on, writes it.

    Patients of the runs' own set are predicted by the fold alone that was not trained on them.

    Raises:
        RunError: Nothing to predict with.
        TableError: The folder or its labels cannot be used, no image can be read, or either class has too few breasts.
    """
    trained = load_ensemble(options.run, options.folds, options.method, options.weights)
    check_networks(trained.members, options.backend, options.precision)
    table = load_labelled(options.input, options.sampling, options.cancer_from)
    folds = folds_not_trained_on(options.run)
    describe(trained, [table], folds)
    breasts = predict_tables(options, trained, [table], folds)[0].breasts()
    positives = int(breasts["cancer"].sum())
    if too_few(positives, len(breasts)):
        raise TableError(
            f"{table.root}: {positives:,} of {len(breasts):,} breasts are positive; a line needs {FEWEST} of either "
            "class at least. Label more exams, or go on with the line of the run"
        )
    p = breasts["probability"].to_numpy(np.float64)
    site = fit_platt(breasts["cancer"], p)
    ways = {
        "as_predicted": p,
        "home": trained.calibration.apply(p),
        "site": nested_platt(breasts["cancer"], p, breasts["patient_id"]),
    }
    judged = breasts.assign(recalled=recalled(p, trained.threshold))
    record = SiteCalibration(
        format=CALIBRATION_FORMAT,
        model=", ".join(Path(run).name for run in options.run),
        threshold=trained.threshold,
        home=Calibration(**asdict(trained.calibration)),
        site=Calibration(**asdict(site)),
        set=table.name,
        sampling=options.sampling,
        breasts=len(breasts),
        positives=positives,
        patients=breasts["patient_id"].nunique(),
        scores={name: _scores(judged.assign(calibrated=way), options.resamples) for name, way in ways.items()},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    at_home, here = (_log_losses(breasts["cancer"].to_numpy(), ways[name]) for name in ("home", "site"))
    gain = mean_difference(at_home, here, breasts["patient_id"], options.resamples)
    write_record(Path(options.out), record.model_dump(mode="json"))
    return SiteLine(record, gain, options.out, options.resamples)


def _scores(breasts: pd.DataFrame, resamples: int) -> CalibrationScores:
    """Of column calibrated."""
    cancer, p = breasts["cancer"].to_numpy(), breasts["calibrated"].to_numpy()
    own = score_own(breasts, resamples)
    ends = own.intervals["observed_expected"]
    return CalibrationScores(
        log_loss=float(_log_losses(cancer, p).mean()),
        brier=score("brier", cancer, p),
        calibration_error=score("calibration_error", cancer, p),
        observed_expected=own.values["observed_expected"],
        interval=Ends(low=ends.low, high=ends.high, undefined=ends.undefined),
    )


def _log_losses(cancer: Floats, p: Floats) -> Floats:
    """(n,) −log of what was given to the label."""
    kept = np.clip(p, CLIP, 1 - CLIP)
    return np.asarray(-np.log(np.where(cancer == 1, kept, 1 - kept)))
