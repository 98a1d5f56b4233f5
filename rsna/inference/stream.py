"""Examples → logits, streaming: processes prepare while a thread a device predicts; memory stays bounded."""

import contextlib
import logging
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from rsna.config.data import PreprocessSettings
from rsna.files import first_line
from rsna.inference.networks import Networks, count_that_fits, stack_examples
from rsna.inference.pass_plan import Pace, PassPlan
from rsna.parallel.engine import Outcome
from rsna.parallel.pool import available_cores, map_tasks
from rsna.prepare.file_task import PreparedSource, Source, prepare_source

log = logging.getLogger(__name__)


@dataclass
class Stages:
    """Where the time goes: seconds, summed over processes and devices but for ``wall``."""

    read: float = 0.0
    decode: float = 0.0
    prepare: float = 0.0
    network: float = 0.0
    wall: float = 0.0
    """From the first file to the last prediction."""
    prepared: int = 0
    """Images that were prepared."""
    passes: int = 0
    """Forward passes over one image each."""
    first_network: float = 0.0
    """The part of ``network`` that went into the first batch of each device."""
    first_passes: int = 0
    """The part of ``passes`` in these."""


@dataclass
class Predicted:
    """The outcome for one example."""

    index: int
    """Place among the examples."""
    prepared: list[PreparedSource | None]
    """What was made of each source; None where it failed."""
    failures: list[str]
    """Class and message of what went wrong with each source, "" where nothing did. Where no device can predict the
    example, it is what went wrong there."""
    logits: npt.NDArray[np.float32] | None = None
    """(passes, outputs) float32, from the sources that did not fail; None where all did."""

    @property
    def images(self) -> list[PreparedSource]:
        """The sources that could be prepared, in their order."""
        return [image for image in self.prepared if image is not None]

    @property
    def failure(self) -> str:
        """Why there are no logits; "" where there are."""
        return "" if self.logits is not None else "; ".join(dict.fromkeys(filter(None, self.failures)))


@dataclass
class Stream:
    """Predicts examples in the order in which their pixels arrive."""

    networks: Sequence[Networks]
    """Once a device."""
    settings: PreprocessSettings
    plan: PassPlan
    """May be replaced while the stream runs; batches begun keep theirs."""
    batch_size: int = 16
    """Images per forward pass. An example is never split: one with more images is a batch by itself."""
    workers: int | None = None
    file_timeout: float = 60.0
    stages: Stages = field(default_factory=Stages)
    _devices: "list[_Device]" = field(default_factory=list, repr=False)

    def predict(self, examples: Iterable[tuple[Source, ...]]) -> Generator[Predicted, None, None]:
        """Yields one outcome an example.

        A source that fails, hangs or crashes its process costs itself alone: its example is predicted from the others.

        Args:
            examples: The sources of each, at least one.

        Raises:
            PoolError: No worker can be started.
            ValueError: An example without any source.
        """
        started = time.perf_counter()
        begun = _Begun(examples)
        task = partial(prepare_source, settings=self.settings)
        outcomes = map_tasks(task, begun.sources(), workers=self.workers, timeout=self.file_timeout, ordered=False)
        self._devices = devices = [_Device(networks, self.batch_size) for networks in self.networks]
        waiting: list[Predicted] = []
        more = True  # outcomes
        try:
            while more or waiting or any(device.job for device in devices):
                finished: list[Predicted] = []
                # Prepared images are large: beyond two batches a device, the workers wait for the networks.
                if more and sum(len(one.images) for one in waiting) < 2 * self.batch_size * len(devices):
                    outcome = next(outcomes, None)
                    more = outcome is not None
                    example = begun.finish_source(outcome, self.stages) if outcome else None
                    if example is not None:
                        (waiting if example.images else finished).append(example)
                else:
                    wait([device.job for device in devices if device.job], return_when=FIRST_COMPLETED)
                for device in devices:
                    if device.job and device.job.done():
                        finished += self._finish_batch(device, device.job.result())
                    sizes = [len(one.images) for one in waiting]
                    if device.works and not device.job and sizes and (sum(sizes) >= self.batch_size or not more):
                        count = count_that_fits(sizes, self.batch_size)
                        device.job = device.thread.submit(device.predict, waiting[:count], self.plan)
                        del waiting[:count]
                yield from finished  # last: whatever is done with them, the devices work
        finally:
            outcomes.close()
            for device in devices:
                device.thread.shutdown(cancel_futures=True)
            self.stages.wall += time.perf_counter() - started

    def pace(self) -> Pace:
        """Seconds an image, from what was measured so far."""
        stages, workers = self.stages, self.workers or available_cores()
        of_workers = (stages.read + stages.decode + stages.prepare) / max(stages.prepared, 1)
        # First batches pay for what is loaded, chosen and compiled once.
        of_devices = (stages.network - stages.first_network) / max(stages.passes - stages.first_passes, 1)
        working = sum(device.works for device in self._devices) or len(self.networks)
        return Pace(of_workers / workers, of_devices / working)

    def _finish_batch(self, device: "_Device", done: "_Done") -> list[Predicted]:
        """Gives examples their logits. What failed is tried on another device; where that works, the one is broken.

        Left in, it would take batch after batch from the others, since failing is quick.
        """
        device.job = None
        failed = [place for place, result in enumerate(done.results) if isinstance(result, str)]
        for other in self._devices:
            if failed and other is not device and other.works:
                batch = [done.batch[place] for place in failed]
                again = other.thread.submit(other.predict, batch, done.plan).result().results
                if not any(isinstance(result, str) for result in again):
                    log.warning("a device failed and gets no more images; the others go on")
                    device.works = False
                    for place, result in zip(failed, again, strict=True):
                        done.results[place] = result
                    break
        if not failed:  # what failed took no time
            passes = done.plan.passes * sum(len(example.images) for example in done.batch)
            self.stages.network += done.seconds
            self.stages.passes += passes
            if device.first:
                self.stages.first_network += done.seconds
                self.stages.first_passes += passes
            device.first = False
        for example, result in zip(done.batch, done.results, strict=True):
            if isinstance(result, str):
                example.failures = [failure or result for failure in example.failures]
            else:
                example.logits = result
        return done.batch


