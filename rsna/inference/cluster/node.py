"""What a node of a cluster does: loads the networks once, then predicts one batch of examples after another."""

import pickle
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsna.config.data import JoinMethod
from rsna.config.keys import Backend
from rsna.config.settings import Auto
from rsna.config.training import WantedPrecision
from rsna.inference.backends.choice import Choice, choose, load_members
from rsna.inference.devices import choose_devices
from rsna.inference.pass_plan import Plans, Stages
from rsna.inference.stream import Example, Stream
from rsna.parallel.cluster import Job
from rsna.parallel.pool import LocalProcesses
from rsna.prepare.file_task import PreparedSource, prepare_source_each
from rsna.runs.trained_ensemble import load_ensemble

if TYPE_CHECKING:
    from rsna.inference.networks import Networks


@dataclass(frozen=True)
class Networking:
    """What every node loads."""

    runs: tuple[str, ...]
    folds: tuple[int, ...]
    method: JoinMethod | Auto
    weights: tuple[float, ...]
    models: tuple[str, ...]
    """Hash of each member: what a node finds under these names has to be the same."""
    backend: Backend
    precision: WantedPrecision
    tolerance: float
    batch_size: int
    """Images per forward pass."""
    may_convert: bool = True
    compile: bool = False
    file_timeout: float = 60.0


@dataclass(frozen=True)
class Answer:
    """What became of one example: `rsna.inference.stream.Predicted` without its pixels."""

    prepared: list[PreparedSource | None]
    failures: list[str]
    logits: npt.NDArray[np.float32] | None
    stamps: list[str]


class Node:
    """The networks of a node, or of one of its GPUs; a few calls at a time, whose examples share the devices."""

    def __init__(self, networking: Networking, job: Job, workers: int) -> None:
        """Loads nothing yet; ``workers`` processes prepare."""
        self._given, self._job, self._workers = networking, job, workers
        self._networks: Sequence[Sequence[Networks]] = ()
        self._pool: LocalProcesses[Any, list[PreparedSource]] | None = None
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._first = True

    def load(self, chosen: Sequence[Choice] | None, images: int) -> tuple[str, list[Choice]]:
        """Loads the networks, as they were chosen elsewhere or as this node chooses.

        Returns:
            Why this node cannot, or ""; what predicts, for the other nodes: without files, which are this node's own.
        """
        given = self._given
        if refused := self._job.refusal():
            return refused, []
        members = load_ensemble(given.runs, given.folds, given.method, given.weights).members
        if tuple(member.model_hash for member in members) != given.models:
            return f"{self._job.node()} finds other weights in {', '.join(given.runs)} than this machine", []
        wanted: list[tuple[Backend, WantedPrecision]] = [(given.backend, given.precision)] * len(members)
        if chosen:
            wanted = [(one.backend, one.precision) for one in chosen]
        devices = choose_devices()
        choices = [
            choose(member, backend, precision, devices, given.tolerance, images, given.may_convert)
            for member, (backend, precision) in zip(members, wanted, strict=True)
        ]
        for here, there in zip(choices, chosen or (), strict=False):
            if (here.backend, here.precision) != (there.backend, there.precision):
                why = "; ".join(here.given_up) or "another processor"
                return f"{self._job.node()} would predict with {here}, where others do with {there}: {why}", []
        self._networks = load_members(members, choices, given.compile, devices)
        self._settings = [member.preprocess for member in members]
        return "", [replace(one, models=(), conversion=None) for one in choices]

    def predict(self, groups: Sequence[Sequence[Example]], plans: Plans, left: tuple[float, float]) -> bytes:
        """Predicts examples, in groups that share files.

        Args:
            groups: See :meth:`Stream.predict`.
            plans: One a member.
            left: Seconds until files are given up, and until the networks must have done.

        Returns:
            Pickled: a list with an `Answer` for each example, in their order, and the `Stages`.
        """
        now = time.monotonic()
        deadlines = (now + left[0], now + left[1])
        with self._lock:
            if self._pool is None:
                task = partial(prepare_source_each, settings=self._settings)
                given = self._given
                self._pool = LocalProcesses(
                    task, workers=self._workers, timeout=given.file_timeout, deadline=deadlines[0]
                )
            first, self._first = self._first, False
        stages, examples = Stages(), [example for group in groups for example in group]
        stream = Stream(
            self._networks,
            self._settings,
            plans,
            self._given.batch_size,
            deadlines=deadlines,
            stages=stages,
            pool=self._pool,
            turn=self._turn,
        )
        place = {id(example): number for number, example in enumerate(examples)}
        answers = list[Answer | None]([None] * len(examples))
        for one in stream.predict(groups):
            prepared = [source and replace(source, pixels=_NO_PIXELS, tags=None) for source in one.prepared]
            answers[place[id(one.example)]] = Answer(prepared, one.failures, one.logits, one.stamps)
        for work in () if first else stages.members.values():
            work.first_seconds, work.first_passes = 0.0, 0  # all was loaded and chosen in an earlier call
        return pickle.dumps((answers, stages))


_NO_PIXELS = np.empty((0, 0), dtype=np.uint8)
