"""A set and its cache: every image of a table prepared as a configuration says, and what failed said."""

from collections.abc import Callable

from rsna.config.schema import Config
from rsna.dataset.table import ImageTable
from rsna.prepare.cache import Cache
from rsna.prepare.table import PrepareReport, prepare_table

_FAILURES_SHOWN = 5


def prepare_set(config: Config, table: ImageTable, say: Callable[[str], None] = print) -> tuple[Cache, PrepareReport]:
    """Fills the cache of a set, those images included that are only trained on; calls ``say`` with each line on it.

    Raises:
        PrepareError: More than ``prepare.max_failed`` of the images failed, or the cache cannot be written.
    """
    cache = Cache.create(config.cache_dir, table.name, config.preprocess)
    report = prepare_table(
        table.images,
        config.preprocess,
        cache,
        workers=config.prepare.workers,
        file_timeout=config.prepare.file_timeout,
        max_failed=config.prepare.max_failed,
    )
    say(
        f"cache {cache.directory}: {report.n_kept + report.n_done:,} prepared images "
        f"({report.n_done:,} now in {report.seconds:.0f} s), {len(report.failures):,} failed"
    )
    for row in report.failures.head(_FAILURES_SHOWN).itertuples():
        say(f"failed: {row.image_id}: {row.message}")
    return cache, report
