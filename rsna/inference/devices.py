"""Where networks predict, and in which arithmetic."""

from typing import Literal

import torch

Precision = Literal["32", "bf16", "fp16"]
WantedPrecision = Literal["auto", "32", "bf16", "fp16"]


def choose_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return choose_devices()[0]


def choose_devices() -> list[torch.device]:
    """Every GPU, else the CPU."""
    if torch.cuda.is_available():
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [torch.device("mps" if torch.backends.mps.is_available() else "cpu")]


def choose_precision(device: torch.device, trained: WantedPrecision = "auto") -> Precision:
    """32 bits where a run was trained so by choice, and off GPUs; else bf16, or fp16 on GPUs without it.

    Args:
        device: Where the networks run.
        trained: ``trainer.precision`` of the run.
    """
    if device.type != "cuda" or trained == "32":
        return "32"
    if trained == "fp16" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return "fp16"
    return "bf16"
