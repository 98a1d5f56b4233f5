"""Prepare every image of a table into a cache: in parallel, resumable, with a list of what failed."""

import contextlib
import functools
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from rsna.config.data import PreprocessSettings
from rsna.files import write_atomic
from rsna.parallel.engine import Failure, Outcome
from rsna.parallel.pool import MEMORY_LIMIT, map_tasks
from rsna.parallel.progress import Progress
from rsna.prepare.cache import Cache, CacheWriteError, Entry, PrepareTask, fill
from rsna.prepare.image import preprocessing_hash, read_boxes

FAILURE_COLUMNS = ["image_id", "path", "class", "message"]
"""Columns of failures.csv."""

_AHEAD = 64
"""Finished images a worker may be ahead of the progress line; they hold no pixels."""
_READERS = 16
"""Files that are compared at once."""
_PROGRESS_ABOVE = 500
"""Comparisons that are worth a progress line."""
_INDEX_EVERY_S = 120.0
"""Seconds between two writes of the index while images are prepared."""


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
    """One row for each image without a result: image_id, path, class, message; sorted by image_id."""
    seconds: float
    """Wall-clock time."""


def prepare_table(
    table: pd.DataFrame,
    settings: PreprocessSettings,
    cache: Cache,
    *,
    workers: int | None = None,
    file_timeout: float = 60.0,
    memory_limit: int = MEMORY_LIMIT,
    max_failed: float = 0.01,
    progress: Progress | None = None,
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
        max_failed: Share of the table, 0 to 1, that may fail before the run counts as failed.
        progress: What is called with (done, total, failed); None prints to standard error.

    Raises:
        PrepareError: Too many images failed, or the cache cannot be written.
        ValueError: The table repeats an image_id, or the cache belongs to other settings.
    """
    started = time.monotonic()
    tasks = _tasks(table, settings, cache)
    entries = cache.entries()
    missing = _missing(tasks, entries, cache)
    failures: list[tuple[PrepareTask, Failure]] = []
    if missing:
        try:
            with cache.writing():
                for task in missing:
                    entries.pop(task.image_id, None)
                entries = cache.entries() | entries  # another run may have been at work while this one waited
                missing = _missing(missing, entries, cache)
                for task in missing:
                    if entries.pop(task.image_id, None):
                        cache.discard(task.image_id)  # its file has changed; should it fail now, nothing stale stays
                outcomes = map_tasks(
                    functools.partial(fill, cache, settings),
                    missing,
                    workers=workers,
                    timeout=file_timeout,
                    memory_limit=memory_limit,
                    ordered=False,
                    ahead=_AHEAD,
                )
                failures = _collect(outcomes, len(missing), entries, cache, progress or Progress("prepare"))
        except CacheWriteError as error:
            raise PrepareError(
                f"the cache cannot be written: {error}. Free space or choose another cache_dir, then run again: "
                "finished images are kept"
            ) from error
    elif not cache.is_indexed(entries):  # ended after its last image, or moved; on a disk that is read only it stays so
        with contextlib.suppress(CacheWriteError), cache.writing():
            cache.write_index(cache.entries() | entries)

    rows = sorted((task.image_id, task.path, failure.kind, failure.message) for task, failure in failures)
    report = PrepareReport(
        n_done=len(missing) - len(failures),
        n_kept=len(tasks) - len(missing),
        failures=pd.DataFrame(rows, columns=FAILURE_COLUMNS, dtype=str),
        seconds=time.monotonic() - started,
    )
    listed = cache.directory / "failures.csv"
    try:
        if failures:
            write_atomic(listed, report.failures.to_csv(index=False))
        else:
            with contextlib.suppress(OSError):  # a finished cache may lie on a disk that is read only
                listed.unlink(missing_ok=True)
    except OSError as error:
        raise PrepareError(f"{cache.directory}: failures.csv cannot be written: {error.strerror}") from error
    if len(failures) > max_failed * len(tasks):
        counts = report.failures["class"].value_counts()
        reasons = ", ".join(f"{name} ×{count}" for name, count in counts.head(5).items())
        raise PrepareError(
            f"{len(failures):,} of {len(tasks):,} images failed, more than max_failed={max_failed:g} allows "
            f"({reasons}); {listed} lists them with reasons. Mend or remove those files and run again, or raise "
            "max_failed to go on without them: finished images are kept"
        )
    return report


def _tasks(table: pd.DataFrame, settings: PreprocessSettings, cache: Cache) -> list[PrepareTask]:
    ours, theirs = preprocessing_hash(settings), cache.preprocessing_hash
    if ours != theirs:
        raise ValueError(f"{cache.directory} was made with preprocessing {theirs}, these settings are {ours}")
    repeated = table["image_id"][table["image_id"].duplicated()]
    if len(repeated):
        raise ValueError(f"image_id {repeated.iloc[0]} stands in the table twice ({len(repeated)} repeated in all)")
    boxes = read_boxes(settings.boxes) if settings.boxes else {}
    pairs = zip(table["image_id"].astype(str), table["path"].astype(str), strict=True)
    return [PrepareTask(image_id, path, boxes.get(image_id)) for image_id, path in pairs]


def _missing(tasks: list[PrepareTask], entries: dict[str, Entry], cache: Cache) -> list[PrepareTask]:
    """Images that are not there or whose file has changed; entries of files that were moved are brought up to date."""
    missing = [task for task in tasks if task.image_id not in entries]
    unsure = [task for task in tasks if (e := entries.get(task.image_id)) and not e.is_unchanged(task.path)]
    progress = Progress("compare", "files")
    # Many at once, since on a slow disk each read is waited for.
    with ThreadPoolExecutor(_READERS) as pool:
        compared = pool.map(lambda task: entries[task.image_id].compared(task.path), unsure)
        for done, (task, entry) in enumerate(zip(unsure, compared, strict=True), start=1):
            if len(unsure) > _PROGRESS_ABOVE:
                progress(done, len(unsure))
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
    progress.close()
    return missing


def _collect(
    outcomes: Generator[Outcome[PrepareTask, Entry], None, None],
    total: int,
    entries: dict[str, Entry],
    cache: Cache,
    progress: Progress,
) -> list[tuple[PrepareTask, Failure]]:
    """Adds what was prepared to ``entries`` and returns what failed; writes the index however it ends."""
    failures: list[tuple[PrepareTask, Failure]] = []
    saved = time.monotonic()
    try:
        for done, outcome in enumerate(outcomes, start=1):
            if outcome.value is not None:
                entries[outcome.task.image_id] = outcome.value
            elif outcome.failure is not None:
                if outcome.failure.kind == CacheWriteError.__name__:
                    raise CacheWriteError(outcome.failure.message)
                failures.append((outcome.task, outcome.failure))
            progress(done, total, len(failures))
            if time.monotonic() - saved > _INDEX_EVERY_S:
                saved = time.monotonic()
                cache.write_index(entries)
    finally:
        outcomes.close()
        progress.close()
        cache.write_index(entries)
    return failures
