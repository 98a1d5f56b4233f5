"""A set of small pictures in the competition's layout, and runs on it that take seconds.

Positives carry a bright disc. Runs in processes of their own come from a server that has imported everything once.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from rsna.cli.main import main
from rsna.config.schema import Config
from rsna.config.settings import from_mapping
from rsna.prepare.cache import Cache
from rsna.training.callbacks.checkpoints import Checkpoints
from rsna.training.data.module import FoldData, fold_data
from rsna.training.experiment import resolve
from rsna.training.run import train

ROWS, COLUMNS = 48, 32

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.training.tiny"])


def noise(generator: np.random.Generator) -> np.ndarray:
    """(ROWS, COLUMNS) from 1 to 255."""
    return generator.normal(90, 25, (ROWS, COLUMNS)).clip(1, 255)


def write_picture(root: Path, patient: int, image_id: str, image: np.ndarray) -> None:
    """Writes (rows, columns) from 0 to 255 where the competition's layout has an image of a patient."""
    file = root / "train_images" / str(patient) / f"{image_id}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), image.astype(np.uint8))


def write_set(root: Path, patients: int = 24, positives: int = 8, seed: int = 0) -> Path:
    """``patients`` × 2 views of a left breast; the first ``positives`` patients have cancer."""
    generator = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        cancer = int(patient < positives)
        for view in ("CC", "MLO"):
            image_id = f"{patient}{view}"
            image = noise(generator)
            if cancer:
                y, x = generator.integers(8, ROWS - 8), generator.integers(8, COLUMNS - 8)
                cv2.circle(image, (int(x), int(y)), 6, 230.0, -1)
            write_picture(root, patient, image_id, image)
            rows.append(
                {
                    "site_id": 1 + patient % 2,
                    "patient_id": patient,
                    "image_id": image_id,
                    "laterality": "L",
                    "view": view,
                    "cancer": cancer,
                    "biopsy": cancer,
                    "machine_id": 1,
                    "density": "ABCD"[patient % 4],
                }
            )
    pd.DataFrame(rows).to_csv(root / "train.csv", index=False)
    return root


def tiny_config(folder: Path, **overrides: object) -> Config:
    """A configuration that trains timm's smallest EfficientNet on ``folder/set`` into ``folder/run``.

    Overrides are dotted keys with ``__`` for the dot: ``trainer__epochs=2``.
    """
    mapping: dict[str, object] = {
        "run": str(folder / "run"),
        "tracking": "none",
        "cache_dir": str(folder / "cache"),
        "deterministic": True,
        "data": {"root": str(folder / "set"), "name": "tiny"},
        "preprocess": {"size": [ROWS, COLUMNS], "crop": "none"},
        "prepare": {"workers": 1},
        "folds": {"n_folds": 2},
        "model": {"backbone": "test_efficientnet", "pretrained": False},
        "optim": {"lr": 1e-3, "warmup_epochs": 0.5},
        "trainer": {"epochs": 2, "accelerator": "cpu", "devices": 1, "workers": 0, "progress": "none"},
        "evaluation": {"resamples": 100},
    }
    for dotted, value in overrides.items():
        *parents, leaf = dotted.split("__")
        target = mapping
        for parent in parents:
            target = target.setdefault(parent, {})  # type: ignore[assignment]
        target[leaf] = value
    return from_mapping(Config, mapping)


def train_here(config: Config) -> Path:
    """Trains in this process."""
    return train(config).run


def first_fold(config: Config) -> FoldData:
    """Fold 0 of a set whose images are prepared already; a run that is there may be of another configuration."""
    experiment = resolve(replace(config, run=f"{config.run}-of-no-one"))
    cache = Cache.create(config.cache_dir, experiment.table.name, config.preprocess)
    return fold_data(experiment, 0, cache)


def die_at_step(config: Config, step: int) -> int | None:
    """Trains in a process of its own that SIGKILL ends right behind the first checkpoint of ``step`` or later.

    Returns:
        The process's exit code, -9 when it was killed.
    """
    process = PROCESSES.Process(target=_train_and_die, args=(config, step))
    process.start()
    process.join(300)
    return process.exitcode


def _train_and_die(config: Config, step: int) -> None:
    save = Checkpoints._save

    def save_and_die(self, trainer, module):
        save(self, trainer, module)
        if trainer.global_step >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoints._save = save_and_die
    train(config)


def give_command(arguments: Sequence[str], killed_at: tuple[int, int] | None = None) -> int | None:
    """Gives ``python train.py ARGUMENTS`` to a process of its own.

    Args:
        arguments: Of the command line.
        killed_at: Fold, and optimiser step of it at whose end, before it is saved, SIGKILL ends the process; None lets
            it come to its end.

    Returns:
        The process's exit code, -9 when it was killed.
    """
    process = PROCESSES.Process(target=_run_command, args=(arguments, killed_at))
    process.start()
    process.join(300)
    return process.exitcode


def _run_command(arguments: Sequence[str], killed_at: tuple[int, int] | None) -> None:
    end = Checkpoints.on_train_batch_end

    def end_here(self, trainer, *rest):
        if (self.folder.parent.name, trainer.global_step) == (f"fold{killed_at[0]}", killed_at[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        end(self, trainer, *rest)

    if killed_at:
        Checkpoints.on_train_batch_end = end_here
    sys.exit(main(["train", *arguments]))
