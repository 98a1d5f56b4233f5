"""Examples → logits on the nodes of a cluster: what `rsna.inference.stream` does on this machine."""

import logging
import math
import pickle
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from rsna.config.external import CalibrateOptions, ValidateOptions
from rsna.config.verbs import InferOptions
from rsna.files import first_line
from rsna.inference.backends.choice import Choice
from rsna.inference.cluster.node import Networking, Node
from rsna.inference.pass_plan import Pace, Plans, Stages
from rsna.inference.stream import TIME_UP, Example, Predicted
from rsna.parallel.cluster import BATCH, Cluster, ClusterError, Job, batched, cluster_of, task_error
from rsna.runs.trained_ensemble import TrainedEnsemble

log = logging.getLogger(__name__)

_CALLS = 2
"""Batches at once on an actor: while the networks see the last images of one, the next is being prepared."""

_TRIES = 3
"""How often an actor that dies before it has done anything is started again, and a batch that dies with it."""

_LOOK_EVERY_S = 5.0
"""Seconds between two looks at which nodes there are."""

_PATIENCE_S = 30.0
"""Seconds after which another node is asked to choose, too: the CPUs of the first may be another's for hours."""

_Groups = list[Sequence[Example]]


@dataclass
class _Actor:
    """A node, or one of its GPUs."""

    handle: Any
    place: tuple[str, int]
    """Node and number of the GPU."""
    cpus: int
    started: float
    """time.monotonic()"""
    ready: bool = False
    """Whether its networks are loaded."""
    calls: "dict[Any, _Batch]" = field(default_factory=dict)


@dataclass
class _Batch:
    groups: _Groups
    tries: int = 0


@contextmanager
def nodes_of(
    options: InferOptions | ValidateOptions | CalibrateOptions,
    trained: TrainedEnsemble,
    sources: Sequence[str],
    plans: Plans,
    deadlines: tuple[float, float] = (math.inf, math.inf),
    stages: Stages | None = None,
) -> "Iterator[ClusterStream | None]":
    """What predicts ``sources`` on the cluster that the options name; None where they name none."""
    with cluster_of(options.engine, options.address) as cluster:
        if cluster is None:
            yield None
            return
        networking = Networking(
            options.run,
            options.folds,
            options.method,
            options.weights,
            tuple(member.model_hash for member in trained.members),
            options.backend,
            options.precision,
            options.tolerance,
            options.batch_size,
        )
        if isinstance(options, InferOptions):
            networking = replace(
                networking,
                # Under a time budget nothing is converted, which might take all of it.
                may_convert=not options.time_budget,
                compile=options.compile,
                file_timeout=options.file_timeout,
            )
        with ClusterStream(cluster, networking, plans, sources, deadlines, stages) as stream:
            yield stream


