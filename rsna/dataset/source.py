"""A set: read from a folder whose layout an adapter knows, or from the embedded sample; checked, and prepared."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from rsna.config.data import DataSettings, Sampling, Split, require_data
from rsna.config.schema import Config
from rsna.config.settings import unless_auto
from rsna.config.shard import Shard
from rsna.dataset.adapters import OWN, adapters, find_adapter, read_set
from rsna.dataset.prevalence import label_doubts
from rsna.dataset.table import REQUIRED, ImageTable, TableError, check_frame, limit_table, refuse_rows, require_columns
from rsna.dataset.walk import require_folder
from rsna.files import first_few, printable
from rsna.prepare.cache import Cache, cache_folder
from rsna.prepare.complete import Complete, summary
from rsna.prepare.packs.prepared import PreparedImages
from rsna.prepare.table import PrepareReport, merge_shards, prepare_table
from rsna.prepare.value_range import find_range

if TYPE_CHECKING:
    from rsna.parallel.cluster import Cluster
    from rsna.prepare.packs.pack import Pack

_FAILURES_SHOWN = 5

_IMAGES = 8
"""Images that somebody called 0 may well have: two exams."""


def load_data(settings: DataSettings, split: Split = "train") -> ImageTable:
    """Reads the table of a set, or the part of it that ``data.limit`` asks for; writes the sample where it is wanted.

    Raises:
        ConfigError: Nobody named a set, and there is none where it is looked for.
        TableError: See :func:`load_table` and :func:`limit_table`.
    """
    if settings.demo:
        from rsna.demo import DemoSettings, write_demo

        write_demo(settings.root, DemoSettings(films=settings.films, scale=settings.scale))
    require_data(settings.root)
    table = load_table(settings.root, split, settings.name, settings.sampling, settings.cancer_from, "data.cancer_from")
    table = labelled(table)
    if settings.extra:
        table = _with_extra(table, settings, split)
    return limit_table(table, settings.limit) if settings.limit else table


def load_table(
    root: str | Path,
    split: Split = "train",
    name: str = "",
    sampling: Sampling = "population",
    cancer_from: str = "",
    key: str = "cancer_from",
) -> ImageTable:
    """Reads and checks a set in a layout that an adapter knows; every row has a file, every file a row.

    Args:
        split: ``train`` (with the labels that the adapter promises) or ``test``.
        name: Name of the set; the folder's own name where it is empty.
        cancer_from: What counts as cancer, see :func:`rsna.dataset.adapters.choose_cancer`.
        key: What the user types that behind.

    Raises:
        TableError: Wrong root, missing column, image without file, file without row, duplicate image_id, label
            outside {0, 1}, two labels for one breast, no such definition of cancer.
    """
    root = Path(root).expanduser().resolve()
    frame, notes = _read(root, split, cancer_from, key)
    doubts = label_doubts(frame, sampling) if "cancer" in frame.columns else []
    return ImageTable(name or root.name, root, frame, sampling, None, (*notes, *doubts))


def _with_extra(table: ImageTable, settings: DataSettings, split: Split) -> ImageTable:
    """The table with the sets of ``data.extra``: columns source_set, unlike any other's, and loss_weight.

    Raises:
        TableError: See :func:`load_table`.
    """
    frames, notes, names = [], [*table.notes], [table.name]
    for place, folder in enumerate(settings.extra):
        root = Path(folder).expanduser().resolve()
        wanted = settings.extra_cancer_from[place] if settings.extra_cancer_from else "auto"
        frame, said = _read(root, split, "" if wanted == "auto" else wanted, f"data.extra_cancer_from[{place}]")
        names.append(root.name if root.name not in names else str(root))
        # They would take the places of others in every batch, and teach nothing.
        frame, more = _with_label(frame, names[-1])
        said = (*said, *more)
        weight = settings.extra_weights[place] if settings.extra_weights else 1.0
        frames.append(frame.assign(source_set=names[-1], loss_weight=weight))
        notes += said
    joined = pd.concat(frames, ignore_index=True)
    ids = joined["image_id"]
    refuse_rows(ids.duplicated() | ids.isin(table.frame["image_id"]), ids, "data.extra",
                "image_ids stand in two sets; take one of the sets out of data.extra")  # fmt: skip
    return replace(table, frame=table.frame.assign(source_set=table.name), extra=joined, notes=tuple(notes))


def labelled(table: ImageTable) -> ImageTable:
    """A public set without the images that have no label by its definition of cancer; any other table as it is.

    Of those the publisher says that nobody knows. In a table of one's own, which has no cancer_from, be it one of
    several that were joined, a missing label is a mistake, and is refused.
    """
    frame, notes = _with_label(table.frame, table.name)
    return replace(table, frame=frame, notes=(*table.notes, *notes))


def _with_label(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """See :func:`labelled`, of a set of that name; a line on what is left out."""
    if not {"cancer", "cancer_from"} <= set(frame.columns):
        return frame, ()
    bare = frame["cancer"].isna() & frame["cancer_from"].fillna("").ne("")
    if not bare.any() or bare.all():
        return frame, ()
    defined = first_few(sorted(frame.loc[bare, "cancer_from"].unique()))
    what = f"images have no label by cancer_from={defined}, and are left out"
    return frame[~bare].reset_index(drop=True), (f"{name}: {int(bare.sum()):,} of {len(frame):,} {what}",)


def with_value_range(config: Config, table: ImageTable) -> tuple[Config, ImageTable]:
    """The configuration with the range of values that the set's files without a window need; the table notes it."""
    if config.preprocess.value_range != "auto":
        return config, table
    found = find_range(
        config.preprocess, table.images["path"].to_numpy(object), cache_folder(config.cache_dir, table.name)
    )
    table = replace(table, range_found=found)
    if found.measured is None:
        return config, table
    preprocess = replace(config.preprocess, value_range=found.measured.shown)
    return replace(config, preprocess=preprocess), replace(table, notes=(*table.notes, str(found.measured)))


