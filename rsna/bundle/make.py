"""Run directory → bundle: weights, one description, and every wheel that the target lacks."""

import platform
import shutil
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from rsna.bundle import kaggle
from rsna.bundle.wheel import pack_project
from rsna.bundle.wheels import fetch_wheels, read_target
from rsna.config.settings import ConfigError, to_mapping
from rsna.config.verbs import BundleMakeOptions
from rsna.files import read_json, read_yaml, sha256, write_json
from rsna.prepare.image import preprocessing_hash
from rsna.runs.bundle import BUNDLE_FILE, BUNDLE_FORMAT
from rsna.runs.trained_model import TrainedModel, breast_figures, load_trained

_VERSIONS = ("rsna-mammography", "torch", "timm", "numpy", "pydicom", "imagecodecs", "opencv-python-headless", "pillow")

_PRIVATE = ("run", "cache_dir", "fold", "tracking", "prepare")
"""Keys of a configuration that say where it ran, which is nobody's business."""


def make_bundle(options: BundleMakeOptions) -> Path:
    """Writes a bundle; the folder appears whole or not at all.

    Raises:
        RunError: The run cannot predict.
        ConfigError: The folder holds something else, or the target's wheels cannot be had.
    """
    out = Path(options.out).expanduser()
    if out.exists() and not (out / BUNDLE_FILE).is_file() and any(out.iterdir()):
        raise ConfigError(f"out: {out} holds files and is no bundle; name another folder")
    trained = load_trained(options.run, options.folds)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / "bundle"
        folder.mkdir()
        weights = {str(w.fold): _write_weights(w.file, w.fold, options.precision, folder) for w in trained.weights}
        pack_project(folder)
        if options.target != "none":
            fetch_wheels(read_target(options.target, options.python, options.platform), folder)
        about = _describe(trained, options, weights)
        about["files"] = {file.name: sha256(file) for file in sorted(folder.iterdir())}
        write_json(folder / BUNDLE_FILE, about)
        kaggle.write_metadata(folder, options.owner, options.title or f"RSNA {about['name']}"[:50])
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


def _describe(trained: TrainedModel, options: BundleMakeOptions, weights: dict[str, str]) -> dict[str, Any]:
    run = trained.source
    if (run / BUNDLE_FILE).is_file():
        raise ConfigError(f"run: {run} is a bundle already; name a run folder")
    record = read_json(run / "run.json")
    config = read_yaml(run / "config.yaml")
    config = {key: value for key, value in config.items() if key not in _PRIVATE}
    config["data"] = {"name": record["data"]["name"], "sampling": record["data"]["sampling"]}
    config["folds"] = {"n_folds": record["n_folds"]}
    figures = breast_figures(run, trained.folds)
    return {
        "format": BUNDLE_FORMAT,
        "name": f"{record['name']}-{record['data']['name']}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": record["commit"],
        "preprocess": to_mapping(trained.preprocess),
        "model": to_mapping(trained.model),
        "targets": [target.name for target in trained.targets],
        "aggregate": trained.aggregate,
        "flip": trained.flip,
        "arithmetic": trained.precision,
        "weights": weights,
        "precision": options.precision,
        "threshold": trained.threshold,
        "recalled": trained.recalled,
        "prevalence": trained.prevalence,
        "calibration": asdict(trained.calibration),
        "hashes": record["hashes"] | {"preprocessing": preprocessing_hash(trained.preprocess)},
        "metrics": {key: figures[key] for key in ("pooled", "folds", "threshold", "nested", "sampling", "level")},
        "config": config,
        "versions": {
            "trained_with": record["versions"],
            "python": platform.python_version(),
            **{name: version(name) for name in _VERSIONS},
        },
        "target": {"holds": Path(options.target).name, "python": options.python, "platform": options.platform},
    }


def summary(bundle: Path) -> str:
    """What `rsna bundle make` prints."""
    about = read_json(bundle / BUNDLE_FILE)
    sizes = {name: (bundle / name).stat().st_size / 1e6 for name in about["files"]}
    rows = "\n".join(f"  {name}  {size:.1f} MB" for name, size in sizes.items())
    figure, between = about["metrics"]["pooled"]["pf1_nested"], about["metrics"]["pooled"]["intervals"]
    interval = between.get("pf1_nested")
    said = f" ({interval['low']:.3f} to {interval['high']:.3f})" if interval else ""
    return (
        f"{bundle}: {about['name']}, folds {', '.join(about['weights'])}, {about['precision']}, nested pF1 "
        f"{figure:.3f}{said}, {sum(sizes.values()):.0f} MB\n{rows}\n"
        f"upload: kaggle datasets create -p {bundle}, then kaggle kernels push -p {bundle / 'kernel'}"
    )
