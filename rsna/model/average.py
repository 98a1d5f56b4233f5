"""An exponential moving average of a network's weights."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage(nn.Module):
    """Weights averaged over optimiser steps; part of the module's state, so that a run resumes exactly."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Starts at the network's weights.

        Args:
            network: What is trained; it is left as it is.
            decay: Of each step. The first steps use less, (1 + n) / (10 + n) as TensorFlow does, so that the random
                start is forgotten.
        """
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Moves towards ``network``; the statistics of batch normalisation move alike.

        The device is not waited for: the step is a number of the host's, and all weights move in one call.

        Args:
            network: What is trained.
            step: Optimiser steps that have been done, this one included.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        moving, counters = self._tensors(self.network)
        their_moving, their_counters = self._tensors(network)
        torch._foreach_lerp_(moving, their_moving, 1 - decay)
        if counters:
            torch._foreach_copy_(counters, their_counters)

    def train(self, mode: bool = True) -> "MovingAverage":
        """Stays in evaluation mode: only validation looks through it."""
        return super().train(False)

    @staticmethod
    def _tensors(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and statistics, and whole numbers: batches that a norm has seen, which have no mean."""
        both = [*network.parameters(), *network.buffers()]
        return [t for t in both if t.is_floating_point()], [t for t in both if not t.is_floating_point()]