def prepare_set(
    config: Config,
    table: ImageTable,
    output: Callable[[str], None] = print,
    shard: Shard | None = None,
    cluster: "Cluster | None" = None,
) -> tuple[Cache, PrepareReport]:
    """Fills the cache of a set, those images included that are only trained on; calls ``output`` with each line on it.

    Args:
        shard: The part to prepare; None for all of it.

    Raises:
        ClusterError: The nodes of ``cluster``, where one prepares, cannot do it.
        PrepareError: More than ``prepare.max_failed`` of the images failed, or the cache cannot be written.
    """
    cache = _create_cache(config, table)
    report = prepare_table(
        table.images,
        config.preprocess,
        cache,
        workers=unless_auto(config.prepare.workers),
        file_timeout=config.prepare.file_timeout,
        max_failed=config.prepare.max_failed,
        shard=shard,
        cluster=cluster,
    )
    _say(config, cache, report, output, f"shard {shard} of " if shard else "")
    return cache, report


def merge_set(config: Config, table: ImageTable, output: Callable[[str], None] = print) -> tuple[Cache, PrepareReport]:
    """Makes what shards have prepared one set; see :func:`prepare_set` and :func:`rsna.prepare.table.merge_shards`."""
    cache = _create_cache(config, table)
    report = merge_shards(table.images, config.preprocess, cache, max_failed=config.prepare.max_failed)
    _say(config, cache, report, output)
    return cache, report


def _create_cache(config: Config, table: ImageTable) -> Cache:
    cache = Cache.create(config.cache_dir, table.name, config.preprocess)
    if table.range_found:
        table.range_found.write(cache_folder(config.cache_dir, table.name))
    return cache


def _say(config: Config, cache: Cache, report: PrepareReport, output: Callable[[str], None], part: str = "") -> None:
    failed = len(report.failures)
    output(part + summary(cache, report.n_kept + report.n_done, report.n_done, report.seconds, failed))
    for line in Complete(report.no_breast, report.few_levels).lines(config.preprocess.crop):
        output(line)
    for row in report.failures.head(_FAILURES_SHOWN).itertuples():
        output(f"failed: {row.image_id}: {row.message}")


def open_pack(config: Config, table: ImageTable) -> tuple["Pack", list[str]]:
    """The pack that is read in place of the cache, and lines on what it holds of a set.

    Raises:
        PackError: It is not there, is of another set, other settings or other files, or lacks more than
            ``prepare.max_failed`` of the images.
    """
    from rsna.prepare.packs.pack import Pack

    pack = Pack(config.pack)
    missing, rest = pack.check(table.name, config.preprocess, table.images, config.prepare.max_failed)
    lines = [
        f"pack {pack.place}: {len(table.images) - len(missing):,} prepared images",
        *rest.lines(config.preprocess.crop),
    ]
    if missing:
        lines.append(f"{len(missing):,} images are not in the pack (first: {first_few(missing)})")
    return pack, lines


def prepared_set(config: Config, table: ImageTable, output: Callable[[str], None] = print) -> PreparedImages:
    """The prepared images of a set: of the pack that is asked for, else of the cache, once it is filled.

    Raises:
        PackError, PrepareError: See :func:`open_pack` and :func:`prepare_set`.
    """
    if not config.pack:
        return prepare_set(config, table, output)[0]
    pack, lines = open_pack(config, table)
    for line in lines:
        output(line)
    return pack


def _read(
    root: Path, split: Split, cancer_from: str = "", key: str = "cancer_from"
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A checked frame, and the adapter's notes."""
    if not root.is_dir():
        if root.is_file():
            require_folder(root)
        where = "data.root or RSNA_DATA, data.extra, input"
        raise TableError(f"{root}: there is no such folder; name the one with {split}.csv ({where})")
    # Where no layout is known, the competition's says what it lacks.
    adapter = find_adapter(root, split) or adapters()[OWN]
    listing = read_set(root, split, adapter, cancer_from, key)
    frame, source, notes = listing.frame, listing.source, listing.notes
    if listing.unreadable:
        first = first_few(printable(f"{error.filename}: {error.strerror}") for error in listing.unreadable)
        unreadable = f"{root}: {len(listing.unreadable)} folders or files cannot be read (first: {first})"
        if frame["path"].eq("").any():
            raise TableError(unreadable)
        notes = (*notes, unreadable)
    if frame.empty:
        raise TableError(f"{source}: none of its images is left ({'; '.join(notes)})")
    require_columns(frame, (*REQUIRED, *adapter.LABELS) if split == "train" else REQUIRED, source)
    refuse_rows(frame["path"].eq(""), frame["image_id"], source, listing.no_file)
    if len(listing.rowless):
        names = first_few(listing.rowless["patient_id"] + "/" + listing.rowless["image_id"], 5)
        raise TableError(f"{root}: {len(listing.rowless)} files have no row in {source.name}: {names}")
    return check_frame(frame, source, adapter.LABELS), (*notes, *_nobodys(frame, source))


def _nobodys(frame: pd.DataFrame, source: Path) -> list[str]:
    """A line on every patient of more exams than one whose id names nobody."""
    counts = frame["patient_id"].value_counts()
    crowded = counts[counts > _IMAGES]
    if crowded.empty:
        return []
    from rsna.dataset.identities import is_placeholder

    return [
        f"{source}: patient_id {patient} names nobody, and its {count:,} images count as one patient's"
        for patient, count in crowded.items()
        if is_placeholder(str(patient))
    ]
