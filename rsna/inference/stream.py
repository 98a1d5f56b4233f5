"""Examples → logits, streaming: processes prepare while a thread a device predicts; memory stays bounded.

Members of an ensemble share the files: each is read once, and prepared as every member wants it.
"""

import contextlib
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rsna.config.data import PreprocessSettings
from rsna.cores import available_cores
from rsna.file_stamp import Look, look, stamp_of_failed
from rsna.files import first_line
from rsna.inference.batch import ImageFacts, count_that_fits, stack_batch
from rsna.inference.pass_plan import Pace, PassPlan, Plans, Stages, choose_plans
from rsna.parallel.engine import Outcome, PoolError
from rsna.parallel.pool import LocalProcesses, map_tasks
from rsna.prepare.file_task import PreparedSource, Source, prepare_source_each

if TYPE_CHECKING:
    from rsna.inference.networks import Networks

log = logging.getLogger(__name__)

TIME_UP = "the time was up before the networks had it"
NO_NUMBER = "the networks gave no number"


@dataclass(frozen=True)
class Example:
    """What a member predicts at once."""

    sources: tuple[Source, ...]
    """At least one; behind its own those of the exam's other breast, where breasts are compared."""
    member: int = 0
    facts: ImageFacts | None = None
    """What a table says of the sources beside their pixels; None where the networks ask for nothing."""


@dataclass
class Predicted:
    """The outcome for one example."""

    example: Example
    prepared: list[PreparedSource | None]
    """What was made of each source; None where it failed."""
    failures: list[str]
    """Class and message of what went wrong with each source, "" where nothing did. Where no device can predict the
    example, it is what went wrong there."""
    logits: npt.NDArray[np.float32] | None = None
    """(passes, outputs) float32, from the sources that did not fail; None where all of its own did."""
    facts: ImageFacts | None = None
    """What is known of each source beside its pixels."""
    stamps: list[str] = field(default_factory=list)
    """Of the file of each source, from before it was read (:attr:`PreparedSource.stamp`), also where that failed; "" of
    what is no file."""

    @property
    def images(self) -> list[PreparedSource]:
        """The sources that could be prepared, in their order."""
        return [image for image in self.prepared if image is not None]

    @property
    def usable(self) -> bool:
        """Whether there is an image of its own: the other breast's alone say nothing of this one."""
        others = self.facts.other.tolist() if self.facts else [False] * len(self.prepared)
        return any(image is not None and not other for image, other in zip(self.prepared, others, strict=True))

    @property
    def failure(self) -> str:
        """Why there are no logits; "" where there are."""
        return "" if self.logits is not None else "; ".join(dict.fromkeys(filter(None, self.failures)))


