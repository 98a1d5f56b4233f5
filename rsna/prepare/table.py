"""Prepare every image of a table into a cache: in parallel, resumable, with a list of what failed."""

import contextlib
import functools
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from rsna.collector import collector_off
from rsna.config.data import PreprocessSettings
from rsna.config.shard import IncompleteError, Shard
from rsna.file_stamp import Look, is_stamped, look, stamp_of_failed
from rsna.files import first_few, write_atomic
from rsna.parallel.engine import Outcome
from rsna.parallel.pool import MEMORY_LIMIT, map_tasks
from rsna.parallel.progress import Progress
from rsna.prepare.boxes import read_boxes
from rsna.prepare.cache import Cache, CacheWriteError, Entry, PrepareTask, fill
from rsna.prepare.complete import Complete, recall_complete, record_complete
from rsna.prepare.hashing import preprocessing_hash
from rsna.prepare.shards import (
    FAILURE_COLUMNS,
    CacheShard,
    known_anywhere,
    known_failures,
    remove_shards,
    shards_of,
)

if TYPE_CHECKING:
    from rsna.parallel.cluster import Cluster

_AHEAD = 64
"""Finished images a worker may be ahead of the progress line; they hold no pixels."""
_READERS = 16
"""Files that are compared at once."""
_INDEX_EVERY_S = 120.0
"""Seconds between two writes of the index while images are prepared."""

_Row = tuple[str, ...]
"""Of failures.csv."""


class PrepareError(RuntimeError):
    """The run cannot count as done; what was prepared is kept, and the message says how to go on."""


@dataclass(frozen=True)
class PrepareReport:
    """What became of a table."""

    n_done: int
    """Images prepared in this run."""
    n_kept: int
    """Images that an earlier run had prepared."""
    failures: pd.DataFrame = field(repr=False)
    """One row for each image without a result, sorted by image_id: see ``FAILURE_COLUMNS``."""
    seconds: float
    """Wall-clock time."""
    no_breast: tuple[str, ...] = ()
    """Prepared images in which no breast was found; column ``breast_found`` of the index says the same."""
    few_levels: tuple[str, ...] = ()
    """Prepared images with fewer than `FEW_LEVELS` grey levels; column ``grey_levels`` of the index has the number."""


def prepare_table(
    table: pd.DataFrame,
    settings: PreprocessSettings,
    cache: Cache,
    *,
    workers: int | None = None,
    file_timeout: float = 60.0,
    memory_limit: int = MEMORY_LIMIT,
    max_failed: float = 0.01,
    shard: Shard | None = None,
    cluster: "Cluster | None" = None,
) -> PrepareReport:
    """Prepares what the cache lacks; with everything there, no file is opened.

    An image whose file has changed since it was prepared is prepared again. Ended at any moment and run
    again, the cache holds the same bytes as after an undisturbed run.

    Args:
        table: Columns image_id (unique) and path.
        settings: What the cache was created with.
        cache: Where the images go, together with index.jsonl and failures.csv.
        workers: Processes; None for one a core.
        file_timeout: Seconds after which a file counts as failed.
        memory_limit: Bytes of private memory after which a file counts as failed.
        max_failed: Share of the table, 0 to 1, that may fail before the run counts as failed; of a shard any may.
        shard: The part of the table to prepare, beside other processes that prepare the others; None for all of it.
            What a shard prepares counts as the set's once :func:`merge_shards` has found every part.
        cluster: Whose nodes prepare; None for this machine.

    Raises:
        PrepareError: Too many images failed, or the cache cannot be written.
        ClusterError: The nodes of the cluster cannot do it.
        ValueError: The table repeats an image_id, or the cache belongs to other settings.
    """
    started = time.monotonic()
    images = _images(table, settings, cache)
    part, failures = cache, list[_Row]()
    if shard:
        mine = shard.holds(image_id for image_id, _ in images)
        images = [image for image, is_mine in zip(images, mine, strict=True) if is_mine]
        part = CacheShard(cache, shard, [image_id for image_id, _ in images])
    n_kept = len(images)
    complete = None if shard else recall_complete(cache, images)
    if complete is None:
        boxes = read_boxes(settings.boxes) if settings.boxes else {}
        tasks = [PrepareTask(image_id, path, boxes.get(image_id)) for image_id, path in images]
        fill_missing = functools.partial(
            map_tasks,
            functools.partial(fill, cache, settings),
            workers=workers,
            timeout=file_timeout,
            memory_limit=memory_limit,
            ordered=False,
            ahead=_AHEAD,
            cluster=cluster,
        )
        entries, missing, failures = _complete(tasks, part, fill_missing, cluster)
        n_kept -= len(missing)
        prepared = {task.image_id: entries[task.image_id] for task in tasks if task.image_id in entries}
        complete = Complete.of(prepared)
        if not failures and not shard:
            record_complete(cache, prepared, complete)
    report = PrepareReport(
        n_done=len(images) - n_kept - len(failures),
        n_kept=n_kept,
        failures=pd.DataFrame(sorted(failures), columns=FAILURE_COLUMNS, dtype=str),
        seconds=time.monotonic() - started,
        no_breast=complete.no_breast,
        few_levels=complete.few_levels,
    )
    _list_failures(report, part, 1.0 if shard else max_failed)  # a limit of the set
    return report


