"""Networks that look at the same batch: one transfer, one prediction each."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from rsna.model.network import MammogramNet

Precision = Literal["32", "bf16", "fp16"]


def choose_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_precision(device: torch.device) -> Precision:
    """bf16 or fp16 where the GPU has it, else 32 bits."""
    if device.type != "cuda":
        return "32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


class Ensemble:
    """The folds of a run on one device."""

    def __init__(
        self,
        networks: Sequence[MammogramNet],
        device: torch.device | None = None,
        precision: Precision | None = None,
    ) -> None:
        self.device = device or choose_device()
        self.precision = precision or choose_precision(self.device)
        self.networks = [network.to(self.device).to(memory_format=torch.channels_last).eval() for network in networks]

    def logits(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Predicts one batch with every network.

        Args:
            images: (B, H, W) uint8 or uint16, as the cache holds them.

        Returns:
            (networks, B, outputs) float32.
        """
        batch = torch.from_numpy(np.ascontiguousarray(images))[:, None].to(self.device, non_blocking=True)
        batch = batch.contiguous(memory_format=torch.channels_last)
        half = torch.bfloat16 if self.precision == "bf16" else torch.float16
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=half, enabled=self.precision != "32"):
            predicted = [network(batch).float() for network in self.networks]
        return torch.stack(predicted).cpu().numpy()
