"""Pooling over the positions of an image, (N, C, h, w) → (N, C)."""

import torch
from torch import Tensor, nn


class AveragePooling(nn.Module):
    """Mean over positions."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=(2, 3))


class MaxPooling(nn.Module):
    """Maximum over positions: one lesion anywhere is enough."""

    def forward(self, features: Tensor) -> Tensor:
        return features.amax(dim=(2, 3))


class GeMPooling(nn.Module):
    """Generalised mean with a learnt power p: p = 1 is the mean, p → ∞ the maximum.

    Radenović, Tolias, Chum: Fine-tuning CNN image retrieval with no human annotation (2018).
    """

    def __init__(self, power: float = 3.0, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power))
        self.epsilon = epsilon

    def forward(self, features: Tensor) -> Tensor:
        # In float32: features to the third power leave the range of half precision.
        positive = features.float().clamp(min=self.epsilon)
        pooled = positive.pow(self.power).mean(dim=(2, 3))
        return pooled.pow(1.0 / self.power).to(features.dtype)


POOLINGS: dict[str, type[nn.Module]] = {"avg": AveragePooling, "max": MaxPooling, "gem": GeMPooling}