@dataclass
class Stream:
    """Predicts examples in the order in which their pixels arrive."""

    networks: "Sequence[Sequence[Networks]]"
    """Once a device: those of each member."""
    settings: Sequence[PreprocessSettings]
    """Of each member."""
    plans: Plans
    """May be replaced while the stream runs; batches begun keep theirs."""
    batch_size: int = 16
    """Images per forward pass. An example is never split: one with more images is a batch by itself."""
    workers: int | None = None
    file_timeout: float = 60.0
    deadlines: tuple[float, float] = (math.inf, math.inf)
    """time.monotonic() at which files in work are given up, and after which no batch may end."""
    stages: Stages = field(default_factory=Stages)
    pool: LocalProcesses[Source, list[PreparedSource]] | None = None
    """Processes that prepare by these settings, and outlive the stream; None for its own."""
    turn: "Lock | None" = None
    """Held while a batch is in the networks, where other streams have the same ones."""
    _devices: "list[_Device]" = field(default_factory=list, repr=False)

    def predict(self, groups: Iterable[Sequence[Example]]) -> Generator[Predicted, None, None]:
        """Yields one outcome an example.

        A source that fails, hangs or crashes its process costs itself alone: its example is predicted from the others.

        Args:
            groups: Examples that share sources, each of which is prepared once for all of its group.

        Raises:
            PoolError: No worker can be started any more; what was prepared before is predicted first.
            ValueError: An example without any source.
        """
        started = time.perf_counter()
        begun = _Begun(groups, self.stages)
        outcomes = self._prepare(begun.sources())
        self._devices = devices = [_Device(networks, self.batch_size, self.turn) for networks in self.networks]
        waiting: list[list[Predicted]] = [[] for _ in self.settings]  # of each member
        more, broken = True, None  # outcomes, and why they ended early
        try:
            while more or any(waiting) or any(device.job for device in devices):
                finished: list[Predicted] = []
                # Prepared images are large: beyond two batches a device, the workers wait for the networks.
                if more and max(map(_images, waiting)) < 2 * self.batch_size * len(devices):
                    try:
                        outcome = next(outcomes, None)
                    except PoolError as error:
                        outcome, broken = None, error
                    more = outcome is not None
                    for example in begun.finish_source(outcome) if outcome else ():
                        (waiting[example.example.member] if example.usable else finished).append(example)
                else:
                    wait([device.job for device in devices if device.job], return_when=FIRST_COMPLETED)
                for device in devices:
                    if device.job and device.job.done():
                        finished += self._finish_batch(device, device.job.result())
                    finished += self._begin_batch(device, waiting, more)
                yield from finished  # last: whatever is done with them, the devices work
            if broken is not None:
                raise broken
        finally:
            outcomes.close()
            for device in devices:
                device.thread.shutdown(cancel_futures=True)
            self.stages.wall += time.perf_counter() - started

    def pace(self) -> Pace:
        """Seconds an image, from what was measured so far."""
        stages, workers = self.stages, self.workers or available_cores()
        of_workers = (stages.read + stages.decode + stages.prepare) / max(stages.prepared, 1)
        working = sum(device.works for device in self._devices) or len(self.networks)
        of_devices = (stages.members[member].a_pass / working for member in range(len(self.settings)))
        return Pace(of_workers / workers, tuple(of_devices))

    def _prepare(self, sources: Iterable[Source]) -> Generator[Outcome[Source, list[PreparedSource]], None, None]:
        if self.pool:
            return self.pool.map(sources, ordered=False)
        return map_tasks(
            partial(prepare_source_each, settings=self.settings),
            sources,
            workers=self.workers,
            timeout=self.file_timeout,
            deadline=self.deadlines[0],
            ordered=False,
        )

    def _begin_batch(self, device: "_Device", waiting: list[list[Predicted]], more: bool) -> list[Predicted]:
        """Has a free device begin a batch of the member that has most images waiting, if they are enough; takes them
        from these. Returns the examples that no time is left for."""
        member = max(range(len(waiting)), key=lambda one: _images(waiting[one]))
        sizes = [len(one.images) for one in waiting[member]]
        if not device.works or device.job or not sizes or (sum(sizes) < self.batch_size and more):
            return []
        count = count_that_fits(sizes, self.batch_size)
        batch, waiting[member] = waiting[member][:count], waiting[member][count:]
        plan = self._plan_in_time(member, max(sum(sizes[:count]), self.batch_size))
        if plan is None:
            return [_out_of_time(one) for one in batch]
        device.job = device.thread.submit(device.predict, member, batch, plan)
        return []

    def _plan_in_time(self, member: int, images: int) -> PassPlan | None:
        """The plan, or what the deadline leaves of it, for a batch that is to begin; None where it is too late."""
        left = self.deadlines[1] - time.monotonic()
        # Of one device.
        a_pass = self.pace().networks[member] * max(1, sum(device.works for device in self._devices))
        if not self.plans[member].networks:
            return None
        (plan,) = choose_plans((self.plans[member],), Pace(0.0, (a_pass,)), images, left)
        return plan if a_pass * images * plan.passes <= left else None

    def _finish_batch(self, device: "_Device", done: "_Done") -> list[Predicted]:
        """Gives examples their logits. What failed is tried on another device; where that works, the one is broken.

        Left in, it would take batch after batch from the others, since failing is quick.
        """
        device.job = None
        failed = [place for place, result in enumerate(done.results) if isinstance(result, str)]
        for other in self._devices:
            if failed and other is not device and other.works:
                batch = [done.batch[place] for place in failed]
                again = other.thread.submit(other.predict, done.member, batch, done.plan).result().results
                if not any(isinstance(result, str) for result in again):
                    log.warning("a device failed and gets no more images; the others go on")
                    device.works = False
                    for place, result in zip(failed, again, strict=True):
                        done.results[place] = result
                    break
        if not failed:  # what failed took no time
            work, passes = self.stages.members[done.member], done.plan.passes * _images(done.batch)
            work.seconds += done.seconds
            work.passes += passes
            if device.first[done.member]:
                work.first_seconds += done.seconds
                work.first_passes += passes
            device.first[done.member] = False
        for example, result in zip(done.batch, done.results, strict=True):
            if not isinstance(result, str) and np.isfinite(result).all():
                example.logits = result
                continue
            why = result if isinstance(result, str) else NO_NUMBER
            example.failures = [failure or why for failure in example.failures]
        return done.batch


