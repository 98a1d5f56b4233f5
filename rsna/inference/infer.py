"""A run, several or a bundle and a folder in, a complete submission out: from the first minute, and in time."""

import contextlib
import itertools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from rsna.config.settings import unless_auto
from rsna.config.shard import Shard
from rsna.config.verbs import InferOptions
from rsna.files import only_writer
from rsna.inference import report
from rsna.inference.backends.choice import Choice, check_networks, choose, load_members
from rsna.inference.cluster.stream import ClusterStream, nodes_of
from rsna.inference.devices import choose_devices
from rsna.inference.exam import TestSet, load_test_set
from rsna.inference.examples import TableExample, grouped, table_examples
from rsna.inference.pass_plan import WARM_UP, Clock, Pace, PassPlan, Plans, Stages, choose_plans, in_words
from rsna.inference.resume_log import Logits, ResumeLog, save_results
from rsna.inference.shards.part import logs_beside, part_of, shard_out
from rsna.inference.shards.result import ShardResult, table_hash
from rsna.inference.stream import TIME_UP, Predicted, Stream
from rsna.inference.submission import check_submission, complete_breasts, join_folds, write_submission
from rsna.parallel.engine import PoolError
from rsna.parallel.progress import Progress
from rsna.runs.site_calibration import with_calibration
from rsna.runs.trained_ensemble import TrainedEnsemble, load_ensemble
from rsna.table_file.write import write_frame

if TYPE_CHECKING:
    import torch

REPLAN_EVERY_S = 5.0
"""Seconds between two looks at whether the plan keeps the time budget."""

SAVE_EVERY_S = 30.0
"""Seconds between submissions."""

NO_TIME = "the time budget was spent before its turn"
NOT_REACHED = "was not reached"

_READERS = 16
"""Files that are compared with the progress at once: on a network disk each is waited for."""


class StrictError(RuntimeError):
    """A fallback under strict=true."""


@dataclass(frozen=True)
class Inference:
    """What was predicted."""

    images: pd.DataFrame
    """One row an image and breast that it counts for: image_id (of that image alone), prediction_id, path, probability
    (of the image's example, joint over members; NaN where it failed), passes (that are behind it), failure."""
    breasts: pd.DataFrame
    """prediction_id, probability, views, filled."""
    submission: pd.DataFrame
    """prediction_id, cancer: as written."""
    stages: Stages
    seconds: float
    """From start to end, loading included."""


def infer(options: InferOptions, started: float | None = None) -> Inference:
    """Predicts a folder and writes the submission.

    Args:
        options: What is typed.
        started: time.monotonic() from which the time budget counts; None for now.

    Raises:
        RunError: The run or bundle has nothing to predict with, or several runs cannot be joined.
        PredictionError, ConfigError: Several runs cannot be joined.
        TableError: The folder cannot be used at all.
        InUseError: Another process writes the same submission.
        WriteError: Nothing can be written to ``out``.
        StrictError: A fallback, under strict=true.
        PoolError: No process can be started that reads files, or no node predicts; what is known is written first.
        SaveError: The results could not be written to ``out``, and lie elsewhere.
    """
    clock, tests = Clock(options.budget_seconds, started), load_test_set(options.input)
    if shard := Shard.asked(options.shard):
        tests, options = part_of(tests, shard), replace(options, out=str(shard_out(options.out, shard)))
    out = Path(options.out)
    trained = load_ensemble(options.run, options.folds, options.method, options.weights)
    trained = with_calibration(trained, options.calibration)
    check_networks(trained.members, options.backend, options.precision)
    plans = tuple(PassPlan.of(member, unless_auto(options.flip)) for member in trained.members)
    devices = choose_devices()
    with contextlib.ExitStack() as stack:
        with Progress("wait for the other run"):  # of the same shard; anything else is refused
            # One name for all that is written beside the submission.
            stack.enter_context(only_writer(out, out.stem, waits=bool(shard)))
        report.start(options, trained, tests)
        predictions = Predictions(options, trained, tests, clock, plans)
        progress = out.with_name(f"{out.stem}_progress.jsonl")
        if not progress.exists():
            predictions.save()  # complete and valid before anything that takes long
        nodes = stack.enter_context(nodes_of(options, trained, tests.files, plans, clock.deadlines, predictions.stages))
        choices = _choose(options, trained, devices, tests.usable, nodes)
        key = {
            "models": [member.model_hash for member in trained.members],
            "units": [member.spec.unit for member in trained.members],
            "flip": [plan.flip for plan in plans],
            "backends": [choice.backend for choice in choices],
            "precisions": [choice.precision for choice in choices],
        }
        with contextlib.closing(ResumeLog(progress, key, max(plan.passes for plan in plans))) as log:
            if not len(log):
                predictions.save()
            groups = predictions.read_log(log)
            predictions.save()
            if options.strict:
                _refuse_gaps(tests)
            if groups:
                if nodes is None:
                    with Progress("load the networks"):
                        networks = load_members(trained.members, choices, options.compile, devices)
                    here = Stream(
                        networks,
                        [member.preprocess for member in trained.members],
                        plans,
                        predictions.batch_size,
                        unless_auto(options.workers),
                        options.file_timeout,
                        clock.deadlines,
                        predictions.stages,
                    )
                predictions.fill(nodes or here, groups, log)
            return predictions.finish(log, key)


