"""Verbs on files and tables: table, datasets, audit, prepare, folds, browse."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rsna.cli.announce import asks_for_print, tell
from rsna.cli.shards import say_incomplete
from rsna.cli.verb import verb
from rsna.collector import collector_off
from rsna.config.pack import PackOptions
from rsna.config.settings import ConfigError, unless_auto
from rsna.config.shard import IncompleteError, Shard
from rsna.config.tables import DatasetsOptions, TableOptions
from rsna.config.verbs import AuditOptions, BrowseOptions, FoldsCheckOptions, FoldsMakeOptions, PrepareOptions
from rsna.files import first_few
from rsna.parallel.progress import Progress


@verb(
    "table",
    TableOptions,
    says=lambda o: f"reads {_table_source(o)} below {o.input}, for {_table_out(o)}",
)
def _table(options: TableOptions) -> None:
    """Build train.csv from any folder of DICOM files, or from a public set as it is published.

    rsna table input=/archive labels=labels.csv
    python train.py data.root=/archive fold=0
    rsna table input=/archive out=project/train.csv    # /archive cannot be written
    rsna table input=/data/vindr-mammo dataset=vindr cancer_from=birads45
    rsna table input=/data/cmmd format=mirai
    """
    from rsna.archive.archive import refuse_existing, write_table
    from rsna.archive.published import adapter_for, write_mirai, write_published

    folder, out = Path(options.input).expanduser(), _table_out(options)
    refuse_existing(out)  # ahead of any other word on a folder whose table is written
    if options.format == "mirai":
        named = adapter_for(folder, options.dataset) if options.dataset else None
        print("\n".join(write_mirai(folder, out, named, options.cancer_from)))
        return
    adapter = None if options.labels else adapter_for(folder, options.dataset)
    if adapter:
        lines = write_published(folder, out, adapter, options.cancer_from)
    elif options.cancer_from:
        raise ConfigError(f"cancer_from: {folder} is no public set that is known; labels=FILE.csv gives it labels")
    else:
        lines = write_table(folder, out, Path(options.labels).expanduser() if options.labels else None)
    print("\n".join(lines))


def _table_source(options: TableOptions) -> str:
    """What is said to be read; which set a folder holds is not known before it was looked at."""
    headers = options.labels or options.dataset == "none"
    return "the header of every file" if headers else options.dataset or "the table of a public set, or every header,"


def _table_out(options: TableOptions) -> Path:
    if options.out:
        return Path(options.out).expanduser()
    return Path(options.input).expanduser() / ("mirai.csv" if options.format == "mirai" else "train.csv")


@verb("datasets", DatasetsOptions, bare="name", says=lambda o: f"tells of {first_few(o.name) or 'every public set'}")
def _datasets(options: DatasetsOptions) -> None:
    """List the public sets that are read as they are published: size, licence, what counts as cancer, what is wrong.

    rsna datasets
    rsna datasets vindr cmmd
    """
    from rsna.archive.catalogue import details, listing

    print("\n\n".join([details(name) for name in options.name]) if options.name else listing())


@verb(
    "prepare",
    PrepareOptions,
    configured=True,
    says=lambda overrides, o: "" if asks_for_print(overrides) else "reads the configuration and the table of images",
)
def _prepare(overrides: Sequence[str], options: PrepareOptions) -> None:
    """Decode, crop and scale every image of a set into the cache; resumes, and lists what failed.

    rsna prepare
    rsna prepare data.root=/archive preprocess.size=[2048,1024] preprocess.bits=16
    rsna prepare data.root=/shared/archive cache_dir=/shared/cache engine=ray    # on a cluster's nodes
    rsna prepare data.root=/archive shard=3/8    # on any machine that shares its disk
    """
    _fill(overrides, options)


@verb(
    "prepare merge",
    configured=True,
    says=lambda overrides: "" if asks_for_print(overrides) else "reads the configuration and the table of images",
)
def _prepare_merge(overrides: Sequence[str]) -> int:
    """Make what shards have prepared one set, once every image is there. Exit code 1 if any is missing.

    rsna prepare merge
    rsna prepare merge data.root=/archive
    """
    try:
        _fill(overrides, PrepareOptions(), merge=True)
    except IncompleteError as error:
        return say_incomplete(error, "prepare", overrides)
    return 0


def _fill(overrides: Sequence[str], options: PrepareOptions, merge: bool = False) -> None:
    """Prepares a set or a shard of it, or merges what shards have prepared."""
    shard = Shard.asked(options.shard)
    with collector_off():
        from rsna.config.compose import compose
        from rsna.dataset.unchanged import recall_set, remember_set

        asked, part = compose(overrides), f"shard {shard} of the" if shard else "the"
        name, does = ("prepare merge", "merges the shards") if merge else ("prepare", f"prepares {part} images")
        if asked.pack:
            raise ConfigError(f"pack: rsna {name} fills the cache, in place of which a pack is read; leave it out")
        options.check_engine(asked.prepare.workers, "prepare.workers")
        tell(name, f"{does} of {asked.data.root}, into {asked.cache_dir}")
        if lines := recall_set(asked):
            print("\n".join(lines))
            return
        from rsna.dataset.source import load_data, merge_set, prepare_set, with_value_range
        from rsna.parallel.cluster import cluster_of

        started = time.time_ns()
        config, table = with_value_range(asked, load_data(asked.data))
    said = [*table.notes]
    if merge:
        # Nothing is printed before all is there: else the commands that are missing stand by themselves, for a shell.
        cache, report = merge_set(config, table, said.append)
        print("\n".join(said))
    else:
        print("".join(f"{note}\n" for note in said), end="")
        with cluster_of(options.engine, options.address) as cluster:
            cache, report = prepare_set(config, table, shard=shard, cluster=cluster)
    if report.failures.empty and not shard:
        remember_set(asked, table, cache, started)


@verb("pack", PackOptions, says=lambda o: f"packs the prepared images of {o.run or o.cache} into {o.out}")
def _pack(options: PackOptions) -> None:
    """Pack prepared images into few files, which training reads in place of the cache: from a disk, NFS or S3.

    rsna pack run=runs/b3-rsna out=/nfs/packs/rsna
    rsna pack cache=cache/rsna/1f0c4d2a9b7e out=s3://bucket/packs/rsna
    python train.py pack=s3://bucket/packs/rsna fold=all
    """
    from rsna.prepare.packs.prepared import find_cache, open_cache
    from rsna.prepare.packs.writer import write_pack

    if options.run:
        from rsna.runs.run import open_run

        run = open_run(options.run)
        cache = find_cache(run.config, run.record.data.name, run.record.hashes.preprocessing)
        where = f"run: the cache of {options.run} is not in {run.config.cache_dir}"
    else:
        cache = open_cache(options.cache)
        where = f"cache: {options.cache} is no cache"
    if cache is None:
        raise ConfigError(f"{where}; name the folder <cache_dir>/<dataset>/<preprocessing hash> with cache=…")
    print(write_pack(cache, options.out, options.shard_mib * 2**20))


@verb(
    "browse",
    BrowseOptions,
    configured=True,
    says=lambda overrides, o: f"draws {'batches' if o.batches else 'images'} into {o.out}",
)
def _browse(overrides: Sequence[str], options: BrowseOptions) -> None:
    """Contact sheets (PNG) of originals beside prepared images, or of augmented training batches.

    rsna browse
    rsna browse data.root=/archive preprocess.crop=none n=0 out=sheets
    rsna browse experiment=demo batches=4
    """
    from rsna.config.compose import compose

    config = compose(overrides)
    if options.batches:
        # The verb's key of that name hides the configuration's, by which batches are drawn.
        config = replace(config, seed=options.seed or config.seed)
        from rsna.training.experiment import resolve
        from rsna.training.run import prepare

        if config.fold == "all":
            raise ConfigError("fold: batches are those of one fold; give its number")
        experiment = resolve(config)
        from rsna.training.data.module import fold_data
        from rsna.training.sheet import augmented_sheet

        data = fold_data(experiment, config.fold, prepare(experiment))
        print(augmented_sheet(config, data, Path(options.out) / f"batches-fold{config.fold}.png", options.batches))
    else:
        from rsna.audit.browse import browse
        from rsna.dataset.source import load_data, with_value_range

        config, table = with_value_range(config, load_data(config.data))
        report = browse(
            table.frame,
            config.preprocess,
            options.out,
            n=options.n or None,
            seed=options.seed,
            workers=unless_auto(config.prepare.workers),
            file_timeout=config.prepare.file_timeout,
        )
        print(report.text())


@verb("audit", AuditOptions, says=lambda o: f"looks at every file of {o.input}; the report goes into {o.out}")
def _audit(options: AuditOptions) -> None:
    """Look at a set before anyone trains on it: what it is made of, what cannot be read, what contradicts itself.

    rsna audit input=data/rsna
    rsna audit input=/archive out=look sheet_images=0
    rsna audit input=/new/site run=runs/demo
    """
    if options.run:
        from rsna.external.unlike import audit_against

        report, unlike = audit_against(options)
        print(f"{report.text()}\n{unlike.text()}", end="")
        return
    from rsna.audit.audit import audit
    from rsna.config.data import PreprocessSettings
    from rsna.parallel.cluster import cluster_of

    with cluster_of(options.engine, options.address) as cluster:
        report = audit(
            options.input,
            options.out,
            PreprocessSettings(),
            sheet_images=options.sheet_images,
            workers=unless_auto(options.workers),
            file_timeout=options.file_timeout,
            cluster=cluster,
        )
    print(report.text(), end="")


@verb(
    "folds make",
    FoldsMakeOptions,
    says=lambda o: (
        f"deals the patients of {o.labels} into "
        f"{f'{o.n_folds} folds' if o.by == 'chance' else f'folds by {o.by}'}, for {o.out}"
    ),
)
def _folds_make(options: FoldsMakeOptions) -> None:
    """Split patients into folds, stratified by cancer, site and machine.

    rsna folds make labels=train.csv out=folds.csv n_folds=4
    rsna folds make labels=train.csv by=machine_id smallest=100
    python train.py folds.file=folds.csv fold=all
    """
    from rsna.config.data import FoldSettings
    from rsna.dataset.folds import folds_for, folds_hash, summarise, write_folds
    from rsna.dataset.table import REQUIRED, check_frame, read_rows

    notes: list[str] = []
    frame = check_frame(read_rows(options.labels, notes, REQUIRED), options.labels)
    with Progress("deal patients"):
        settings = FoldSettings(options.n_folds, options.seed, by=options.by, smallest=options.smallest)
        folds = folds_for(frame, settings, notes)
    write_folds(folds, options.out)
    print("".join(f"note: {note}\n" for note in notes), end="")
    print(summarise(folds, frame).to_string(index=False))
    print(f"{options.out}: {len(folds):,} images, folds hash {folds_hash(folds)}")


@verb(
    "folds check",
    FoldsCheckOptions,
    says=lambda o: f"looks for patients on both sides in {o.splits or f'{o.train} and {o.valid}'}",
)
def _folds_check(options: FoldsCheckOptions) -> int:
    """Say whether any patient leaks in anybody's split files; exit code 1 if so.

    rsna folds check splits=folds.csv
    rsna folds check train=train.csv valid=valid.csv
    """
    from rsna.dataset.folds import check_splits

    notes: list[str] = []
    with Progress("look for leaks"):
        leaks = check_splits(notes, options.splits, options.train, options.valid)
    print("".join(f"note: {note}\n" for note in notes), end="")
    shown = f"{len(leaks)} patients stand on both sides (first: {', '.join(leaks[:5])})"
    print(shown if leaks else "no patient stands on both sides")
    return 1 if leaks else 0
