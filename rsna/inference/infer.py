"""A run or a bundle and a folder in, a complete submission out: from the first minute, and in time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.config.verbs import InferOptions
from rsna.inference import report
from rsna.inference.exam import NO_FILE, TestSet, load_test_set
from rsna.inference.networks import load_networks
from rsna.inference.pass_plan import WARM_UP, Clock, PassPlan, choose_plan
from rsna.inference.progress import Progress
from rsna.inference.stream import Predicted, Stages, Stream
from rsna.inference.submission import check_submission, complete_breasts, join_folds, write_frame, write_submission
from rsna.parallel.engine import PoolError
from rsna.prepare.file_task import Source
from rsna.runs.trained_model import TrainedModel, load_trained

_SAY_S = 5.0
"""Seconds between lines of progress."""

_SAVE_S = 30.0
"""Seconds between submissions."""

NO_TIME = "the time budget was spent before its turn"
NOT_REACHED = "was not reached"


class StrictError(RuntimeError):
    """A fallback under strict=true."""


@dataclass(frozen=True)
class Inference:
    """What was predicted."""

    images: pd.DataFrame
    """image_id, prediction_id, path, probability (NaN where it failed), failure."""
    breasts: pd.DataFrame
    """prediction_id, probability, views, filled."""
    submission: pd.DataFrame
    """prediction_id, cancer: as written."""
    stages: Stages
    seconds: float
    """From start to end, loading included."""


def infer(options: InferOptions) -> Inference:
    """Networks a folder and writes the submission.

    Raises:
        RunError: The run or bundle has nothing to predict with.
        TableError: The folder cannot be used at all.
        StrictError: A fallback, under strict=true.
    """
    clock = Clock(options.budget_seconds)
    tests = load_test_set(options.input)
    trained = load_trained(options.run, options.folds)
    report.start(options, trained, tests)
    job = _Job(options, trained, tests, clock)
    job.save()  # complete and valid before anything that takes long
    job.run()
    return job.finish()


class _Job:
    """One inference: what is known so far of every image."""

    def __init__(self, options: InferOptions, trained: TrainedModel, tests: TestSet, clock: Clock) -> None:
        self.options, self.trained, self.tests, self.clock = options, trained, tests, clock
        self.threshold = trained.threshold if options.threshold is None else options.threshold
        self.images = tests.images[["image_id", "prediction_id", "path"]].copy()
        self.images["probability"] = np.nan
        self.images["failure"] = tests.images["failure"].mask(tests.images["failure"].eq(""), NOT_REACHED)
        self._ids: list[str] = self.images["image_id"].tolist()
        self._paths: list[str] = self.images["path"].tolist()
        self.stages = Stages()

    def run(self) -> None:
        """Networks what earlier starts have not."""
        if self.options.strict:
            _refuse_gaps(self.tests.images)
        out = Path(self.options.out)
        flip = PassPlan.of(self.trained, self.options.flip).flip
        key = {"fingerprint": self.trained.fingerprint, "flip": flip, "backend": self.options.backend}
        progress = Progress(out.with_name(f"{out.stem}_progress.jsonl"), key)
        try:
            rows = self._left(progress)
            if len(rows):
                self._stream(rows, progress)
        finally:
            progress.close()
        if not (self.images["failure"] != "").any():
            progress.file.unlink()

    def save(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Writes the submission as it is known now; returns breasts and submission."""
        trained, options = self.trained, self.options
        breasts = complete_breasts(self.images, self.tests.prediction_ids, trained.aggregate, trained.prevalence)
        submission = write_submission(breasts, options.out, self.threshold if options.submit == "threshold" else None)
        check_submission(submission, self.tests.prediction_ids)
        return breasts, submission

    def finish(self) -> Inference:
        """Writes everything and says how it went."""
        breasts, submission = self.save()
        out = Path(self.options.out)
        write_frame(self.images, out.with_name(f"{out.stem}_images.csv"))
        write_frame(breasts, out.with_name(f"{out.stem}_breasts.csv"))
        result = Inference(self.images, breasts, submission, self.stages, self.clock.elapsed)
        report.end(self.options, self.trained, result.images, breasts, self.threshold, self.stages)
        if self.options.strict and breasts["filled"].any():
            raise StrictError(f"strict: {int(breasts['filled'].sum())} breasts have no readable image")
        return result

    def _left(self, progress: Progress) -> list[int]:
        """Rows still to predict, the first image of every breast before any second one."""
        rows = np.flatnonzero(self.images["failure"].to_numpy() == NOT_REACHED)
        nth = self.images.groupby("prediction_id").cumcount().to_numpy()
        left = []
        for row in rows[np.argsort(nth[rows], kind="stable")].tolist():
            logits = progress.get(self._ids[row], self._paths[row])
            if logits is None:
                left.append(row)
            else:
                self._settle(row, logits, "")
        if len(left) < len(rows):
            report.say(f"{len(rows) - len(left):,} images were predicted by an earlier start")
        return left

    def _stream(self, rows: list[int], progress: Progress) -> None:
        options, trained = self.options, self.trained
        networks = load_networks(trained, options.backend, options.compile)
        plan = PassPlan.of(trained, options.flip)
        stream = Stream(
            networks, trained.preprocess, plan, options.batch_size, options.workers, options.file_timeout, self.stages
        )
        said = saved = time.monotonic()
        done = 0
        try:
            for done, predicted in enumerate(stream.predict(self._in_time(rows)), 1):
                self._take(rows[predicted.index], predicted, progress)
                now = time.monotonic()
                if now - said > _SAY_S or done == len(rows):
                    said = now
                    self._replan(stream, done, len(rows) - done)
                    report.progress(done, len(rows), self.clock.elapsed)
                if now - saved > _SAVE_S:
                    saved = now
                    self.save()
        except PoolError as error:
            if options.strict:
                raise
            report.say(f"warning: no further file can be read: {error}")
        if done < len(rows) and self.clock.over:
            self.images.loc[self.images["failure"] == NOT_REACHED, "failure"] = NO_TIME
            if options.strict:
                raise StrictError(f"strict: the time budget ended {len(rows) - done} images early")

    def _in_time(self, rows: list[int]) -> Iterator[Source]:
        for row in rows:
            if self.clock.over:
                return
            yield self._paths[row]

    def _take(self, row: int, predicted: Predicted, progress: Progress) -> None:
        if predicted.logits is None:
            if self.options.strict:
                raise StrictError(f"strict: {self._paths[row]}: {predicted.failure}")
            self._settle(row, None, predicted.failure)
            return
        logits = predicted.logits[:, self.trained.cancer_column]
        if not np.isfinite(logits).all():
            self._settle(row, None, "the networks gave no number")
            return
        progress.add(self._ids[row], self._paths[row], logits)
        self._settle(row, logits, "")

    def _settle(self, row: int, logits: np.ndarray | None, failure: str) -> None:
        if logits is not None:
            self.images.at[row, "probability"] = join_folds(logits[None], self.options.average)[0]
        self.images.at[row, "failure"] = failure

    def _replan(self, stream: Stream, done: int, left: int) -> None:
        """Gives up mirrored images, then folds, where the projection runs over the budget."""
        if self.clock.budget is None or done < WARM_UP or left == 0:
            return
        plan = choose_plan(stream.plan, stream.pace(), left, self.clock.left)
        if plan != stream.plan:
            if self.options.strict:
                raise StrictError(f"strict: {stream.plan} do not fit into time_budget={self.options.time_budget}")
            report.say(f"time budget {self.options.time_budget}: from here on {plan} instead of {stream.plan}")
            stream.plan = plan


def _refuse_gaps(images: pd.DataFrame) -> None:
    """Raises where it is known before any work that an image will not be predicted."""
    if absent := int(images["failure"].eq(NO_FILE).sum()):
        raise StrictError(f"strict: {absent} rows have no file")
    lost = images[images["failure"] != ""]
    if len(lost):
        path, reason = lost[["path", "failure"]].iloc[0]
        raise StrictError(f"strict: {len(lost)} files cannot be used (first: {path}: {reason})")
