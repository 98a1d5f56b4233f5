"""The network: normalise → backbone → pooling → fusion → drop-out → one linear layer, the targets' logits.

As far as the pooling an image is by itself; from the fusion on there is one row an example.
"""

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from rsna.config.model import ModelSettings
from rsna.model.backbone import FeatureMap, Features, check_size, find_features, resolve_name
from rsna.model.pooling import POOLINGS, MeanFusion
from rsna.model.weights import load_backbone_weights, pretrained_backbone

RGB_MEAN = (0.485, 0.456, 0.406)
"""ImageNet's channel means, red, green, blue, for images in [0, 1]."""
RGB_STD = (0.229, 0.224, 0.225)
"""ImageNet's channel standard deviations."""


class MammogramNet(nn.Module):
    """Logits for every target from prepared images."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Any, features: Features, settings: ModelSettings, n_outputs: int) -> None:
        """Puts pooling and a classifier of ``n_outputs`` on a timm ``backbone`` that was made without them."""
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self.feature_map = FeatureMap(features)
        self.pooling = POOLINGS[settings.pooling]()
        self.fusion = MeanFusion()
        self.dropout = nn.Dropout(settings.drop_rate)
        self.classifier = nn.Linear(features.channels, n_outputs)
        # From scratch, timm's EfficientNets otherwise start with logits of ±3; pretrained ones lose nothing by it.
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        # AdvProp's weights, and some others, were trained on values from -1 to 1: mean and deviation 0.5.
        trained = backbone.pretrained_cfg if settings.pretrained or settings.weights else {}
        for name, usual in (("mean", RGB_MEAN), ("std", RGB_STD)):
            of_channels = torch.tensor(trained.get(name, usual))
            self.register_buffer(name, of_channels.mean() if settings.in_chans == 1 else of_channels.view(3, 1, 1))
        if settings.gradient_checkpointing:
            self.backbone.set_grad_checkpointing(True)
        self.train()

    def train(self, mode: bool = True) -> "MammogramNet":
        """Training mode; with ``norm=frozen`` the statistics of batch normalisation stay as they are."""
        super().train(mode)
        if self.settings.norm == "frozen":
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def normalise(self, images: Tensor) -> Tensor:
        """(N, 1, H, W), see :func:`to_unit` → (N, channels, H, W) float, normalised as the weights know it.

        Whole numbers come to the device as they lie in the cache: a quarter of the bytes of float32.
        """
        return (to_unit(images, self.mean.dtype) - self.mean) / self.std

    def forward(self, images: Tensor, example: Tensor | None = None) -> Tensor:
        """Logits of examples.

        Args:
            images: (N, 1, H, W), see :func:`to_unit`.
            example: (N,) int64, the number of the example that each image belongs to, 0 to B - 1; None where each
                image is an example of its own.

        Returns:
            (N, n_outputs): row b is example b, and rows from B on mean nothing, see :class:`MeanFusion`.
        """
        images = self.normalise(images)
        if not self.training:
            images = evaluation_view(images, self.settings.resize, self.settings.crop)
        features = self.feature_map(self.backbone(images), images.shape[2:])  # (N, C, h, w)
        pooled = self.pooling(features)  # (N, C)
        if example is not None:
            pooled = self.fusion(pooled, example)
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits


def to_unit(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 or uint16 over their full range, or float in [0, 1] → float in [0, 1]."""
    if images.dtype == torch.uint8:
        return images.to(dtype) / 255.0
    if images.dtype == torch.uint16:
        return images.to(dtype) / 65535.0
    return images


def evaluation_view(images: Tensor, resize: int, crop: int) -> Tensor:
    """What is looked at outside of training: the short edge at ``resize`` pixels, then the middle ``crop`` × ``crop``.

    Args:
        images: (B, C, H, W) float.
        resize: Short edge, pixels; 0 keeps the size.
        crop: Side, pixels; 0 keeps the whole, and so does a side that is shorter.
    """
    height, width = images.shape[2:]
    if resize and min(height, width) != resize:
        scale = resize / min(height, width)
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        images = functional.interpolate(images, size=size, mode="bilinear", antialias=True)
        height, width = size
    if crop:
        top, left = max((height - crop) // 2, 0), max((width - crop) // 2, 0)
        images = images[:, :, top : top + crop, left : left + crop]
    return images


def build_model(settings: ModelSettings, n_outputs: int) -> MammogramNet:
    """Builds the network, of ``n_outputs`` logits over all targets, and starts its weights as ``settings`` say.

    Raises:
        ConfigError: An unknown backbone (with near names), one without features to pool or without what is asked of it,
            weights that cannot be fetched, read or do not fit.
    """
    name, features = _backbone_of(settings)
    options = features.options(settings.in_chans, settings.drop_path_rate)
    if settings.pretrained:
        backbone = pretrained_backbone(name, options)
    else:
        backbone = timm.create_model(name, pretrained=False, **options)
    if settings.weights:
        load_backbone_weights(backbone, settings.weights)
    return MammogramNet(backbone, features, settings, n_outputs)


def check_sizes(settings: ModelSettings, size: tuple[int, int], train_crop: int) -> None:
    """Refuses prepared images of ``size`` (rows, columns) that the network cannot take, before anything is trained.

    ``train_crop`` is the side of the crops that it trains on, 0 for whole images.

    Raises:
        ConfigError: See :func:`rsna.model.backbone.check_size`.
    """
    seen = evaluation_view(torch.empty(1, 1, *size, device="meta"), settings.resize, settings.crop)
    name, features = _backbone_of(settings)
    for rows, columns in {(train_crop, train_crop) if train_crop else size, (seen.shape[2], seen.shape[3])}:
        check_size(name, features, (rows, columns), settings.in_chans)


def _backbone_of(settings: ModelSettings) -> tuple[str, Features]:
    name = resolve_name(settings.backbone)
    return name, find_features(name, settings.in_chans, settings.drop_path_rate, settings.gradient_checkpointing)
