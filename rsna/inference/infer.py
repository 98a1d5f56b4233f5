"""A run or a bundle and a folder in, a complete submission out: from the first minute, and in time."""

import contextlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.settings import unless_auto
from rsna.config.verbs import InferOptions
from rsna.dataset.examples import Unit, examples_of
from rsna.inference import report
from rsna.inference.exam import NO_FILE, TestSet, load_test_set
from rsna.inference.networks import check_networks, load_networks
from rsna.inference.pass_plan import WARM_UP, Clock, PassPlan, choose_plan
from rsna.inference.resume_log import ResumeLog
from rsna.inference.stream import Predicted, Stages, Stream
from rsna.inference.submission import check_submission, complete_breasts, join_folds, write_frame, write_submission
from rsna.parallel.engine import PoolError
from rsna.runs.trained_model import TrainedModel, load_trained

PROGRESS_EVERY_S = 5.0
"""Seconds between lines of progress."""

SAVE_EVERY_S = 30.0
"""Seconds between submissions."""

NO_TIME = "the time budget was spent before its turn"
NOT_REACHED = "was not reached"


class StrictError(RuntimeError):
    """A fallback under strict=true."""


@dataclass(frozen=True)
class Inference:
    """What was predicted."""

    images: pd.DataFrame
    """image_id, prediction_id, path, probability (of the image's example; NaN where it failed), failure."""
    breasts: pd.DataFrame
    """prediction_id, probability, views, filled."""
    submission: pd.DataFrame
    """prediction_id, cancer: as written."""
    stages: Stages
    seconds: float
    """From start to end, loading included."""


def infer(options: InferOptions, unit: Unit = "image") -> Inference:
    """Predicts a folder and writes the submission.

    Args:
        options: What is typed.
        unit: What the model was trained to predict at once.

    Raises:
        RunError: The run or bundle has nothing to predict with.
        TableError: The folder cannot be used at all.
        StrictError: A fallback, under strict=true.
    """
    clock, out = Clock(options.budget_seconds), Path(options.out)
    tests = load_test_set(options.input)
    trained = load_trained(options.run, options.folds)
    check_networks(trained, options.backend)
    report.start(options, trained, tests)
    predictions = _Predictions(options, trained, tests, clock)
    predictions.save()  # complete and valid before anything that takes long
    if options.strict:
        _refuse_gaps(tests.images)
    plan = PassPlan.of(trained, unless_auto(options.flip))
    key = {"model": trained.model_hash, "flip": plan.flip, "backend": options.backend}
    with contextlib.closing(ResumeLog(out.with_name(f"{out.stem}_progress.jsonl"), key)) as log:
        if examples := predictions.read_log(log, unit):
            networks = load_networks(trained, options.backend, options.compile)
            stages = predictions.stages
            stream = Stream(
                networks,
                trained.preprocess,
                plan,
                options.batch_size,
                unless_auto(options.workers),
                options.file_timeout,
                stages,
            )
            in_time = itertools.takewhile(lambda example: not clock.over, examples)
            try:
                for predicted in stream.predict(example.paths for example in in_time):
                    predictions.take_in(examples[predicted.index], predicted, log)
                    predictions.keep_up(stream)
            except PoolError as error:
                if options.strict:
                    raise
                report.line(f"warning: no further file can be read: {error}")
            predictions.end_early()
    if not (predictions.images["failure"] != "").any():
        log.file.unlink()
    return predictions.finish()


@dataclass(frozen=True)
class _Example:
    """What is predicted at once, of those images that have a file."""

    example_id: str
    rows: npt.NDArray[np.int64]
    """Its rows of the table of images."""
    paths: tuple[str, ...]


