"""Run directories → bundle: weights, one description, a model card, and every wheel that the host lacks."""

import itertools
import platform
import re
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from rsna.bundle import kaggle
from rsna.bundle.card import model_card
from rsna.bundle.wheels import fetch_wheels, pack_project, read_packages
from rsna.collector import collector_off
from rsna.config.settings import ConfigError, to_mapping
from rsna.config.verbs import BundleMakeOptions
from rsna.evaluation.bootstrap import RESAMPLES
from rsna.files import only_writer, sha256, temporary_beside, write_atomic
from rsna.paper.data import licence_notes, set_name
from rsna.parallel.progress import Progress
from rsna.runs.bundle import Bundle, open_bundle
from rsna.runs.errors import RunError
from rsna.runs.record_file import write_record
from rsna.runs.run import Run, open_run
from rsna.runs.schema import BUNDLE, BUNDLE_FORMAT, CARD, TRAINING_SET, BundleRecord, Calibration, Host, MemberRecord
from rsna.runs.set_schema import LabelOrigin
from rsna.runs.site_calibration import with_calibration
from rsna.runs.trained_ensemble import TrainedEnsemble, load_ensemble
from rsna.runs.trained_model import TrainedModel, open_any
from rsna.runs.training_set import read_training_set
from rsna.version import __version__

_VERSIONS = ("torch", "timm", "numpy", "pydicom", "imagecodecs", "opencv-python-headless", "pillow")

_PRIVATE = ("run", "cache_dir", "pack", "fold", "tracking", "prepare")
"""Keys of a configuration that say where it ran, which is nobody's business."""


def make_bundle(options: BundleMakeOptions) -> Path:
    """Writes a bundle; the folder appears whole or not at all, and an earlier one stays until then.

    What people put into that is carried over.

    Raises:
        RunError: The run cannot predict.
        InUseError: Another process writes this bundle.
        ConfigError: The folder holds something else, or the host's wheels cannot be had.
    """
    out = Path(options.out).expanduser()
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out: {out} is a file; name a folder")
    if out.exists() and not (out / BUNDLE).is_file() and any(out.iterdir()):
        raise ConfigError(f"out: {out} holds files and is no bundle; name another folder")
    host = Host(holds=Path(options.host).name, python=options.python, platform=options.platform)
    packages = None if options.host == "none" else read_packages(options.host)
    runs = _open_runs(options)
    _require_licences(options, runs.values())
    trained = load_ensemble(options.run, options.folds, options.method, options.weights, RESAMPLES)
    trained = with_calibration(trained, options.calibration)
    kept = [_with_own_folds(runs[member.source], member, options.folds) for member in trained.members]
    names = _names(kept)
    with only_writer(out), temporary_beside(out) as folder, temporary_beside(f"{out}.old") as old:
        folder.mkdir()
        weights = [
            _write_weights(member, f"{name}-" * (len(names) > 1), options.precision, folder)
            for member, name in zip(trained.members, names, strict=True)
        ]
        pack_project(folder)
        if packages is not None:
            fetch_wheels(host, packages, folder)
        members = tuple(map(_describe_member, kept, names, trained.members, weights))
        record = _describe(kept, trained, options.precision, members, host)
        write_atomic(folder / CARD, model_card(kept, record))
        packed = sorted(folder.iterdir())
        with Progress("hash", len(packed), "files") as progress:
            files = {file.name: sha256(file) for file in progress.over(packed)}
        sizes = {file.name: file.stat().st_size for file in packed}
        write_record(folder / BUNDLE, record.model_dump(mode="json") | {"files": files, "sizes": sizes})
        kaggle.write_metadata(folder, options.owner, options.title or f"RSNA {record.name}"[:50])
        if out.exists():
            _carry_over(out, folder)
            out.rename(old)
        folder.rename(out)
    return out


def _carry_over(old: Path, new: Path) -> None:
    """Copies what people put into a bundle: all that it did not record, and that the new one has no file of."""
    try:
        recorded = set(open_bundle(old).record.files)
    except RunError:  # torn, or of another version: what it recorded is not known, so all is kept
        recorded = set()

    def ours(folder: str, names: list[str]) -> set[str]:
        place = new / Path(folder).relative_to(old)
        written = {name for name in names if (place / name).is_file()}
        return written | (recorded.intersection(names) if place == new else set())

    shutil.copytree(old, new, symlinks=True, ignore=ours, dirs_exist_ok=True)


def _open_runs(options: BundleMakeOptions) -> dict[Path, Run]:
    """Folder → run; refuses bundles."""
    runs = {}
    for name in options.run:
        if isinstance(run := open_any(name, options.folds), Bundle):
            raise RunError(f"run={name}: is a bundle already; name the run folder that it was made of")
        runs[run.path] = run
    return runs


def _with_own_folds(run: Run, member: TrainedModel, folds: tuple[int, ...]) -> Run:
    """A run that was opened by the first one's numbers of some folds, opened by its own, where they are others."""
    own = tuple(weights.own for weights in member.weights)
    return open_run(run.path, own) if folds and set(own) != set(folds) else run


def _require_licences(options: BundleMakeOptions, runs: Iterable[Run]) -> None:
    """Refuses to make what a licence forbids to release, unless it was told to."""
    forbidden = [one for run in runs for one in run.record.data.labels if one.release == "no"]
    if forbidden and not options.despite_licence:
        raise ConfigError(
            f"run={', '.join(options.run)}: was trained on {', '.join(map(set_name, forbidden))}, "
            f"whose licence forbids to release what is trained on it ({forbidden[0].licence}). Train without it, or, "
            "for a machine of yours alone, say despite_licence=true"
        )