class ClusterStream:
    """Predicts examples on every GPU of a cluster, or on every node where there is none; in a ``with`` block."""

    def __init__(
        self,
        cluster: Cluster,
        networking: Networking,
        plans: Plans,
        sources: Sequence[str],
        deadlines: tuple[float, float] = (math.inf, math.inf),
        stages: Stages | None = None,
    ) -> None:
        """Connects to nothing yet; ``sources`` are files that nodes have to see, the rest is as of `Stream`."""
        self._cluster, self._networking, self._sources = cluster, networking, sources
        self.plans, self.deadlines, self.stages = plans, deadlines, stages or Stages()
        self._chosen: list[Choice] | None = None
        self._actors: list[_Actor] = []
        self._loading: dict[Any, _Actor] = {}
        self._died: dict[tuple[str, int], int] = {}
        """Of each place, how often in a row an actor died before it had done anything."""
        self._refused: dict[tuple[str, int], str] = {}
        """Places that cannot do it, and why."""
        self._looked = -math.inf
        self._images = len(sources)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in [*self._actors]:
            self._end(actor)

    @property
    def _ray(self) -> Any:
        return self._cluster.ray

    @cached_property
    def _job(self) -> Job:
        self._cluster.require_visible(self._sources[:1])
        return self._cluster.job()

    def choices(self, images: int) -> list[Choice]:
        """What predicts: the first node that answers chooses, and the others do as it does.

        Args:
            images: How many there are to predict, on whatever machines: for a few nothing is converted.

        Raises:
            ClusterError: No node can.
        """
        self._images = images
        # Batches are filled up: a single exam is not made larger than it is.
        self._networking = replace(self._networking, batch_size=min(self._networking.batch_size, images))
        while self._chosen is None:
            if time.monotonic() > self.deadlines[0]:
                raise ClusterError("no node of the cluster was free before the time was up; the same command goes on")
            self._take_in(self._wait())
        return self._chosen

    def predict(self, groups: Iterable[Sequence[Example]]) -> Generator[Predicted, None, None]:
        """Yields one outcome an example, without its pixels; see :meth:`rsna.inference.stream.Stream.predict`.

        Raises:
            ClusterError: No node is left that can; what was begun is lost, what was yielded is not.
        """
        started = time.perf_counter()
        size = max(1, min(BATCH, len(self._sources) // (4 * max(1, len(self._places())))))
        fresh = map(_Batch, batched(groups, size))
        again = deque[_Batch]()
        try:
            while True:
                for actor in self._actors:
                    while actor.ready and len(actor.calls) < _CALLS:
                        batch = again.popleft() if again else next(fresh, None)
                        if batch is None:
                            break
                        self._begin(actor, batch)
                if not again and not any(actor.calls for actor in self._actors):
                    # All is done, or nobody is there yet who could do it.
                    batch = next(fresh, None)
                    if batch is None:
                        return
                    again.append(batch)
                if time.monotonic() > self.deadlines[1]:
                    late = [*again, *(batch for actor in self._actors for batch in actor.calls.values())]
                    yield from (one for batch in late for one in _lost(batch, TIME_UP))
                    return
                for done in self._wait():
                    yield from self._take_in([done], again)
        finally:
            self.stages.wall += time.perf_counter() - started

    def pace(self) -> Pace:
        """Seconds an image, from what was measured so far on all nodes together."""
        stages, ready = self.stages, [actor for actor in self._actors if actor.ready]
        of_workers = (stages.read + stages.decode + stages.prepare) / max(stages.prepared, 1)
        of_devices = (stages.members[member].a_pass / max(1, len(ready)) for member in range(len(self.plans)))
        return Pace(of_workers / max(1, sum(actor.cpus for actor in ready)), tuple(of_devices))

    def _begin(self, actor: _Actor, batch: _Batch) -> None:
        now = time.monotonic()
        left = (self.deadlines[0] - now, self.deadlines[1] - now)
        actor.calls[actor.handle.predict.remote(batch.groups, self.plans, left)] = batch

    def _wait(self) -> list[Any]:
        """Calls that are done, within a second; looks now and then which nodes there are."""
        if time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._start_actors()
        references = [*self._loading, *(call for actor in self._actors for call in actor.calls)]
        if not references:
            time.sleep(0.1)
            return []
        return list(self._ray.wait(references, num_returns=1, timeout=1.0)[0])

    def _places(self) -> dict[tuple[str, int], tuple[dict[str, Any], int, int]]:
        """Node, CPUs and GPUs of each actor that there should be."""
        nodes = self._cluster.nodes()
        with_gpus = [node for node in nodes if node["Resources"].get("GPU", 0) >= 1]
        places = {}
        for node in with_gpus or nodes:
            gpus = int(node["Resources"].get("GPU", 0))
            cpus = max(1, int(node["Resources"]["CPU"]) // max(1, gpus))
            places.update({(node["NodeID"], number): (node, cpus, min(1, gpus)) for number in range(max(1, gpus))})
        return places

    def _start_actors(self) -> None:
        """Starts an actor wherever there is none; before anything is chosen one after the other."""
        taken = {actor.place for actor in self._actors} | self._refused.keys()
        free = {place: found for place, found in self._places().items() if place not in taken}
        if not free and not self._actors and self._refused:
            raise ClusterError(next(iter(self._refused.values())))
        for place, (node, cpus, gpus) in free.items():
            if self._chosen is None and any(time.monotonic() - one.started < _PATIENCE_S for one in self._actors):
                return
            remote = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_concurrency=_CALLS)(Node)
            handle = remote.options(scheduling_strategy=self._cluster.on_node(node)).remote(
                self._networking, self._job, cpus
            )
            actor = _Actor(handle, place, cpus, time.monotonic())
            self._actors.append(actor)
            self._loading[handle.load.remote(self._chosen, self._images)] = actor

    def _take_in(self, done: Iterable[Any], again: "deque[_Batch] | None" = None) -> Iterator[Predicted]:
        found: list[Predicted] = []
        for reference in done:
            if actor := self._loading.pop(reference, None):
                self._finish_loading(actor, reference)
                continue
            actor = next(actor for actor in self._actors if reference in actor.calls)
            batch = actor.calls.pop(reference)
            try:
                answers, stages = pickle.loads(self._ray.get(reference))
            except self._ray.exceptions.RayError as error:
                self._give_up(actor, error)
                found += self._retry([batch, *actor.calls.values()], error, again)
                continue
            self._died[actor.place] = 0
            self.stages.add(stages)
            examples = [example for group in batch.groups for example in group]
            found += [
                Predicted(example, answer.prepared, answer.failures, answer.logits, example.facts, answer.stamps)
                for example, answer in zip(examples, answers, strict=True)
            ]
        return iter(found)

    def _finish_loading(self, actor: _Actor, reference: Any) -> None:
        try:
            refused, choices = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._give_up(actor, error)
            return
        if refused:
            self._refuse(actor, refused)
            return
        self._looked = -math.inf  # the others may start
        self._chosen = self._chosen or choices
        if [(one.backend, one.precision) for one in choices] == [(one.backend, one.precision) for one in self._chosen]:
            actor.ready = True
        else:  # it chose as well, and later: it starts again, to do as the others do
            self._end(actor)

    def _give_up(self, actor: _Actor, error: Any) -> None:
        """Of an actor that died, or raised: it starts again while that helps."""
        if isinstance(error, self._ray.exceptions.RayTaskError):
            self._refuse(actor, str(task_error(error)))
            return
        died = self._died[actor.place] = self._died.get(actor.place, 0) + 1
        if died >= _TRIES:
            self._refuse(actor, f"a node dies with the networks: {first_line(error)}")
            return
        self._actors.remove(actor)

    def _refuse(self, actor: _Actor, why: str) -> None:
        log.warning("%s; the other nodes go on", why)
        self._refused[actor.place] = why
        self._end(actor)

    def _end(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        with suppress(Exception):  # it has died, or the cluster is gone
            self._ray.kill(actor.handle)

    def _retry(self, batches: Iterable[_Batch], error: Any, again: "deque[_Batch] | None") -> Iterator[Predicted]:
        """Has batches that died with an actor done by another; those that died often, group by group."""
        assert again is not None
        for batch in batches:
            batch.tries += 1
            if batch.tries < _TRIES:
                again.append(batch)
            elif len(batch.groups) > 1:
                again.extend(_Batch([group]) for group in batch.groups)
            else:
                yield from _lost(batch, f"the node died {batch.tries} times: {first_line(error)}")


def _lost(batch: _Batch, why: str) -> Iterator[Predicted]:
    for group in batch.groups:
        for example in group:
            count = len(example.sources)
            yield Predicted(example, [None] * count, [why] * count, stamps=[""] * count)
