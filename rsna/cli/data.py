"""Verbs on files and tables: table, audit, prepare, folds, browse."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rsna.cli.verb import ConfiguredVerb, Verb
from rsna.config.settings import require
from rsna.config.verbs import AuditOptions, BrowseOptions, FoldsCheckOptions, FoldsMakeOptions, TableOptions


def _table(options: TableOptions) -> int:
    import pandas as pd

    from rsna.dataset.archive import scan_archive
    from rsna.dataset.table import TableError
    from rsna.files import atomic_path, write_atomic

    folder = Path(options.input).expanduser()
    out = Path(options.out).expanduser() if options.out else folder / "train.csv"
    if out.exists():
        raise TableError(f"{out}: is there already and is not overwritten; remove it, or name another with out=FILE")
    archive = scan_archive(folder, Path(options.labels).expanduser() if options.labels else None)
    frame = archive.frame.copy()
    frame["path"] = _paths_for(out, folder, frame["path"])
    with atomic_path(out) as temporary:
        frame.to_csv(temporary, index=False)
    views = ", ".join(f"{view or 'without view'} {n:,}" for view, n in frame["view"].value_counts().items())
    print(f"{out}: {len(frame):,} images of {frame['patient_id'].nunique():,} patients ({views})")
    print("".join(f"note: {line}\n" for line in archive.lines()), end="")
    for path, reason in archive.failures[:10]:
        print(f"cannot be used: {path}: {reason}")
    if missing := archive.failures + archive.left_out:
        listed = out.with_name(f"{out.stem}_left_out.csv")
        write_atomic(listed, pd.DataFrame(missing, columns=["path", "reason"]).to_csv(index=False))
        print(f"{listed}: {len(archive.failures):,} files that cannot be used, {len(archive.left_out):,} left out")
    return 0


def _paths_for(out: Path, folder: Path, paths: Iterable[str]) -> list[str]:
    """Relative to a table beside or above its images, so that both can be moved together; whole paths elsewhere."""
    folder, beside = folder.resolve(), out.parent.resolve()
    if folder.is_relative_to(beside):
        return [str((folder / path).relative_to(beside)) for path in paths]
    return [str(folder / path) for path in paths]


def _prepare(overrides: Sequence[str], _: None) -> int:
    from rsna.config.compose import compose
    from rsna.training.experiment import resolve
    from rsna.training.run import prepare

    prepare(resolve(compose(overrides)))
    return 0


def _browse(overrides: Sequence[str], options: BrowseOptions) -> int:
    from rsna.audit.browse import browse
    from rsna.config.compose import compose
    from rsna.dataset.source import load_data

    config = compose(overrides)
    if options.batches:
        from rsna.training.data.fold import fold_data
        from rsna.training.experiment import resolve
        from rsna.training.run import prepare
        from rsna.training.sheet import augmented_sheet

        require(config.fold != "all", "fold: batches are those of one fold; give its number")
        assert config.fold != "all"
        experiment = resolve(config)
        cache = prepare(experiment)
        data = fold_data(experiment.table, experiment.folds, config.fold, cache, experiment.targets)
        print(augmented_sheet(config, data, Path(options.out) / f"batches-fold{config.fold}.png", options.batches))
        return 0
    table = load_data(config.data)
    report = browse(table.frame, config.preprocess, options.out, n=options.n or None, seed=options.seed)
    for image_id, reason in report.failures:
        print(f"cannot be shown: {image_id}: {reason}")
    print(f"{report.n_shown} images on {', '.join(map(str, report.sheets)) or 'no sheet'}")
    return 0


def _audit(options: AuditOptions) -> int:
    from rsna.audit.audit import audit
    from rsna.config.data import PreprocessSettings

    report = audit(
        options.input,
        options.out,
        PreprocessSettings(),
        sheet_images=options.sheet_images,
        workers=options.workers,
        file_timeout=options.file_timeout,
    )
    print(report.text(), end="")
    return 0


def _folds_make(options: FoldsMakeOptions) -> int:
    from rsna.config.data import FoldSettings
    from rsna.dataset.folds import folds_hash, make_folds, read_labels, summarise, write_folds

    FoldSettings(options.n_folds, options.seed)
    frame = read_labels(options.labels)
    folds = make_folds(frame, options.n_folds, options.seed)
    write_folds(folds, options.out)
    print(summarise(folds, frame).to_string(index=False))
    print(f"{options.out}: {len(folds):,} images, folds hash {folds_hash(folds)}")
    return 0


def _folds_check(options: FoldsCheckOptions) -> int:
    from rsna.dataset.folds import check_splits

    leaks = check_splits(options.splits, options.train, options.valid)
    if leaks:
        print(f"{len(leaks)} patients stand on both sides (first: {', '.join(leaks[:5])})")
        return 1
    print("no patient stands on both sides")
    return 0


VERBS: tuple[Verb | ConfiguredVerb, ...] = (
    Verb(
        "table",
        "Build train.csv from any folder of DICOM files.",
        TableOptions,
        _table,
        (
            "rsna table input=/archive labels=labels.csv",
            "python train.py data.root=/archive fold=0",
            "rsna table input=/archive out=project/train.csv    # /archive cannot be written",
        ),
    ),
    Verb(
        "audit",
        "Look at a set before anyone trains on it: what it is made of, what cannot be read, what contradicts itself.",
        AuditOptions,
        _audit,
        ("rsna audit input=data/rsna", "rsna audit input=/archive out=look sheet_images=0"),
    ),
    ConfiguredVerb(
        "prepare",
        "Decode, crop and scale every image of a set into the cache; resumes, and lists what failed.",
        _prepare,
        examples=("rsna prepare", "rsna prepare data.root=/archive preprocess.size=[2048,1024] preprocess.bits=16"),
    ),
    ConfiguredVerb(
        "browse",
        "Contact sheets (PNG) of originals beside prepared images, or of augmented training batches.",
        _browse,
        BrowseOptions,
        (
            "rsna browse",
            "rsna browse data.root=/archive preprocess.crop=none n=0 out=sheets",
            "rsna browse experiment=demo batches=4",
        ),
    ),
    Verb(
        "folds make",
        "Split patients into folds, stratified by cancer, site and machine.",
        FoldsMakeOptions,
        _folds_make,
        ("rsna folds make labels=train.csv out=folds.csv n_folds=4", "python train.py folds.file=folds.csv fold=all"),
    ),
    Verb(
        "folds check",
        "Say whether any patient leaks in anybody's split files; exit code 1 if so.",
        FoldsCheckOptions,
        _folds_check,
        ("rsna folds check splits=folds.csv", "rsna folds check train=train.csv valid=valid.csv"),
    ),
)
