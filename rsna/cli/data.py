"""Verbs on files and tables: table, audit, prepare, folds, browse."""

from collections.abc import Sequence
from pathlib import Path

from rsna.cli.verb import verb
from rsna.config.settings import ConfigError, unless_auto
from rsna.config.verbs import AuditOptions, BrowseOptions, FoldsCheckOptions, FoldsMakeOptions, TableOptions


@verb("table", TableOptions)
def _table(options: TableOptions) -> None:
    """Build train.csv from any folder of DICOM files.

    rsna table input=/archive labels=labels.csv
    python train.py data.root=/archive fold=0
    rsna table input=/archive out=project/train.csv    # /archive cannot be written
    """
    from rsna.dataset.archive import write_table

    folder = Path(options.input).expanduser()
    out = Path(options.out).expanduser() if options.out else folder / "train.csv"
    print("\n".join(write_table(folder, out, Path(options.labels).expanduser() if options.labels else None)))


@verb("prepare", configured=True)
def _prepare(overrides: Sequence[str]) -> None:
    """Decode, crop and scale every image of a set into the cache; resumes, and lists what failed.

    rsna prepare
    rsna prepare data.root=/archive preprocess.size=[2048,1024] preprocess.bits=16
    """
    from rsna.config.compose import compose
    from rsna.dataset.source import load_data, prepare_set

    config = compose(overrides)
    table = load_data(config.data)
    print("".join(f"{note}\n" for note in table.notes), end="")
    prepare_set(config, table)


@verb("browse", BrowseOptions, configured=True)
def _browse(overrides: Sequence[str], options: BrowseOptions) -> None:
    """Contact sheets (PNG) of originals beside prepared images, or of augmented training batches.

    rsna browse
    rsna browse data.root=/archive preprocess.crop=none n=0 out=sheets
    rsna browse experiment=demo batches=4
    """
    from rsna.config.compose import compose

    config = compose(overrides)
    if options.batches:
        from rsna.training.data.module import fold_data
        from rsna.training.experiment import resolve
        from rsna.training.run import prepare
        from rsna.training.sheet import augmented_sheet

        if config.fold == "all":
            raise ConfigError("fold: batches are those of one fold; give its number")
        experiment = resolve(config)
        data = fold_data(experiment, config.fold, prepare(experiment))
        print(augmented_sheet(config, data, Path(options.out) / f"batches-fold{config.fold}.png", options.batches))
    else:
        from rsna.audit.browse import browse
        from rsna.dataset.source import load_data

        report = browse(
            load_data(config.data).frame,
            config.preprocess,
            options.out,
            n=options.n or None,
            seed=options.seed,
            workers=unless_auto(config.prepare.workers),
            file_timeout=config.prepare.file_timeout,
        )
        print(report.text())


@verb("audit", AuditOptions)
def _audit(options: AuditOptions) -> None:
    """Look at a set before anyone trains on it: what it is made of, what cannot be read, what contradicts itself.

    rsna audit input=data/rsna
    rsna audit input=/archive out=look sheet_images=0
    """
    from rsna.audit.audit import audit
    from rsna.config.data import PreprocessSettings

    report = audit(
        options.input,
        options.out,
        PreprocessSettings(),
        sheet_images=options.sheet_images,
        workers=unless_auto(options.workers),
        file_timeout=options.file_timeout,
    )
    print(report.text(), end="")


@verb("folds make", FoldsMakeOptions)
def _folds_make(options: FoldsMakeOptions) -> None:
    """Split patients into folds, stratified by cancer, site and machine.

    rsna folds make labels=train.csv out=folds.csv n_folds=4
    python train.py folds.file=folds.csv fold=all
    """
    from rsna.dataset.folds import folds_hash, make_folds, summarise, write_folds
    from rsna.dataset.table import REQUIRED, check_frame, read_csv

    frame = check_frame(read_csv(options.labels, REQUIRED), options.labels)
    folds = make_folds(frame, options.n_folds, options.seed)
    write_folds(folds, options.out)
    print(summarise(folds, frame).to_string(index=False))
    print(f"{options.out}: {len(folds):,} images, folds hash {folds_hash(folds)}")


@verb("folds check", FoldsCheckOptions)
def _folds_check(options: FoldsCheckOptions) -> int:
    """Say whether any patient leaks in anybody's split files; exit code 1 if so.

    rsna folds check splits=folds.csv
    rsna folds check train=train.csv valid=valid.csv
    """
    from rsna.dataset.folds import check_splits

    leaks = check_splits(options.splits, options.train, options.valid)
    shown = f"{len(leaks)} patients stand on both sides (first: {', '.join(leaks[:5])})"
    print(shown if leaks else "no patient stands on both sides")
    return 1 if leaks else 0
