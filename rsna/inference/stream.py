"""Sources → logits, streaming: processes prepare while a thread a device predicts; memory stays bounded."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsna.config.data import PreprocessSettings
from rsna.inference.pass_plan import Pace, PassPlan
from rsna.inference.torch_networks import Networks
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


@dataclass(frozen=True)
class Predicted:
    """The outcome for one source."""

    index: int
    """Place among the sources."""
    logits: npt.NDArray[np.float32] | None
    """(passes, outputs) float32; None where the source failed."""
    failure: str = ""
    """Class and message of what went wrong."""
    prepared: PreparedSource | None = None


_Batch = Sequence[tuple[int, PreparedSource]]


@dataclass
class Stream:
    """Networks sources in the order in which their pixels arrive."""

    devices: Sequence[Networks]
    """Networks, once a device."""
    settings: PreprocessSettings
    plan: PassPlan
    """May be replaced while the stream runs; batches begun keep theirs."""
    batch_size: int = 16
    workers: int | None = None
    file_timeout: float = 60.0
    stages: Stages = field(default_factory=Stages)
    _lanes: "list[_Lane]" = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def predict(self, sources: Iterable[Source]) -> Generator[Predicted, None, None]:
        """Yields one outcome a source; one that fails, hangs or crashes its process costs itself alone.

        Raises:
            PoolError: No worker can be started.
        """
        started = time.perf_counter()
        task = partial(prepare_source, settings=self.settings)
        outcomes = map_tasks(task, sources, workers=self.workers, timeout=self.file_timeout, ordered=False)
        batches: queue.Queue[_Batch | None] = queue.Queue(2 * len(self.devices))
        results: queue.SimpleQueue[Predicted | None] = queue.SimpleQueue()
        self._lanes = [_Lane(device, self.batch_size) for device in self.devices]
        lanes = [
            threading.Thread(target=self._drive, args=(lane, batches, results), name="rsna-device", daemon=True)
            for lane in self._lanes
        ]
        for lane in lanes:
            lane.start()
        waiting: list[tuple[int, PreparedSource]] = []
        ended = 0
        try:
            for outcome in outcomes:
                if outcome.failure is not None or outcome.value is None:
                    failure = outcome.failure
                    said = f"{failure.kind}: {failure.message}" if failure else "no pixels"
                    yield Predicted(outcome.index, None, said)
                else:
                    self._count(outcome.value)
                    waiting.append((outcome.index, outcome.value))
                if len(waiting) == self.batch_size:
                    batches.put(waiting)
                    waiting = []
                while not results.empty():
                    if (done := results.get()) is None:
                        ended += 1  # a device that broke
                    else:
                        yield done
            if waiting:
                batches.put(waiting)
            for _ in lanes:
                batches.put(None)
            while ended < len(lanes):
                if (done := results.get()) is None:
                    ended += 1
                else:
                    yield done
        finally:
            outcomes.close()
            _end(lanes, batches)
            self.stages.wall += time.perf_counter() - started

    def pace(self) -> Pace:
        """Seconds an image, from what was measured so far."""
        stages, workers = self.stages, self.workers or available_cores()
        of_workers = (stages.read + stages.decode + stages.prepare) / max(stages.prepared, 1)
        # First batches pay for what is loaded, chosen and compiled once.
        of_devices = (stages.network - stages.first_network) / max(stages.passes - stages.first_passes, 1)
        return Pace(of_workers / workers, of_devices / (sum(lane.works for lane in self._lanes) or len(self.devices)))

    def _count(self, prepared: PreparedSource) -> None:
        self.stages.read += prepared.read
        self.stages.decode += prepared.decode
        self.stages.prepare += prepared.prepare
        self.stages.prepared += 1

    def _drive(
        self, lane: "_Lane", batches: "queue.Queue[_Batch | None]", results: "queue.SimpleQueue[Predicted | None]"
    ) -> None:
        """What each device's thread does: a batch at a time, until there are no more or the device is broken."""
        first = True
        try:
            while lane.works and (batch := batches.get()) is not None:
                plan = self.plan
                started = time.perf_counter()
                predicted = lane.predict(batch, plan)
                seconds = time.perf_counter() - started
                failed = {one.index: one for one in predicted if one.logits is None}
                if failed:
                    again = self._elsewhere([item for item in batch if item[0] in failed], lane, plan)
                    predicted = [one for one in predicted if one.logits is not None] + (again or [*failed.values()])
                else:  # what failed took no time
                    self._count_passes(seconds, plan.passes * len(batch), first)
                    first = False
                for one in predicted:
                    results.put(one)
        finally:
            results.put(None)

    def _elsewhere(self, batch: _Batch, lane: "_Lane", plan: PassPlan) -> list[Predicted] | None:
        """Networks on another device what failed on one; where that works, the one is broken and gets no more.

        Left in, it would take batch after batch from the others, since failing is quick.
        """
        for other in self._lanes:
            if other is lane or not other.works:
                continue
            predicted = other.predict(batch, plan)
            if all(one.logits is not None for one in predicted):
                with self._lock:
                    lane.works = not any(each.works for each in self._lanes if each is not lane)
                if not lane.works:
                    log.warning("a device failed and gets no more images; the others go on")
                return predicted
        return None

    def _count_passes(self, seconds: float, passes: int, first: bool) -> None:
        with self._lock:
            self.stages.network += seconds
            self.stages.passes += passes
            if first:
                self.stages.first_network += seconds
                self.stages.first_passes += passes


class _Lane:
    """A device with the batch size that fits its memory."""

    def __init__(self, device: Networks, batch_size: int) -> None:
        self.works = True
        self._device = device
        self._batch_size = batch_size
        self._lock = threading.Lock()

    def predict(self, batch: _Batch, plan: PassPlan) -> list[Predicted]:
        """Networks a batch in parts that fit; a part that fails is a failure of its images."""
        with self._lock:
            return self._in_parts(batch, plan)

    def _in_parts(self, batch: _Batch, plan: PassPlan) -> list[Predicted]:
        predicted: list[Predicted] = []
        start = 0
        while start < len(batch):
            part = batch[start : start + self._batch_size]
            try:
                logits = self._device.logits(np.stack([p.pixels for _, p in part]), plan)  # (passes, B, outputs)
            except Exception as error:
                if _out_of_memory(error) and self._batch_size > 1:
                    self._batch_size = max(1, min(self._batch_size, len(part)) // 2)
                    _free_memory()
                    continue
                said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
                predicted += [Predicted(index, None, said, prepared) for index, prepared in part]
            else:
                predicted += [Predicted(index, logits[:, i], "", one) for i, (index, one) in enumerate(part)]
            start += len(part)
        return predicted


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "out of memory" in str(error).lower()


def _free_memory() -> None:
    with contextlib.suppress(RuntimeError):  # of a device that is broken altogether
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _end(lanes: Sequence[threading.Thread], batches: "queue.Queue[Any]") -> None:
    """Ends the threads, whether their work is done or not."""
    with contextlib.suppress(queue.Empty):
        while True:
            batches.get_nowait()
    for _ in lanes:
        batches.put(None)
    for lane in lanes:
        lane.join()
