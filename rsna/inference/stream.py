"""Files → logits, streaming: worker processes prepare while the networks predict; memory stays bounded."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from rsna.dataset.pool import map_tasks
from rsna.dataset.prepare import PreprocessSettings
from rsna.dataset.prepare_task import prepare_file
from rsna.inference.ensemble import Ensemble


@dataclass
class Stages:
    """Where the time goes, seconds."""

    prepare: float = 0.0
    """Reading, decoding and preparing, summed over the worker processes."""
    network: float = 0.0
    """The networks, on the device."""
    wall: float = 0.0
    """From the first file to the last prediction."""


@dataclass(frozen=True)
class Predicted:
    """The outcome for one image."""

    index: int
    """Place in the list of paths."""
    logits: npt.NDArray[np.float32] | None
    """(networks, outputs) float32; None where the file failed."""
    failure: str = ""
    """Class and message of what went wrong."""


@dataclass
class Stream:
    """Predicts files in the order in which their pixels arrive."""

    ensemble: Ensemble
    settings: PreprocessSettings
    batch_size: int = 16
    workers: int | None = None
    file_timeout: float = 60.0
    stages: Stages = field(default_factory=Stages)

    def predict(self, paths: Sequence[str]) -> Iterator[Predicted]:
        """Yields one outcome a path; a file that fails, hangs or crashes its process costs itself alone."""
        started = time.perf_counter()
        task = partial(prepare_file, settings=self.settings)
        waiting: list[tuple[int, npt.NDArray[Any]]] = []
        for outcome in map_tasks(task, paths, workers=self.workers, timeout=self.file_timeout, ordered=False):
            if outcome.failure is not None or outcome.value is None:
                failure = outcome.failure
                yield Predicted(outcome.index, None, f"{failure.kind}: {failure.message}" if failure else "no pixels")
                continue
            self.stages.prepare += outcome.value.seconds
            waiting.append((outcome.index, outcome.value.pixels))
            if len(waiting) == self.batch_size:
                yield from self._predict_batch(waiting)
                waiting = []
        if waiting:
            yield from self._predict_batch(waiting)
        self.stages.wall += time.perf_counter() - started

    def _predict_batch(self, waiting: Sequence[tuple[int, npt.NDArray[Any]]]) -> Iterator[Predicted]:
        started = time.perf_counter()
        logits = self.ensemble.logits(np.stack([pixels for _, pixels in waiting]))  # (networks, B, outputs)
        self.stages.network += time.perf_counter() - started
        for place, (index, _) in enumerate(waiting):
            yield Predicted(index, logits[:, place])
