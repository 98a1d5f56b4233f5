"""Verbs on files and tables: table, audit, prepare, folds, browse."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rsna.cli.verb import ConfiguredVerb, Verb
from rsna.settings import require


@dataclass(frozen=True)
class TableOptions:
    """Options of `rsna table`."""

    input: str
    """Folder of DICOM files, of any depth; links are followed, what is hidden is passed over."""
    out: str = ""
    """CSV to write, never over one that is there; empty is <input>/train.csv, where training looks for it. Outside of
    the input it names the images by their whole paths. What is not in it is listed in <out>_left_out.csv."""
    labels: str = ""
    """CSV with labels, joined on image_id, or patient_id and laterality, or patient_id; it fills in what headers do not
    say."""


@dataclass(frozen=True)
class AuditOptions:
    """Options of `rsna audit`."""

    input: str
    """Folder in the competition's layout, or with a table that names its files, or any folder of images."""
    out: str = "audit"
    """Folder for audit.txt, images.csv, findings.csv and sheets of prepared images, a machine each."""
    sheet_images: int = 12
    """Images shown of each machine; 0 draws no sheets."""
    workers: int | None = None
    """Processes; null is one a core."""
    file_timeout: float = 60.0
    """Seconds after which a file counts as unreadable."""

    def __post_init__(self) -> None:
        require(self.sheet_images >= 0, f"sheet_images: {self.sheet_images} is below 0")
        require(self.workers is None or self.workers >= 1, f"workers: {self.workers} is below 1")
        require(self.file_timeout > 0, f"file_timeout: {self.file_timeout} is not above 0 seconds")


@dataclass(frozen=True)
class BrowseOptions:
    """Options of `rsna browse`."""

    out: str = "browse"
    """Folder for the sheets."""
    n: int = 24
    """Images to draw at random; 0 shows all."""
    seed: int = 0
    """Seed of the draw."""
    batches: int = 0
    """Show this many augmented training batches of the fold instead, prepared first where they are not."""

    def __post_init__(self) -> None:
        require(self.batches >= 0, f"batches: {self.batches} is below 0")
        require(self.n >= 0, f"n: {self.n} is below 0")
        require(self.seed >= 0, f"seed: {self.seed} is below 0")


@dataclass(frozen=True)
class FoldsMakeOptions:
    """Options of `rsna folds make`."""

    labels: str
    """CSV with patient_id, image_id, laterality and cancer, as the competition's train.csv."""
    out: str = "folds.csv"
    """CSV to write: patient_id, image_id, fold."""
    n_folds: int = 4
    """Number of folds."""
    seed: int = 0
    """Seed of the shuffle."""


@dataclass(frozen=True)
class FoldsCheckOptions:
    """Options of `rsna folds check`."""

    splits: str = ""
    """CSV with patient_id and fold; or give the two sides of one split:"""
    train: str = ""
    """CSV with the patient_id of the rows trained on."""
    valid: str = ""
    """CSV with the patient_id of the rows validated on."""

    def __post_init__(self) -> None:
        one, two = bool(self.splits), bool(self.train) and bool(self.valid)
        require(one != two, "splits: give splits=FILE, or train=FILE and valid=FILE")


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
    from rsna.config import compose
    from rsna.dataset.source import load_data
    from rsna.training.fold_data import cache_for
    from rsna.training.run import prepare

    config = compose(overrides)
    table = load_data(config.data)
    prepare(config, table, cache_for(config, table))
    return 0


def _browse(overrides: Sequence[str], options: BrowseOptions) -> int:
    from rsna.config import compose
    from rsna.dataset.browse import browse
    from rsna.dataset.source import load_data

    config = compose(overrides)
    table = load_data(config.data)
    if options.batches:
        from rsna.dataset.folds import folds_for
        from rsna.training.fold_data import cache_for, fold_data
        from rsna.training.run import prepare
        from rsna.training.sheet import augmented_sheet

        require(config.fold != "all", "fold: batches are those of one fold; give its number")
        assert config.fold != "all"
        cache = cache_for(config, table)
        prepare(config, table, cache)
        data = fold_data(config, table, folds_for(table.frame, config.folds), config.fold, cache)
        print(augmented_sheet(config, data, Path(options.out) / f"batches-fold{config.fold}.png", options.batches))
        return 0
    report = browse(table.frame, config.preprocess, options.out, n=options.n or None, seed=options.seed)
    for image_id, reason in report.failures:
        print(f"cannot be shown: {image_id}: {reason}")
    print(f"{report.n_shown} images on {', '.join(map(str, report.sheets)) or 'no sheet'}")
    return 0


def _audit(options: AuditOptions) -> int:
    from rsna.dataset.audit import audit
    from rsna.dataset.prepare import PreprocessSettings

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
    from rsna.dataset.folds import FoldSettings, folds_hash, make_folds, read_labels, summarise, write_folds

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