class _Begun:
    """Examples with a source that a worker has taken, until every one of theirs is through."""

    def __init__(self, groups: Iterable[Sequence[Example]], stages: Stages) -> None:
        self._groups, self._stages = groups, stages
        self._wanted: dict[int, list[tuple[Predicted, int]]] = {}
        """Number of a source → the examples that it is of, and its place in each."""
        self._looks: dict[int, Look] = {}
        """Number of a source → its file as it was then."""
        self._told: defaultdict[int, Counter[str]] = defaultdict(Counter)
        """Of each member, see :attr:`Stages.told`."""

    def sources(self) -> Iterator[Source]:
        """The sources of each group, every one once; the workers number them in this order."""
        number, examples = 0, 0
        for group in self._groups:
            wanted: dict[Source, list[tuple[Predicted, int]]] = {}
            for example in group:
                if not example.sources:
                    raise ValueError(f"example {examples} has no source; leave it out")
                examples += 1
                nothing: list[PreparedSource | None] = [None] * len(example.sources)
                begun = Predicted(
                    example, nothing, [""] * len(nothing), facts=example.facts, stamps=[""] * len(nothing)
                )
                for place, source in enumerate(example.sources):
                    wanted.setdefault(source, []).append((begun, place))
            for source, places in wanted.items():
                self._wanted[number] = places
                self._looks[number] = look(source) if isinstance(source, str) else None
                number += 1
                yield source

    def finish_source(self, outcome: Outcome[Source, list[PreparedSource]]) -> list[Predicted]:
        """Takes the outcome of a source in; returns the examples of which it was the last one."""
        stages = self._stages
        if prepared := outcome.value:
            stages.read += prepared[0].read
            stages.decode += prepared[0].decode
            stages.prepare += prepared[0].prepare
            stages.prepared += 1
            stages.doubts.update({doubt for one in prepared for doubt in one.doubts})
        failure = outcome.failure
        why = f"{failure.kind}: {failure.message}" if failure else "no pixels"
        before, lost = self._looks.pop(outcome.index), ""
        if not prepared and isinstance(outcome.task, str):
            lost = stamp_of_failed(outcome.task, before, opens=not failure or failure.kind != "TaskTimeout")
        whole = []
        for begun, place in self._wanted.pop(outcome.index):
            if prepared:
                begun.prepared[place] = prepared[begun.example.member]
                begun.stamps[place] = prepared[begun.example.member].stamp
            else:
                begun.failures[place], begun.stamps[place] = why, lost
            if all(one or failed for one, failed in zip(begun.prepared, begun.failures, strict=True)):
                whole.append(begun)
                if begun.facts:
                    tags, told = [one.tags if one else None for one in begun.prepared], self._told[begun.example.member]
                    begun.facts = begun.facts.with_headers(tags, told)
                    stages.told |= told
        return whole


def _images(examples: Sequence[Predicted]) -> int:
    return sum(len(example.images) for example in examples)


def _out_of_time(example: Predicted) -> Predicted:
    example.failures = [failure or TIME_UP for failure in example.failures]
    return example


@dataclass
class _Done:
    """A batch that a device has been through."""

    member: int
    batch: list[Predicted]
    plan: PassPlan
    results: list[npt.NDArray[np.float32] | str]
    """(passes, outputs) logits of each example, or why there are none."""
    seconds: float


def _known(examples: Sequence[Predicted]) -> list[ImageFacts]:
    """What is known of the images that could be prepared."""
    return [one.facts.kept(np.array([image is not None for image in one.prepared])) for one in examples if one.facts]


class _Device:
    """Networks on a device with a thread of their own, and the batch sizes that fit its memory."""

    def __init__(self, networks: "Sequence[Networks]", batch_size: int, turn: "Lock | None" = None) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="rsna-device")
        self.job: Future[_Done] | None = None
        self.works = True
        self.first = [True] * len(networks)
        self._networks, self._turn = networks, turn or Lock()
        self._batch_sizes = [batch_size] * len(networks)

    def predict(self, member: int, batch: list[Predicted], plan: PassPlan) -> _Done:
        """Predicts examples with an image each, in parts that fit; a part that fails is a failure of its examples."""
        with self._turn:
            return self._predict(member, batch, plan)

    def _predict(self, member: int, batch: list[Predicted], plan: PassPlan) -> _Done:
        started = time.perf_counter()
        networks = self._networks[member]
        results: list[npt.NDArray[np.float32] | str] = []
        while len(results) < len(batch):
            size = self._batch_sizes[member]
            left = [[image.pixels for image in example.images] for example in batch[len(results) :]]
            part = left[: count_that_fits([len(example) for example in left], size)]
            try:
                fill = 0 if networks.batch_invariant else size
                stacked = stack_batch(part, _known(batch[len(results) :][: len(part)]), fill)
                logits = networks.logits(stacked, plan)  # (passes, B, outputs)
            except Exception as error:
                import torch  # which is there by now, unless another runtime predicts

                full = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "out of memory" in str(error).lower()
                if full and size > 1:
                    self._batch_sizes[member] //= 2
                    with contextlib.suppress(RuntimeError):  # of a device that is broken altogether
                        torch.cuda.empty_cache()
                    continue
                message = f"{type(error).__name__}: {first_line(error)}"
                results += [message] * len(part)
            else:
                results += [logits[:, number] for number in range(len(part))]
        return _Done(member, batch, plan, results, time.perf_counter() - started)