class _Predictions:
    """What is known so far of every image, and the submission that it makes."""

    def __init__(self, options: InferOptions, trained: TrainedModel, tests: TestSet, clock: Clock) -> None:
        self.options, self.trained, self.tests, self.clock = options, trained, tests, clock
        self.threshold = trained.threshold if options.threshold == "auto" else options.threshold
        self.images = tests.images[["image_id", "prediction_id", "path"]].copy()
        self.images["probability"] = np.nan
        self.images["failure"] = tests.images["failure"].mask(tests.images["failure"].eq(""), NOT_REACHED)
        self.stages = Stages()
        self._done = self._total = 0
        """Images that this start predicts."""
        self._reported = self._saved = time.monotonic()

    def save(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Writes the submission as it is known now; returns breasts and submission."""
        trained, options = self.trained, self.options
        breasts = complete_breasts(self.images, self.tests.prediction_ids, trained.aggregate, trained.prevalence)
        submission = write_submission(breasts, options.out, self.threshold if options.submit == "threshold" else None)
        check_submission(submission, self.tests.prediction_ids)
        return breasts, submission

    def finish(self) -> Inference:
        """Writes everything and reports how it went."""
        breasts, submission = self.save()
        out = Path(self.options.out)
        write_frame(self.images, out.with_name(f"{out.stem}_images.csv"))
        write_frame(breasts, out.with_name(f"{out.stem}_breasts.csv"))
        result = Inference(self.images, breasts, submission, self.stages, self.clock.elapsed)
        report.end(self.options, self.trained, result.images, breasts, self.threshold, self.stages)
        if self.options.strict and breasts["filled"].any():
            raise StrictError(f"strict: {int(breasts['filled'].sum())} breasts have no readable image")
        return result

    def read_log(self, log: ResumeLog, unit: Unit) -> list[_Example]:
        """Takes over what an earlier start predicted; returns the examples that are left.

        The first image of every breast comes before any second one: where time runs out, most breasts have one.
        """
        with_file = np.flatnonzero(self.images["failure"].to_numpy() == NOT_REACHED)
        found = examples_of(unit, self.images.iloc[with_file])
        paths = found.images["path"].tolist()
        nth = found.images.groupby("prediction_id").cumcount().to_numpy()
        left, known = [], 0
        for e in np.argsort([nth[rows[0]] for rows in found.rows], kind="stable"):
            rows = found.rows[e]
            example = _Example(found.ids[e], with_file[rows], tuple(paths[row] for row in rows))
            logits = log.get(example.example_id, example.paths)
            if logits is None:
                left.append(example)
            else:
                known += len(rows)
                self._record(example, logits, [""] * len(rows))
        if known:
            report.line(f"{known:,} images were predicted by an earlier start")
        self._total = len(with_file) - known
        return left

    def take_in(self, example: _Example, predicted: Predicted, log: ResumeLog) -> None:
        """Records the outcome of an example, and logs it where none of its files failed."""
        self._done += len(example.paths)
        failures = predicted.failures
        lost = [(path, why) for path, why in zip(example.paths, failures, strict=True) if why]
        if lost and self.options.strict:
            raise StrictError(f"strict: {lost[0][0]}: {lost[0][1]}")
        logits = None if predicted.logits is None else predicted.logits[:, self.trained.cancer_column]  # (passes,)
        if logits is not None and not np.isfinite(logits).all():
            logits, failures = None, [why or "the networks gave no number" for why in failures]
        elif logits is not None and not lost:
            log.add(example.example_id, example.paths, logits)
        self._record(example, logits, failures)

    def keep_up(self, stream: Stream) -> None:
        """Now and then: a line of progress, a cheaper plan where the time needs it, the submission as it is known."""
        done, total, now = self._done, self._total, time.monotonic()
        if now - self._reported > PROGRESS_EVERY_S or done == total:
            self._reported = now
            self._replan(stream, done, total - done)
            report.progress(done, total, self.clock.elapsed)
        if now - self._saved > SAVE_EVERY_S:
            self._saved = now
            self.save()

    def end_early(self) -> None:
        """Names the images that the time budget left out, if any."""
        if self._done < self._total and self.clock.over:
            self.images.loc[self.images["failure"] == NOT_REACHED, "failure"] = NO_TIME
            if self.options.strict:
                raise StrictError(f"strict: the time budget ended {self._total - self._done} images early")

    def _record(self, example: _Example, logits: npt.NDArray[np.float32] | None, failures: Sequence[str]) -> None:
        probability = np.nan if logits is None else join_folds(logits[None], self.options.average)[0]
        for row, failure in zip(example.rows.tolist(), failures, strict=True):
            self.images.at[row, "probability"] = np.nan if failure else probability
            self.images.at[row, "failure"] = failure

    def _replan(self, stream: Stream, done: int, left: int) -> None:
        """Gives up mirrored images, then folds, where the projection runs over the budget; counted in images."""
        if self.clock.budget is None or done < WARM_UP or left == 0:
            return
        plan = choose_plan(stream.plan, stream.pace(), left, self.clock.left)
        if plan != stream.plan:
            if self.options.strict:
                raise StrictError(f"strict: {stream.plan} do not fit into time_budget={self.options.time_budget}")
            report.line(f"time budget {self.options.time_budget}: from here on {plan} instead of {stream.plan}")
            stream.plan = plan


def _refuse_gaps(images: pd.DataFrame) -> None:
    """Raises where it is known before any work that an image will not be predicted."""
    if absent := int(images["failure"].eq(NO_FILE).sum()):
        raise StrictError(f"strict: {absent} rows have no file")
    lost = images[images["failure"] != ""]
    if len(lost):
        path, reason = lost[["path", "failure"]].iloc[0]
        raise StrictError(f"strict: {len(lost)} files cannot be used (first: {path}: {reason})")
