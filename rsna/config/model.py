"""What network to build. No torch here: configuration is read and checked before anything heavy is imported."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from rsna.config.settings import AtLeastOne, BelowOne, require, settings

Unit = Literal["image", "breast"]
"""What one label belongs to and one prediction is made for: an image by itself, or a breast with all its images."""

TableInputName = Literal["age", "implant", "view", "machine_id", "site_id"]
"""What a table may tell the network of an image: columns of test.csv, and no more."""


@settings
class ModelSettings:
    """A timm backbone, a pooling and one linear layer for all targets."""

    backbone: str = "efficientnet_b3"
    """Name of a timm model; `rsna models` lists the EfficientNets."""
    pretrained: bool = True
    """Start from timm's weights for the backbone (fetched once, then cached)."""
    weights: str = ""
    """Weights to start from instead: a file (docs/training.md says of what kinds), run, bundle or package:NAME."""
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


@settings
class FusionSettings:
    """How the images of a breast become one, with unit=breast alone."""

    kind: Literal["mean", "max", "attention", "transformer"] = "mean"
    """mean or max of each feature; attention: learnt weights; transformer: images look at each other and know views."""
    max_images: Annotated[int, Field(ge=1, le=64)] = 8
    """Images of a breast in training at most: of more, others are drawn each epoch; all are used in prediction."""
    width: AtLeastOne = 128
    """For attention and transformer: features that images are weighed, or look at each other, by."""
    heads: AtLeastOne = 4
    """For transformer: heads of a layer."""
    layers: Annotated[int, Field(ge=1, le=12)] = 1
    """For transformer: layers."""

    def __post_init__(self) -> None:
        require(
            self.kind != "transformer" or self.width % self.heads == 0,
            f"heads: {self.heads} heads cannot share a width of {self.width}; take a divisor of it",
        )
