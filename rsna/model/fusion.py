"""Fusion over the images of an example: (N, C) → (N, C), of which row b is example b."""

import torch
from torch import Tensor, nn


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
