"""Pooling over the positions of an image, (N, C, h, w) → (N, C), and fusion over the images of an example."""

import torch
from torch import Tensor, nn
from torch.nn import functional


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
        pooled = functional.avg_pool2d(positive.pow(self.power), positive.shape[2:]).flatten(1)
        return pooled.pow(1.0 / self.power).to(features.dtype)


POOLINGS: dict[str, type[nn.Module]] = {"avg": AveragePooling, "max": MaxPooling, "gem": GeMPooling}


class MeanFusion(nn.Module):
    """Mean over the images of each example."""

    def forward(self, features: Tensor, example: Tensor) -> Tensor:
        """Joins the features of images.

        Args:
            features: (N, C) float, one row an image.
            example: (N,) int64, the number of each image's example, 0 to B - 1.

        Returns:
            (N, C): B examples, then rows of zeros. A result of B rows would have a shape that depends on values: a GPU
            would have to be waited for, and a compiled or exported network could not have it.
        """
        # In float32, as bf16 loses bits in every sum.
        sums = torch.zeros_like(features, dtype=torch.float32).index_add(0, example, features.float())
        ones = torch.ones_like(example, dtype=torch.float32)
        counts = torch.zeros_like(ones).index_add(0, example, ones)  # (N,)
        return (sums / counts.clamp(min=1)[:, None]).to(features.dtype)