def merge_shards(
    table: pd.DataFrame, settings: PreprocessSettings, cache: Cache, *, max_failed: float = 0.01
) -> PrepareReport:
    """Makes what shards have prepared one set, as one process would have left it; prepares nothing itself.

    Args:
        table, settings, cache, max_failed: See :func:`prepare_table`.

    Raises:
        IncompleteError: Images that no shard has prepared, or has listed as failed, or whose file has changed since
            it was prepared or failed.
        PrepareError, ValueError: See :func:`prepare_table`.
    """
    started = time.monotonic()
    images = _images(table, settings, cache)
    complete = recall_complete(cache, images)
    failures = pd.DataFrame(columns=FAILURE_COLUMNS, dtype=str)
    if complete is None:
        with collector_off():
            entries = cache.entries(certain=_certain(cache))
            missing = _missing([PrepareTask(*image) for image in images], entries, cache)
        failures = _still_failed(known_failures(cache), {task.image_id: task.path for task in missing})
        failed = set(failures["image_id"]) - entries.keys()
        if absent := [task.image_id for task in missing if task.image_id not in failed]:
            raise IncompleteError(
                f"{len(absent):,} of {len(images):,} images are not prepared (first: {first_few(absent)})",
                shards_of(cache, absent),
            )
        try:
            with cache.writing():
                cache.write_index(cache.entries(certain=entries) | entries)
        except CacheWriteError as error:
            raise _unwritten(error) from error
        prepared = {image_id: entries[image_id] for image_id, _ in images if image_id in entries}
        complete = Complete.of(prepared)
        if failures.empty:
            record_complete(cache, prepared, complete)
    report = PrepareReport(
        n_done=0,
        n_kept=len(images) - len(failures),
        failures=failures.sort_values("image_id", ignore_index=True),
        seconds=time.monotonic() - started,
        no_breast=complete.no_breast,
        few_levels=complete.few_levels,
    )
    _list_failures(report, cache, max_failed)
    remove_shards(cache)
    return report


def _certain(cache: Cache) -> dict[str, Entry]:
    """What fits the prepared images although the index of the set does not: that of the shards, and parts of it."""
    return {} if cache.index_is_current() else known_anywhere(cache)


def _unwritten(error: CacheWriteError) -> PrepareError:
    return PrepareError(
        f"the cache cannot be written: {error}; another place is cache_dir=…, and finished images are kept"
    )


def _complete(
    tasks: list[PrepareTask],
    cache: Cache,
    fill_missing: Callable[[list[PrepareTask]], Generator[Outcome[PrepareTask, Entry], None, None]],
    cluster: "Cluster | None",
) -> tuple[dict[str, Entry], list[PrepareTask], list[_Row]]:
    """Compares each image with its file and prepares what is missing: entries, what was missing, and what failed."""
    with collector_off():
        indexed = cache.indexed()
        entries = cache.entries(indexed, _certain(cache))
        missing = _missing(tasks, entries, cache)
    failures: list[_Row] = []
    if missing:
        try:
            with cache.writing():
                for task in missing:
                    entries.pop(task.image_id, None)
                # Another run may have been at work while this one waited.
                entries = cache.entries(certain=_certain(cache)) | entries
                missing = _missing(missing, entries, cache)
                for task in missing:
                    if entries.pop(task.image_id, None):
                        cache.discard(task.image_id)  # its file has changed; should it fail now, nothing stale stays
                if cluster and missing:
                    cluster.require_visible([missing[0].path], cache.directory)
                looks = _looked_at(missing)
                failures = _collect(fill_missing(missing), looks, entries, cache)
        except CacheWriteError as error:
            raise _unwritten(error) from error
    elif (
        not cache.index_is_current()
        or len(indexed) != len(entries)
        or any(indexed.get(one) is not entry for one, entry in entries.items())
    ):
        # Ended after its last image, moved or copied. On a disk that is read only it stays so.
        with contextlib.suppress(CacheWriteError), cache.writing():
            cache.write_index(cache.entries(certain=entries) | entries)
    return entries, missing, failures


