"""The network: normalise → backbone → pooling → drop-out → one linear layer whose outputs are the targets' logits."""

import difflib
from typing import Any

import timm
import torch
from torch import Tensor, nn

from rsna.model.pooling import POOLINGS
from rsna.model.settings import ModelSettings
from rsna.model.weights import load_backbone_weights, pretrained_backbone
from rsna.settings import ConfigError

GREY_MEAN = 0.449
"""Mean of ImageNet's three channel means, for images in [0, 1]."""
GREY_STD = 0.226
"""Mean of ImageNet's three channel standard deviations."""


class MammogramNet(nn.Module):
    """Logits for every target from prepared images."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Any, settings: ModelSettings, n_outputs: int) -> None:
        """Puts pooling and classifier on a timm ``backbone`` that was made without them.

        The classifier starts at zero: from scratch timm's EfficientNets otherwise start with logits of ±3, and with
        pretrained weights it costs nothing.
        """
        super().__init__()
        self.backbone = backbone
        self.pooling = POOLINGS[settings.pooling]()
        self.dropout = nn.Dropout(settings.drop_rate)
        self.classifier = nn.Linear(self.backbone.num_features, n_outputs)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.register_buffer("mean", torch.tensor(GREY_MEAN))
        self.register_buffer("std", torch.tensor(GREY_STD))
        if settings.gradient_checkpointing:
            self.backbone.set_grad_checkpointing(True)

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) uint8, uint16 or float in [0, 1] → float, normalised as ImageNet's grey values.

        Whole numbers come to the device as they lie in the cache: a quarter of the bytes of float32.
        """
        if images.dtype == torch.uint8:
            images = images.to(self.mean.dtype) / 255.0
        elif images.dtype == torch.uint16:
            images = images.to(self.mean.dtype) / 65535.0
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W), see :meth:`normalise` → (B, n_outputs) logits."""
        features = self.backbone.forward_features(self.normalise(images))  # (B, C, h, w)
        logits: Tensor = self.classifier(self.dropout(self.pooling(features)))
        return logits


def build_model(settings: ModelSettings, n_outputs: int) -> MammogramNet:
    """Builds the network with one input channel and starts its weights as ``settings`` say.

    Args:
        settings: Backbone, pooling, regularisation and where the weights come from.
        n_outputs: Logits in all, over the targets.

    Raises:
        ConfigError: An unknown backbone (with near names), weights that cannot be fetched, read or do not fit.
    """
    options = {"in_chans": 1, "num_classes": 0, "global_pool": "", "drop_path_rate": settings.drop_path_rate}
    if not timm.is_model(settings.backbone.split(".")[0]):
        near = ", ".join(difflib.get_close_matches(settings.backbone, timm.list_models(), n=5)) or "nothing"
        raise ConfigError(f"model.backbone: timm has no {settings.backbone!r}; near it: {near}")
    if settings.pretrained:
        backbone = pretrained_backbone(settings.backbone, options)
    else:
        backbone = timm.create_model(settings.backbone, pretrained=False, **options)
    if settings.weights:
        load_backbone_weights(backbone, settings.weights)
    return MammogramNet(backbone, settings, n_outputs)
