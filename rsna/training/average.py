"""An exponential moving average of a network's weights."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage(nn.Module):
    """Weights averaged over optimiser steps; part of the module's state, so that a run resumes exactly."""

    steps: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Starts at the network's weights.

        Args:
            network: What is trained; it is left as it is.
            decay: Of each step. The first steps use less, (1 + n) / (10 + n), so that the start is forgotten.
        """
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Moves towards ``network``, after an optimiser step; the statistics of batch normalisation move alike."""
        self.steps += 1
        decay = min(self.decay, (1 + int(self.steps)) / (10 + int(self.steps)))
        for ours, theirs in zip(self._tensors(self.network), self._tensors(network), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs.to(ours.dtype), 1 - decay)
            else:
                ours.copy_(theirs)

    def train(self, mode: bool = True) -> "MovingAverage":
        """Stays in evaluation mode: only validation looks through it."""
        return super().train(False)

    @staticmethod
    def _tensors(network: nn.Module) -> list[Tensor]:
        return [*network.parameters(), *network.buffers()]
