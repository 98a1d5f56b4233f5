"""Run directory → bundle: weights, one description, a model card, and every wheel that the host lacks."""

import platform
import shutil
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save

from rsna.bundle import kaggle
from rsna.bundle.card import model_card
from rsna.bundle.wheels import fetch_wheels, pack_project, read_packages
from rsna.config.settings import ConfigError, to_mapping
from rsna.config.verbs import BundleMakeOptions
from rsna.files import sha256, write_atomic, write_json
from rsna.runs.bundle import Bundle, open_bundle
from rsna.runs.errors import RunError
from rsna.runs.run import Run
from rsna.runs.schema import BUNDLE, BUNDLE_FORMAT, CARD, BundleRecord, Calibration, Host
from rsna.runs.trained_model import TrainedModel, load_trained, open_any

_VERSIONS = ("rsna-mammography", "torch", "timm", "numpy", "pydicom", "imagecodecs", "opencv-python-headless", "pillow")

_PRIVATE = ("run", "cache_dir", "fold", "tracking", "prepare")
"""Keys of a configuration that say where it ran, which is nobody's business."""


def make_bundle(options: BundleMakeOptions) -> Path:
    """Writes a bundle; the folder appears whole or not at all.

    Raises:
        RunError: The run cannot predict.
        ConfigError: The folder holds something else, or the host's wheels cannot be had.
    """
    out = Path(options.out).expanduser()
    if out.exists() and not (out / BUNDLE).is_file() and any(out.iterdir()):
        raise ConfigError(f"out: {out} holds files and is no bundle; name another folder")
    host = Host(holds=Path(options.host).name, python=options.python, platform=options.platform)
    packages = None if options.host == "none" else read_packages(options.host)
    if isinstance(run := open_any(options.run), Bundle):
        raise RunError(f"run={options.run}: is a bundle already; name the run folder that it was made of")
    trained = load_trained(run, options.folds)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / "bundle"
        folder.mkdir()
        weights = {w.fold: _write_weights(w.file, w.fold, options.precision, folder) for w in trained.weights}
        pack_project(folder)
        if packages is not None:
            fetch_wheels(host, packages, folder)
        record = _describe(run, trained, options.precision, weights, host)
        write_atomic(folder / CARD, model_card(run, record))
        files = {file.name: sha256(file) for file in sorted(folder.iterdir())}
        write_json(folder / BUNDLE, record.model_dump(mode="json") | {"files": files})
        kaggle.write_metadata(folder, options.owner, options.title or f"RSNA {record.name}"[:50])
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    return out


def _write_weights(file: Path, fold: int, precision: str, folder: Path) -> str:
    state = load_file(file)
    if precision == "fp16":
        state = {key: value.half() if value.dtype == torch.float32 else value for key, value in state.items()}
        endless = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
        if endless:
            raise ConfigError(f"precision: {file}: {endless[0]} does not fit into fp16; take precision=fp32")
    name = f"fold{fold}.safetensors"
    (folder / name).write_bytes(save(state))
    return name


def _describe(
    run: Run, trained: TrainedModel, stored: Literal["fp16", "fp32"], weights: dict[int, str], host: Host
) -> BundleRecord:
    config = {key: value for key, value in to_mapping(run.config).items() if key not in _PRIVATE}
    config["data"] = {"name": run.record.data.name, "sampling": run.record.data.sampling}
    config["folds"] = {"n_folds": run.record.n_folds}
    return BundleRecord(
        format=BUNDLE_FORMAT,
        name=f"{run.record.name}-{run.record.data.name}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=run.record.commit,
        preprocess=to_mapping(trained.preprocess),
        model=to_mapping(trained.model),
        targets=tuple(target.name for target in trained.targets),
        aggregate=trained.aggregate,
        flip=trained.flip,
        precision=trained.precision,
        stored=stored,
        weights=weights,
        threshold=trained.threshold,
        recalled=trained.recalled,
        prevalence=trained.prevalence,
        calibration=Calibration(**asdict(trained.calibration)),
        hashes=run.record.hashes,
        metrics=run.breast_metrics(trained.folds),
        config=config,
        trained_with=run.record.versions,
        versions={"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}},
        host=host,
        files={},
    )


def summary(bundle: Path) -> str:
    """What `rsna bundle make` prints."""
    record = open_bundle(bundle).record
    sizes = {name: (bundle / name).stat().st_size / 1e6 for name in record.files}
    rows = "\n".join(f"  {name}  {size:.1f} MB" for name, size in sizes.items())
    metrics = record.metrics.pooled
    nested, ends = metrics.get("pf1_nested"), metrics.ends("pf1_nested")
    said = "undefined" if nested is None else f"{nested:.3f}"
    said += f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
    return (
        f"{bundle}: {record.name}, folds {', '.join(map(str, record.weights))}, {record.stored}, nested pF1 {said}, "
        f"{sum(sizes.values()):.0f} MB\n{rows}\n"
        f"upload: kaggle datasets create -p {bundle}, then kaggle kernels push -p {bundle / 'kernel'}"
    )