class _Begun:
    """Examples with a source that a worker has taken, until every one of theirs is through."""

    def __init__(self, examples: Iterable[tuple[Source, ...]]) -> None:
        self._examples = examples
        self._places: dict[int, tuple[Predicted, int]] = {}

    def sources(self) -> Iterator[Source]:
        """Every example's sources; the workers number them in this order."""
        number = 0
        for index, sources in enumerate(self._examples):
            if not sources:
                raise ValueError(f"example {index} has no source; leave it out")
            example = Predicted(index, [None] * len(sources), [""] * len(sources))
            for place, source in enumerate(sources):
                self._places[number] = example, place
                number += 1
                yield source

    def finish_source(self, outcome: Outcome[Source, PreparedSource], stages: Stages) -> Predicted | None:
        """Takes the outcome of a source in; returns its example where it was the last one."""
        example, place = self._places.pop(outcome.index)
        if prepared := outcome.value:
            stages.read += prepared.read
            stages.decode += prepared.decode
            stages.prepare += prepared.prepare
            stages.prepared += 1
            example.prepared[place] = prepared
        else:
            failure = outcome.failure
            example.failures[place] = f"{failure.kind}: {failure.message}" if failure else "no pixels"
        whole = all(one or failed for one, failed in zip(example.prepared, example.failures, strict=True))
        return example if whole else None


@dataclass
class _Done:
    """A batch that a device has been through."""

    batch: list[Predicted]
    plan: PassPlan
    results: list[npt.NDArray[np.float32] | str]
    """(passes, outputs) logits of each example, or why there are none."""
    seconds: float


class _Device:
    """Networks on a device with a thread of their own, and the batch size that fits its memory."""

    def __init__(self, networks: Networks, batch_size: int) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="rsna-device")
        self.job: Future[_Done] | None = None
        self.works = self.first = True
        self._networks = networks
        self._batch_size = batch_size

    def predict(self, batch: list[Predicted], plan: PassPlan) -> _Done:
        """Predicts examples with an image each, in parts that fit; a part that fails is a failure of its examples."""
        started = time.perf_counter()
        results: list[npt.NDArray[np.float32] | str] = []
        while len(results) < len(batch):
            left = [[image.pixels for image in example.images] for example in batch[len(results) :]]
            part = left[: count_that_fits([len(example) for example in left], self._batch_size)]
            try:
                images, example = stack_examples(part)
                logits = self._networks.logits(images, plan, example)  # (passes, B, outputs)
            except Exception as error:
                full = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "out of memory" in str(error).lower()
                if full and self._batch_size > 1:
                    self._batch_size = max(1, min(self._batch_size, sum(map(len, part))) // 2)
                    with contextlib.suppress(RuntimeError):  # of a device that is broken altogether
                        torch.cuda.empty_cache()
                    continue
                message = f"{type(error).__name__}: {first_line(error)}"
                results += [message] * len(part)
            else:
                results += [logits[:, number] for number in range(len(part))]
        return _Done(batch, plan, results, time.perf_counter() - started)
