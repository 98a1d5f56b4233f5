"""Which devices, arithmetic and loaders a run uses where the configuration says auto."""

import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from rsna.config.schema import Config
from rsna.config.settings import ConfigError
from rsna.config.training import Precision, TrainerSettings
from rsna.cores import available_cores
from rsna.inference.devices import choose_precision as device_precision
from rsna.training.ranks import local_world_size, world_size

LOADERS_PER_GPU = 8
"""Loader processes per GPU at most: enough for 100 prepared images a second and process."""


@dataclass(frozen=True)
class Hardware:
    """What a run computes with."""

    accelerator: str
    """cpu, cuda or mps."""
    devices: int
    """Ranks over all machines."""
    precision: Precision
    """Arithmetic of the forward and backward pass."""
    workers: int
    """Loader processes per device."""

    def __str__(self) -> str:
        """``2 × Tesla T4``, for the run's record."""
        if self.accelerator == "cuda":
            return f"{self.devices} × {torch.cuda.get_device_name(0)}"
        return f"{self.devices} × {self.accelerator}, {available_cores()} cores"


def choose_hardware(config: Config) -> Hardware:
    """What this machine has of what is asked for; under the user's own torchrun, its ranks.

    Raises:
        ConfigError: A kind of device, a number of devices or an arithmetic that this machine lacks.
    """
    trainer = config.trainer
    accelerator = choose_accelerator(trainer)
    devices = choose_devices(trainer, accelerator, config.global_batch_size, config.batch_size_per_device)
    here = devices
    if "RANK" in os.environ:
        devices, here = world_size(), local_world_size()
        if trainer.devices not in ("auto", devices, here):
            of = f"{devices} processes" + (f", {here} of them on this machine" if here != devices else "")
            raise ConfigError(
                f"trainer.devices: {trainer.devices} asked for, and torchrun has started {of}, a device each; take "
                "trainer.devices=auto, or give torchrun another --nproc-per-node"
            )
    # On the CPU training itself uses every core.
    loaders = 0 if accelerator == "cpu" else max(1, min(LOADERS_PER_GPU, available_cores() // here))
    workers = loaders if trainer.workers == "auto" else trainer.workers
    return Hardware(accelerator, devices, choose_precision(trainer, accelerator), workers)


def check_compiler(accelerator: str) -> None:
    """Refuses ``trainer.compile`` where its code cannot be built, of which torch tells in the first step, at length.

    Raises:
        ConfigError: There is no compiler of C++, for the CPU, or of C, or no Triton, for GPUs.
    """
    wanted = {"cpu": ("C++", "CXX", ["g++"]), "cuda": ("C", "CC", ["gcc", "clang"])}
    if accelerator not in wanted:
        return
    language, variable, usual = wanted[accelerator]
    names = [os.environ[variable]] if os.environ.get(variable) else usual
    if not any(shutil.which(name.split()[0]) for name in names):
        raise ConfigError(
            f"trainer.compile: torch.compile builds its code with a compiler of {language}, and there is no "
            f"{' or '.join(names)}; install one, name it in {variable}, or leave trainer.compile=false"
        )
    if accelerator == "cuda" and find_spec("triton") is None:
        raise ConfigError(
            "trainer.compile: on a GPU it needs Triton: pip install triton, or leave trainer.compile=false"
        )


def choose_accelerator(settings: TrainerSettings) -> str:
    """cpu, cuda or mps, whichever is asked for and is there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if settings.accelerator == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there[settings.accelerator]:
        raise ConfigError(
            f"trainer.accelerator: torch finds no {settings.accelerator} device here; use auto or "
            f"{', '.join(kind for kind, found in there.items() if found)}"
        )
    return settings.accelerator


def choose_devices(settings: TrainerSettings, accelerator: str, global_batch_size: int, per_device: int) -> int:
    """Number of devices; auto is the largest number of GPUs over which the global batch can be spread exactly.

    Args:
        settings: How many are asked for.
        accelerator: cpu, cuda or mps.
        global_batch_size: Examples per optimiser step.
        per_device: Examples per device and forward pass.
    """
    available = torch.cuda.device_count() if accelerator == "cuda" else 1
    if settings.devices == "auto":
        micro = min(per_device, global_batch_size)
        return next((n for n in range(available, 1, -1) if global_batch_size % (n * micro) == 0), 1)
    # Several processes on one CPU are allowed: that is how distributed training is tried without GPUs.
    if accelerator != "cpu" and settings.devices > available:
        raise ConfigError(f"trainer.devices: {settings.devices} asked for, torch finds {available}")
    return settings.devices


def choose_precision(settings: TrainerSettings, accelerator: str) -> Precision:
    """Arithmetic of the forward and backward pass."""
    if settings.precision == "auto":
        return device_precision(torch.device(accelerator))
    if settings.precision == "fp16" and accelerator == "cpu":  # its range needs scaled gradients, which are a GPU's
        raise ConfigError("trainer.precision: fp16 needs a GPU; use auto, bf16 or 32")
    return settings.precision
