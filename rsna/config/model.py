"""What network to build. No torch here: configuration is read and checked before anything heavy is imported."""

from typing import Literal

from pydantic import NonNegativeInt

from rsna.config.settings import BelowOne, require, settings


@settings
class ModelSettings:
    """A timm backbone, a pooling and one linear layer for all targets."""

    backbone: str = "efficientnet_b3"
    """Name of a timm model; `rsna models` lists the EfficientNets."""
    pretrained: bool = True
    """Start from timm's weights for the backbone (fetched once, then cached)."""
    weights: str = ""
    """State dict to start from instead: a .safetensors, .pth or .bin file in timm's or mmpretrain's key names."""
    in_chans: Literal[1, 3] = 1
    """Input channels: 1 grey, or 3 equal ones; with the means and deviations that the weights know, or ImageNet's."""
    pooling: Literal["avg", "max", "gem"] = "avg"
    """Pooling over positions; gem is the generalised mean with a learnt power, starting at 3."""
    drop_rate: BelowOne = 0.3
    """Drop-out before the linear layer, probability."""
    drop_path_rate: BelowOne = 0.0
    """Stochastic depth, probability at the last block, rising linearly from 0."""
    norm: Literal["batch", "sync", "frozen"] = "batch"
    """Batch normalisation: over a device's batch, over all GPUs' batches, or with the statistics it starts with."""
    resize: NonNegativeInt = 0
    """Short edge in evaluation, pixels; 0 keeps the prepared size."""
    crop: NonNegativeInt = 0
    """Side of the centre crop in evaluation, pixels; 0 takes the whole image."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    def __post_init__(self) -> None:
        require(bool(self.backbone), "backbone: name a timm model, for example efficientnet_b3")
        require(
            not self.resize or self.crop <= self.resize,
            f"crop: {self.crop} is larger than the short edge, resize={self.resize}",
        )
        require(
            not (self.pretrained and self.weights),
            f"weights: {self.weights} and pretrained=true exclude each other; add model.pretrained=false",
        )