def _list_failures(report: PrepareReport, cache: Cache, max_failed: float) -> None:
    """Writes failures.csv, and refuses a run of which too much failed."""
    failures = report.failures
    n_images = report.n_done + report.n_kept + len(failures)
    listed = cache.failures_file
    try:
        if len(failures):
            write_atomic(listed, failures.to_csv(index=False))
        else:
            with contextlib.suppress(OSError):  # a finished cache may lie on a disk that is read only
                listed.unlink(missing_ok=True)
    except OSError as error:
        raise PrepareError(f"{cache.directory}: failures.csv cannot be written: {error.strerror}") from error
    if len(failures) > max_failed * n_images:
        counts = failures["class"].value_counts()
        reasons = ", ".join(f"{name} ×{count}" for name, count in counts.head(5).items())
        raise PrepareError(
            f"{len(failures):,} of {n_images:,} images failed, more than max_failed={max_failed:g} allows "
            f"({reasons}); {listed} lists them with reasons. Mend or remove those files and run again, or raise "
            "max_failed to go on without them: finished images are kept"
        )


def _images(table: pd.DataFrame, settings: PreprocessSettings, cache: Cache) -> list[tuple[str, str]]:
    """(image_id, path) of every image."""
    ours, theirs = preprocessing_hash(settings), cache.preprocessing_hash
    if ours != theirs:
        raise ValueError(f"{cache.directory} was made with preprocessing {theirs}, these settings are {ours}")
    repeated = table["image_id"][table["image_id"].duplicated()]
    if len(repeated):
        raise ValueError(f"image_id {repeated.iloc[0]} stands in the table twice ({len(repeated)} repeated in all)")
    return list(zip(*(table[column].astype(str).to_numpy(object) for column in ("image_id", "path")), strict=True))


def _missing(tasks: list[PrepareTask], entries: dict[str, Entry], cache: Cache) -> list[PrepareTask]:
    """Images that are not there or whose file has changed; entries of files that were moved are brought up to date."""
    missing = [task for task in tasks if task.image_id not in entries]
    with Progress("look at the cache", len(tasks)) as progress:
        unsure = [
            task
            for task in progress.over(tasks)
            if (entry := entries.get(task.image_id)) and not entry.is_unchanged(task.path)
        ]
    # Many at once, since on a slow disk each read is waited for.
    with Progress("compare", len(unsure), "files") as progress, ThreadPoolExecutor(_READERS) as pool:
        compared = pool.map(lambda task: entries[task.image_id].compared(task.path), unsure)
        for task, entry in progress.over(zip(unsure, compared, strict=True)):
            if entry:
                entries[task.image_id] = entry
                continue
            other = entries[task.image_id].source_file
            if other and other != Path(task.path).absolute():
                raise PrepareError(
                    f"{cache.directory} holds another image {task.image_id}, made from {other}, not from {task.path}: "
                    "two sets of one name would share a cache. Give this one a name of its own (data.name=…), or "
                    "remove that folder if the other set is gone"
                )
            missing.append(task)
    return missing


def _looked_at(tasks: Sequence[PrepareTask]) -> list[Look]:
    """Their files as they are now."""
    with Progress("look at the files", len(tasks)) as progress, ThreadPoolExecutor(_READERS) as pool:
        return [*progress.over(pool.map(look, [task.path for task in tasks]))]


def _still_failed(failures: pd.DataFrame, missing: Mapping[str, str]) -> pd.DataFrame:
    """Those of the failures whose files are as they were then; ``missing`` gives the file of each image now."""
    failures = failures[failures["image_id"].isin(list(missing))]
    paths = [missing[image_id] for image_id in failures["image_id"]]
    with Progress("compare", len(paths), "files") as progress, ThreadPoolExecutor(_READERS) as pool:
        same = [*progress.over(pool.map(is_stamped, paths, failures["stamp"]))]
    return failures[pd.Series(same, failures.index, dtype=bool)]


def _collect(
    outcomes: Generator[Outcome[PrepareTask, Entry], None, None],
    looks: Sequence[Look],
    entries: dict[str, Entry],
    cache: Cache,
) -> list[_Row]:
    """Adds what was prepared to ``entries`` and returns what failed; writes the index however it ends.

    Args:
        looks: At the file of each task, from before it was read.
    """
    failures: list[_Row] = []
    saved = time.monotonic()
    try:
        with Progress("prepare", len(looks)) as progress:
            for outcome in outcomes:
                if outcome.value is not None:
                    entries[outcome.task.image_id] = outcome.value
                elif outcome.failure is not None:
                    if outcome.failure.kind == CacheWriteError.__name__:
                        raise CacheWriteError(outcome.failure.message)
                    task, kind = outcome.task, outcome.failure.kind
                    stamp = stamp_of_failed(task.path, looks[outcome.index], opens=kind != "TaskTimeout")
                    failures.append((task.image_id, task.path, kind, outcome.failure.message, stamp))
                progress.step(failed=outcome.value is None)
                if time.monotonic() - saved > _INDEX_EVERY_S:
                    saved = time.monotonic()
                    cache.write_index(entries)
    finally:
        outcomes.close()
        cache.write_index(entries)
    return failures
