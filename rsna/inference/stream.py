"""Examples → logits, streaming: processes prepare while a thread a device predicts; memory stays bounded."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsna.config.data import PreprocessSettings
from rsna.inference.networks import Networks, count_that_fits, stack_examples
from rsna.inference.pass_plan import Pace, PassPlan
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


_Batch = Sequence[Predicted]
"""Examples with at least one image each, and without logits."""

_Result = npt.NDArray[np.float32] | str
"""(passes, outputs) logits of an example, or why there are none."""


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
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

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
        batches: queue.Queue[_Batch | None] = queue.Queue(2 * len(self.networks))
        results: queue.SimpleQueue[Predicted | None] = queue.SimpleQueue()
        self._devices = [_Device(networks, self.batch_size) for networks in self.networks]
        threads = [
            threading.Thread(target=self._drive, args=(device, batches, results), name="rsna-device", daemon=True)
            for device in self._devices
        ]
        for thread in threads:
            thread.start()
        waiting: list[Predicted] = []
        ended = 0
        try:
            for outcome in outcomes:
                if outcome.value is not None:
                    self._count(outcome.value)
                failure = f"{outcome.failure.kind}: {outcome.failure.message}" if outcome.failure else "no pixels"
                example = begun.finish_source(outcome.index, outcome.value, failure)
                if example is not None and not example.images:
                    yield example
                elif example is not None:
                    waiting.append(example)
                while sum(sizes := [len(one.images) for one in waiting]) >= self.batch_size:
                    count = count_that_fits(sizes, self.batch_size)
                    batches.put(waiting[:count])
                    waiting = waiting[count:]
                while not results.empty():
                    if (done := results.get()) is None:
                        ended += 1  # a device that broke
                    else:
                        yield done
            if waiting:
                batches.put(waiting)
            for _ in threads:
                batches.put(None)
            while ended < len(threads):
                if (done := results.get()) is None:
                    ended += 1
                else:
                    yield done
        finally:
            outcomes.close()
            _end(threads, batches)
            self.stages.wall += time.perf_counter() - started

    def pace(self) -> Pace:
        """Seconds an image, from what was measured so far."""
        stages, workers = self.stages, self.workers or available_cores()
        of_workers = (stages.read + stages.decode + stages.prepare) / max(stages.prepared, 1)
        # First batches pay for what is loaded, chosen and compiled once.
        of_devices = (stages.network - stages.first_network) / max(stages.passes - stages.first_passes, 1)
        working = sum(device.works for device in self._devices) or len(self.networks)
        return Pace(of_workers / workers, of_devices / working)

    def _count(self, prepared: PreparedSource) -> None:
        self.stages.read += prepared.read
        self.stages.decode += prepared.decode
        self.stages.prepare += prepared.prepare
        self.stages.prepared += 1

    def _drive(
        self, device: "_Device", batches: "queue.Queue[_Batch | None]", done: "queue.SimpleQueue[Predicted | None]"
    ) -> None:
        """What each device's thread does: a batch at a time, until there are no more or the device is broken."""
        first = True
        try:
            while device.works and (batch := batches.get()) is not None:
                plan = self.plan
                started = time.perf_counter()
                results = device.predict(batch, plan)
                seconds = time.perf_counter() - started
                failed = [place for place, result in enumerate(results) if isinstance(result, str)]
                if failed:
                    if again := self._elsewhere([batch[place] for place in failed], device, plan):
                        for place, result in zip(failed, again, strict=True):
                            results[place] = result
                else:  # what failed took no time
                    self._count_passes(seconds, plan.passes * sum(len(example.images) for example in batch), first)
                    first = False
                for example, result in zip(batch, results, strict=True):
                    if isinstance(result, str):
                        example.failures = [failure or result for failure in example.failures]
                    else:
                        example.logits = result
                    done.put(example)
        finally:
            done.put(None)

    def _elsewhere(self, batch: _Batch, device: "_Device", plan: PassPlan) -> list[_Result] | None:
        """Predicts on another device what failed on one; where that works, the one is broken and gets no more.

        Left in, it would take batch after batch from the others, since failing is quick.
        """
        for other in self._devices:
            if other is device or not other.works:
                continue
            results = other.predict(batch, plan)
            if not any(isinstance(result, str) for result in results):
                with self._lock:
                    device.works = not any(each.works for each in self._devices if each is not device)
                if not device.works:
                    log.warning("a device failed and gets no more images; the others go on")
                return results
        return None

    def _count_passes(self, seconds: float, passes: int, first: bool) -> None:
        with self._lock:
            self.stages.network += seconds
            self.stages.passes += passes
            if first:
                self.stages.first_network += seconds
                self.stages.first_passes += passes


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

    def finish_source(self, number: int, prepared: PreparedSource | None, failure: str) -> Predicted | None:
        """Takes the outcome of a source in; returns its example where it was the last one."""
        example, place = self._places.pop(number)
        example.prepared[place], example.failures[place] = prepared, "" if prepared else failure
        whole = all(one or failed for one, failed in zip(example.prepared, example.failures, strict=True))
        return example if whole else None


class _Device:
    """Networks on a device, with the batch size that fits its memory."""

    def __init__(self, networks: Networks, batch_size: int) -> None:
        self.works = True
        self._networks = networks
        self._batch_size = batch_size
        self._lock = threading.Lock()

    def predict(self, batch: _Batch, plan: PassPlan) -> list[_Result]:
        """Predicts a batch in parts that fit; a part that fails is a failure of its examples."""
        with self._lock:
            return self._in_parts(batch, plan)

    def _in_parts(self, batch: _Batch, plan: PassPlan) -> list[_Result]:
        results: list[_Result] = []
        while len(results) < len(batch):
            left = [[image.pixels for image in example.images] for example in batch[len(results) :]]
            part = left[: count_that_fits([len(example) for example in left], self._batch_size)]
            try:
                images, example = stack_examples(part)
                logits = self._networks.logits(images, plan, example)  # (passes, B, outputs)
            except Exception as error:
                if _out_of_memory(error) and self._batch_size > 1:
                    self._batch_size = max(1, min(self._batch_size, sum(map(len, part))) // 2)
                    _free_memory()
                    continue
                message = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
                results += [message] * len(part)
            else:
                results += [logits[:, number] for number in range(len(part))]
        return results


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "out of memory" in str(error).lower()


def _free_memory() -> None:
    with contextlib.suppress(RuntimeError):  # of a device that is broken altogether
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _end(threads: Sequence[threading.Thread], batches: "queue.Queue[Any]") -> None:
    """Ends the threads, whether their work is done or not."""
    with contextlib.suppress(queue.Empty):
        while True:
            batches.get_nowait()
    for _ in threads:
        batches.put(None)
    for thread in threads:
        thread.join()