def _labels(record: BundleRecord) -> list[LabelOrigin]:
    """The sets of all members, each once."""
    return list(dict.fromkeys(label for member in record.members for label in member.labels))


def _names(runs: Sequence[Run]) -> list[str]:
    """What members are called in files and bundle.json: after their folders, each another name on every disk."""
    names: list[str] = []
    for run in runs:
        plain = re.sub(r"[^\w.-]+", "-", run.name).strip("-.") or "run"
        taken = [name.casefold() for name in names]
        spelt = (plain if number == 1 else f"{plain}-{number}" for number in itertools.count(1))
        names.append(next(name for name in spelt if name.casefold() not in taken))
    return names


def _write_weights(member: TrainedModel, prefix: str, precision: str, folder: Path) -> dict[int, str]:
    """Fold, as the run numbers it → file."""
    with collector_off():  # not above: what cannot be packed is said at once
        import torch
        from safetensors.torch import save

        from rsna.runs.weights import read_weights

    files = {}
    with Progress(f"write weights of {member.name}", len(member.weights), "folds") as progress:
        for weights in progress.over(member.weights):
            state = read_weights(weights.file)
            if precision == "fp16":
                state = {key: value.half() if value.dtype == torch.float32 else value for key, value in state.items()}
                floats = [key for key, value in state.items() if value.is_floating_point()]
                if endless := [key for key in floats if not state[key].isfinite().all()]:
                    raise ConfigError(
                        f"precision: {weights.file}: {endless[0]} does not fit into fp16; take precision=fp32"
                    )
            files[weights.own] = f"{prefix}fold{weights.own}.safetensors"
            write_atomic(folder / files[weights.own], save(state))
    return files


def _describe_member(run: Run, name: str, member: TrainedModel, weights: dict[int, str]) -> MemberRecord:
    config = {key: value for key, value in to_mapping(run.config).items() if key not in _PRIVATE}
    config["data"] = {"name": run.record.data.name, "sampling": run.record.data.sampling}
    config["folds"] = {"n_folds": run.record.n_folds}
    config["model"] = config["model"] | {"weights": Path(run.config.model.weights).name}
    return MemberRecord(
        name=name,
        commit=run.record.commit,
        preprocess=to_mapping(member.preprocess),
        model=to_mapping(member.model),
        targets=tuple(target.name for target in member.targets),
        unit=member.spec.unit,
        fusion=to_mapping(member.spec.fusion),
        compare=member.spec.compare,
        table_inputs={one.name: one.values for one in member.spec.inputs},
        flip=member.flip,
        precision=member.precision,
        weights=weights,
        folds={one.fold: one.own for one in member.weights},
        hashes=run.record.hashes,
        labels=run.record.data.labels,
        training_set=read_training_set(run) if (run.path / TRAINING_SET).is_file() else None,
        config=config,
        trained_with=run.record.versions,
    )


def _describe(
    runs: Sequence[Run],
    trained: TrainedEnsemble,
    stored: Literal["fp16", "fp32"],
    members: tuple[MemberRecord, ...],
    host: Host,
) -> BundleRecord:
    experiments = dict.fromkeys(run.record.name for run in runs)
    return BundleRecord(
        format=BUNDLE_FORMAT,
        name=f"{'+'.join(experiments)}-{runs[0].record.data.name}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        members=members,
        method=trained.method,
        member_weights=trained.member_weights,
        aggregate=trained.aggregate,
        stored=stored,
        threshold=trained.threshold,
        recalled=trained.recalled,
        prevalence=trained.prevalence,
        calibration=Calibration(**asdict(trained.calibration)),
        calibrated_on=trained.calibrated_on,
        simulated=trained.simulated,
        metrics=trained.metrics,
        versions={
            "python": platform.python_version(),
            "rsna-mammography": __version__,
            **{name: version(name) for name in _VERSIONS},
        },
        host=host,
        files={},
        sizes={},
    )


def summary(bundle: Path) -> str:
    """What `rsna bundle make` prints."""
    record = open_bundle(bundle).record
    rows = "\n".join(f"  {name}  {size / 1e6:.1f} MB" for name, size in record.sizes.items())
    metrics = record.metrics.pooled
    nested, ends = metrics.get("pf1_nested"), metrics.ends("pf1_nested")
    said = "undefined" if nested is None else f"{nested:.3f}"
    said += f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
    said += " (cross-fitted, of one fold alone)" if record.metrics.crossfitted else " (out of fold)"
    notes = "".join(f"note: {note}\n" for note in [*load_ensemble(bundle).notes(()), *licence_notes(_labels(record))])
    folds, several = ", ".join(map(str, record.members[0].folds)), len(record.members) > 1
    joined = f"{len(record.members)} members joined by {record.method}, " if several else ""
    return (
        f"{bundle}: {record.name}, {joined}folds {folds}, {record.stored}, nested pF1 {said}, "
        f"{sum(record.sizes.values()) / 1e6:.0f} MB\n{rows}\n{notes}"
        f"upload: kaggle datasets create -p {shlex.quote(str(bundle))}, then kaggle kernels push -p "
        f"{shlex.quote(str(bundle / 'kernel'))}"
    )
