"""Which devices, arithmetic and loaders a run uses where the configuration says auto."""

import torch

from rsna.dataset.pool import available_cores
from rsna.settings import ConfigError
from rsna.training.settings import TrainerSettings

LOADERS_PER_GPU = 8
"""Loader processes per GPU at most: enough for 100 prepared images a second and process."""


def choose_accelerator(settings: TrainerSettings) -> str:
    """cpu, cuda or mps.

    Raises:
        ConfigError: A kind of device that this machine lacks.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if settings.accelerator == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there[settings.accelerator]:
        raise ConfigError(
            f"trainer.accelerator: torch finds no {settings.accelerator} device here; use auto or "
            f"{', '.join(kind for kind, found in there.items() if found)}"
        )
    return settings.accelerator


def choose_devices(settings: TrainerSettings, accelerator: str, global_batch_size: int) -> int:
    """Number of devices; auto is the largest number of GPUs that divides the global batch.

    Raises:
        ConfigError: More devices than there are.
    """
    available = torch.cuda.device_count() if accelerator == "cuda" else 1
    if settings.devices == "auto":
        return next(n for n in range(available, 0, -1) if global_batch_size % n == 0)
    if accelerator == "cuda" and settings.devices > available:
        raise ConfigError(f"trainer.devices: {settings.devices} asked for, torch finds {available}")
    return settings.devices


def choose_precision(settings: TrainerSettings, accelerator: str) -> str:
    """Lightning's name of the arithmetic."""
    if settings.precision != "auto":
        return {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[settings.precision]
    if accelerator != "cuda":
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def choose_workers(settings: TrainerSettings, accelerator: str, devices: int) -> int:
    """Loader processes per device. On the CPU training itself uses every core: none."""
    if settings.workers != "auto":
        return settings.workers
    return 0 if accelerator == "cpu" else max(1, min(LOADERS_PER_GPU, available_cores() // devices))


def describe(accelerator: str, devices: int) -> str:
    """The hardware in words, for the run's record."""
    if accelerator == "cuda":
        return f"{devices} × {torch.cuda.get_device_name(0)}"
    return f"{devices} × {accelerator}, {available_cores()} cores"
