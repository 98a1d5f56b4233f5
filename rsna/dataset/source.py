"""A set: read from a folder whose layout an adapter knows, or from the embedded sample; checked, and prepared."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from rsna.config.data import DataSettings, Sampling, Split, require_data
from rsna.config.schema import Config
from rsna.config.settings import unless_auto
from rsna.dataset.adapters import competition, find_adapter
from rsna.dataset.table import REQUIRED, ImageTable, TableError, check_frame, limit_table, refuse_rows, require_columns
from rsna.files import first_few
from rsna.prepare.cache import Cache
from rsna.prepare.table import PrepareReport, prepare_table

_FAILURES_SHOWN = 5


def load_data(settings: DataSettings, split: Split = "train") -> ImageTable:
    """Reads the table of a set, or the part of it that ``data.limit`` asks for; writes the sample where it is wanted.

    Raises:
        ConfigError: Nobody named a set, and there is none where it is looked for.
        TableError: See :func:`load_table` and :func:`limit_table`.
    """
    if settings.demo:
        from rsna.demo import DemoSettings, write_demo

        write_demo(settings.root, DemoSettings())
    require_data(settings.root)
    table = load_table(settings.root, split, settings.name, settings.sampling, settings.extra)
    return limit_table(table, settings.limit) if settings.limit else table


def load_table(
    root: str | Path,
    split: Split = "train",
    name: str = "",
    sampling: Sampling = "population",
    extra: tuple[str, ...] = (),
) -> ImageTable:
    """Reads and checks a set in a layout that an adapter knows; every row has a file, every file a row.

    Args:
        split: ``train`` (with the labels that the adapter promises) or ``test``.
        name: Name of the set; the folder's own name where it is empty.
        extra: Roots of sets that are only trained on.

    Raises:
        TableError: Wrong root, missing column, image without file, file without row, duplicate image_id, label
            outside {0, 1}, two labels for one breast, an image_id in two sets.
    """
    root = Path(root).expanduser().resolve()
    frame, notes = _read(root, split)
    extras = [_read(Path(other).expanduser().resolve(), split) for other in extra]
    joined = pd.concat([other for other, _ in extras], ignore_index=True) if extras else None
    if joined is not None:
        ids = joined["image_id"]
        refuse_rows(ids.duplicated() | ids.isin(frame["image_id"]), ids, "data.extra",
                    "image_ids stand in two sets; take one of the sets out of data.extra")  # fmt: skip
    notes = (*notes, *(note for _, others in extras for note in others))
    return ImageTable(name or root.name, root, frame, sampling, joined, notes)


def prepare_set(
    config: Config, table: ImageTable, output: Callable[[str], None] = print
) -> tuple[Cache, PrepareReport]:
    """Fills the cache of a set, those images included that are only trained on; calls ``output`` with each line on it.

    Raises:
        PrepareError: More than ``prepare.max_failed`` of the images failed, or the cache cannot be written.
    """
    cache = Cache.create(config.cache_dir, table.name, config.preprocess)
    report = prepare_table(
        table.images,
        config.preprocess,
        cache,
        workers=unless_auto(config.prepare.workers),
        file_timeout=config.prepare.file_timeout,
        max_failed=config.prepare.max_failed,
    )
    output(
        f"cache {cache.directory}: {report.n_kept + report.n_done:,} prepared images "
        f"({report.n_done:,} now in {report.seconds:.0f} s), {len(report.failures):,} failed"
    )
    for row in report.failures.head(_FAILURES_SHOWN).itertuples():
        output(f"failed: {row.image_id}: {row.message}")
    return cache, report


def _read(root: Path, split: Split) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A checked frame, and the adapter's notes."""
    if not root.is_dir():
        raise TableError(f"{root}: there is no such folder; set data.root (or RSNA_DATA) to the one with {split}.csv")
    # Where no layout is known, the competition's says what it lacks.
    adapter = find_adapter(root, split) or competition
    listing = adapter.read(root, split)
    if listing.unreadable:
        first = first_few(f"{error.filename}: {error.strerror}" for error in listing.unreadable)
        raise TableError(f"{root}: {len(listing.unreadable)} folders cannot be read (first: {first})")
    frame, source = listing.frame, listing.source
    require_columns(frame, (*REQUIRED, *adapter.LABELS) if split == "train" else REQUIRED, source)
    refuse_rows(frame["path"].eq(""), frame["image_id"], source, listing.no_file)
    if len(listing.rowless):
        names = first_few(listing.rowless["patient_id"] + "/" + listing.rowless["image_id"], 5)
        raise TableError(f"{root}: {len(listing.rowless)} files have no row in {source.name}: {names}")
    return check_frame(frame, source, adapter.LABELS), listing.notes