def _choose(
    options: InferOptions,
    trained: TrainedEnsemble,
    devices: "Sequence[torch.device]",
    images: int,
    nodes: ClusterStream | None,
) -> list[Choice]:
    """What predicts; under a time budget nothing is converted, which might take all of it."""
    asked = options.backend, options.precision, devices, options.tolerance, images, not options.time_budget
    with Progress("choose what predicts"):
        choices = nodes.choices(images) if nodes else [choose(member, *asked) for member in trained.members]
    report.networks(trained, choices)
    if options.strict and (given_up := [why for choice in choices for why in choice.given_up]):
        raise StrictError(f"strict: {given_up[0]}")
    return choices


@dataclass
class _Group:
    """Examples that share files, on their way."""

    examples: list[TableExample]
    left: int
    """Examples that are not through."""

    @cached_property
    def rows(self) -> set[int]:
        """Rows of the table that are its examples' own, the first of each image."""
        return {rows[0] for example in self.examples for rows in example.rows}


class Predictions:
    """What is known so far of every image, and the submission that it makes."""

    def __init__(
        self, options: InferOptions, trained: TrainedEnsemble, tests: TestSet, clock: Clock, plans: Plans
    ) -> None:
        self.options, self.trained, self.tests, self.clock, self.plans = options, trained, tests, clock, plans
        self.threshold = trained.threshold if options.threshold == "auto" else options.threshold
        found = tests.images["failure"].mask(tests.images["failure"].eq(""), NOT_REACHED)
        shape = len(trained.members), len(found)
        # (members, rows of the table)
        self.scores = np.full(shape, np.nan)
        self.passes = np.zeros(shape, dtype=np.int64)
        self.failures = np.tile(found.to_numpy(dtype=object), (shape[0], 1))
        # Batches are filled up: a single exam is not made larger than it is.
        self.batch_size, self.stages = min(options.batch_size, tests.usable), Stages()
        self._known: dict[str, Logits] = {}
        """What an earlier start predicted by fewer passes than the plan's."""
        self._done = self._total = 0
        """Images that this start predicts."""
        self._files, self._seen = 1.0, [1.0] * len(trained.members)
        """For each of these, files that are prepared and images that the networks see, who compare breasts."""
        self._planned = self._saved = time.monotonic()
        self._broken: PoolError | None = None

    @property
    def images(self) -> pd.DataFrame:
        """See :attr:`Inference.images`."""
        images = self.tests.images[["image_id", "prediction_id", "path"]].copy()
        images["probability"] = self.trained.join(self.scores)
        images["passes"] = self.passes.sum(axis=0)
        known = images["probability"].notna().to_numpy()
        # A member that did not come to its turn is no failure of an image that others predicted.
        lost = np.where(known & np.isin(self.failures, (NOT_REACHED, NO_TIME, TIME_UP)), "", self.failures)
        images["failure"] = ["; ".join(dict.fromkeys(filter(None, why))) for why in lost.T.tolist()]
        return images

    def save(self, out: Path | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Writes the submission as it is known now; returns breasts and submission."""
        options, asked = self.options, self.tests.prediction_ids
        breasts = complete_breasts(self.tests.images["prediction_id"], self.scores, asked, self.trained)
        threshold = self.threshold if options.submit == "threshold" else None
        if self.trained.calibrated_on:
            p = breasts["probability"]  # what stands in for one is nobody's
            breasts["calibrated"] = p.where(breasts["filled"], self.trained.calibration.apply(p))
        submission = write_submission(breasts, out or options.out, threshold)
        check_submission(submission, asked)
        return breasts, submission

    def finish(self, log: ResumeLog, key: Mapping[str, Any]) -> Inference:
        """Writes everything and reports how it went; removes the progress where there is nothing to go on with, unless
        it is that of a shard, which may be done once more."""
        about = table_hash(self.tests, self.options.input), log.stamps_of(self.tests.images["path"])
        made_with = {**key, "average": self.options.average, "batch_size": self.batch_size}

        def write(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
            found = self.write(out)
            if self.options.shard and self._broken is None:
                ShardResult(made_with, *about, self.scores, self.passes, self.failures, self.stages).write(out)
            return found

        breasts, submission = save_results(write, Path(self.options.out), log)
        images = self.images
        is_whole = images["failure"].eq("") & images["passes"].ge(sum(plan.passes for plan in self.plans))
        if is_whole.all() and not self.options.shard:
            log.remove()
        result = Inference(images, breasts, submission, self.stages, self.clock.elapsed)
        report.end(self.options, self.trained, images, breasts, self.threshold, self.stages, self.plans)
        if self._broken is not None:
            done = int(images["probability"].notna().sum())
            raise PoolError(
                f"{self._broken}; {done:,} of {len(images):,} images are predicted. The same command goes on"
            ) from self._broken
        if self.options.strict and breasts["filled"].any():
            raise StrictError(f"strict: {int(breasts['filled'].sum())} breasts have no readable image")
        return result

    def read_log(self, log: ResumeLog) -> list[_Group]:
        """Takes over what an earlier start predicted; returns the examples that are left, in groups that share files.

        The first image of every breast comes before any second one, unless a member predicts breasts as a whole: where
        time runs out, most breasts have one. What has some of its passes comes last: a short time left that start with
        fewer of them.
        """
        usable = self.tests.images["failure"].eq("").to_numpy()
        for unknown in report.unknown_inputs(self.trained, self.tests.images[usable]):
            report.line(unknown)
        examples = table_examples(self.trained, self.tests.images, usable)
        if self.options.shard and not len(log):
            log.take_over(logs_beside(self.options.out), {one.example_id for one in examples})
        with Progress("compare", len(examples), "examples") as progress, ThreadPoolExecutor(_READERS) as pool:
            found = pool.map(lambda one: log.get(one.example_id, [str(path) for path in one.sources]), examples)
            logged = dict(zip((one.example_id for one in examples), progress.over(found), strict=True))
        left, fewer = list[_Group](), list[_Group]()
        for group in grouped(examples):
            for example in group:
                if (logits := logged[example.example_id]) is not None:
                    self._record(example, logits, [""] * len(example.rows))
                    self._known[example.example_id] = logits
            own = [one for one in group if len(self._known.get(one.example_id, ())) < self.plans[one.member].passes]
            if own:
                begun = any(one.example_id not in self._known for one in own)
                (left if begun else fewer).append(_Group(own, len(own)))
        images = len({rows[0] for example in examples for rows in example.rows})
        self._total = sum(len(group.rows) for group in left + fewer)
        if known := images - self._total:
            report.line(f"{known:,} images were predicted by an earlier start")
        if fewer:
            report.line(
                f"{sum(len(group.rows) for group in fewer):,} more by fewer passes than {in_words(self.plans)}: done "
                "anew at the end"
            )
        return left + fewer

    def fill(self, stream: Stream | ClusterStream, groups: list[_Group], log: ResumeLog) -> None:
        """Predicts examples until there are none left, or no time."""
        group_of = {example.example_id: group for group in groups for example in group.examples}
        in_time = itertools.takewhile(lambda group: not self.clock.over, groups)
        examples = [example for group in groups for example in group.examples]
        self._files = len({source for example in examples for source in example.sources}) / self._total
        for member in range(len(self._seen)):
            seen = sum(len(example.sources) for example in examples if example.member == member)
            self._seen[member] = seen / self._total
        try:
            with Progress("predict", self._total) as progress:
                for predicted in stream.predict(group.examples for group in in_time):
                    example = cast("TableExample", predicted.example)
                    group = group_of[example.example_id]
                    self._take_in(example, predicted, log)
                    group.left -= 1
                    if not group.left:
                        self._done += len(group.rows)
                        unknown = np.isnan(self.scores[:, list(group.rows)]).all(axis=0)  # to every member
                        progress.step(len(group.rows), int(unknown.sum()))
                    self._keep_up(stream)
        except PoolError as error:
            self._broken = error
        if self._done < self._total and self.clock.over:
            self.failures[self.failures == NOT_REACHED] = NO_TIME
            if self.options.strict:
                raise StrictError(f"strict: the time budget ended {self._total - self._done} images early")

    def write(self, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Writes submission, images and breasts; returns breasts and submission."""
        breasts, submission = self.save(out)
        write_frame(self.images, out.with_name(f"{out.stem}_images.csv"))
        write_frame(breasts, out.with_name(f"{out.stem}_breasts.csv"))
        return breasts, submission

    def _take_in(self, example: TableExample, predicted: Predicted, log: ResumeLog) -> None:
        """Records the outcome of an example, and logs it where none of its files failed."""
        lost = [(path, why) for path, why in zip(example.sources, predicted.failures, strict=True) if why]
        failures = predicted.failures[: len(example.rows)]
        plan, trained = self.plans[example.member], self.trained.members[example.member]
        if lost and self.options.strict:
            raise StrictError(f"strict: {lost[0][0]!s}: {lost[0][1]}")
        if self.options.strict and predicted.logits is not None and len(predicted.logits) < plan.passes:
            raise StrictError(f"strict: {plan} do not fit into time_budget={self.options.time_budget}")
        logits = None if predicted.logits is None else predicted.logits[:, trained.cancer_column]  # (passes,)
        known = self._known.get(example.example_id)
        if known is not None and (lost or logits is None or len(logits) < len(known)):
            return  # what an earlier start knows of it is more
        paths = [str(path) for path in example.sources]
        log.add(example.example_id, paths, predicted.stamps, None if lost else logits)
        self._record(example, logits, failures)

    def _keep_up(self, stream: Stream | ClusterStream) -> None:
        """Now and then: a cheaper plan where the time needs it, the submission as it is known."""
        now = time.monotonic()
        if now - self._planned > REPLAN_EVERY_S:
            self._planned = now
            self._replan(stream, self._done, self._total - self._done)
        if now - self._saved > SAVE_EVERY_S:
            self._saved = now
            try:
                self.save()
            except OSError as error:  # a full disk for one: it may have room at the end, and this goes on
                report.line(f"warning: {error}")

    def _record(self, example: TableExample, logits: Logits | None, failures: Sequence[str]) -> None:
        probability = np.nan if logits is None else join_folds(logits[None], self.options.average)[0]
        for rows, failure in zip(example.rows, failures, strict=True):
            passes = 0 if failure or logits is None else len(logits)
            self.scores[example.member, rows] = np.nan if failure else probability
            self.passes[example.member, rows] = passes
            self.failures[example.member, rows] = failure

    def _replan(self, stream: Stream | ClusterStream, done: int, left: int) -> None:
        """Gives up mirrored images, folds, members, where the projection runs over the budget; counted in images."""
        if self.clock.budget is None or done < WARM_UP or left == 0:
            return
        pace = stream.pace()
        networks = (a_pass * seen for a_pass, seen in zip(pace.networks, self._seen, strict=True))
        pace = Pace(pace.prepare * self._files, tuple(networks))
        plans = choose_plans(stream.plans, pace, left, self.clock.left)
        if plans != stream.plans:
            before, budget = in_words(stream.plans), self.options.time_budget
            if self.options.strict:
                raise StrictError(f"strict: {before} do not fit into time_budget={budget}")
            report.line(f"time budget {budget}: from here on {in_words(plans)} instead of {before}")
            stream.plans = plans


def _refuse_gaps(tests: TestSet) -> None:
    """Raises where it is known before any work that an image will not be predicted."""
    if gaps := tests.gaps():
        raise StrictError(f"strict: {gaps}")
