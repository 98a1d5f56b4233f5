"""The network: normalise → backbone → pooling → fusion → drop-out → one linear layer, the targets' logits.

As far as the pooling, to which what a table says of it is added, an image is by itself; from the fusion on there is one
row an example.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from rsna.config.model import ModelSettings
from rsna.dataset.examples import ExampleSpec
from rsna.dataset.targets import Target
from rsna.model.backbone import FeatureMap, Features, check_size, find_features, resolve_name
from rsna.model.fusion import BreastDifference, build_fusion
from rsna.model.learnt import Learnt, take_over
from rsna.model.pooling import POOLINGS
from rsna.model.table_embedding import TableEmbedding
from rsna.model.weights import load_backbone_weights, pretrained_backbone

RGB_MEAN = (0.485, 0.456, 0.406)
"""ImageNet's channel means, red, green, blue, for images in [0, 1]."""
RGB_STD = (0.229, 0.224, 0.225)
"""ImageNet's channel standard deviations."""


class MammogramNet(nn.Module):
    """Logits for every target from prepared images."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Any, features: Features, settings: ModelSettings, n_outputs: int, spec: ExampleSpec
    ) -> None:
        """Puts pooling, fusion and a classifier of ``n_outputs`` on a timm ``backbone`` that was made without them."""
        super().__init__()
        self.settings, self.spec = settings, spec
        self.backbone = backbone
        self.feature_map = FeatureMap(features)
        self.pooling = POOLINGS[settings.pooling]()
        self.table_embedding = TableEmbedding(spec.inputs, features.channels) if spec.inputs else None
        self.fusion = build_fusion(spec.fusion, features.channels)
        self.image_weights = nn.Identity()  # each image's weight in its example passes here, for hooks to listen to
        self.comparison = BreastDifference(features.channels) if spec.compare else None
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

    def forward(
        self,
        images: Tensor,
        example: Tensor | None = None,
        table: Tensor | None = None,
        other: Tensor | None = None,
        each: bool = False,
    ) -> Tensor:
        """Logits of examples.

        Args:
            images: (N, 1, H, W), see :func:`to_unit`.
            example: (N,) int64, the number of the example that each image belongs to, 0 to B - 1; None where each
                image is an example of its own.
            table: (N, inputs) float32, see :func:`rsna.dataset.table_inputs.read_inputs`; None where nothing is known.
            other: (N,) bool, images of the other breast of their example's exam, where breasts are compared; None where
                there are none.
            each: Predict the images by themselves, too, as a loss may ask for in training.

        Returns:
            (N, n_outputs): row b is example b, and rows from B on mean nothing, see :mod:`rsna.model.fusion`. With
            ``each`` (2 N, n_outputs), of which row N + n is image n.
        """
        images = self.normalise(images)
        if not self.training:
            images = evaluation_view(images, self.settings.resize, self.settings.crop)
        features = self.feature_map(self.backbone(images), images.shape[2:])  # (N, C, h, w)
        pooled = self.pooling(features)  # (N, C)
        if self.table_embedding is not None:
            if table is None:
                table = torch.full((len(images), len(self.spec.inputs)), torch.nan, device=pooled.device)
            pooled = pooled + self.table_embedding(table).to(pooled.dtype)
        if example is None and self.spec.unit == "breast":
            # Each with its image through all layers: without, ranks of DDP would wait for gradients that never come.
            example = torch.arange(len(images), device=pooled.device)
        alone = pooled
        if example is not None:
            pooled = self._join(pooled, example, other)
        if each:
            pooled = torch.cat([pooled, alone])
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits

    def _join(self, pooled: Tensor, example: Tensor, other: Tensor | None) -> Tensor:
        """(N, C) of images → (N, C) of examples."""
        fused: Tensor
        if self.comparison is None:
            fused, weights = self.fusion(pooled, example)
            self.image_weights(weights)
            return fused
        if other is None:
            other = torch.zeros_like(example, dtype=torch.bool)
        beside_it = other.float()
        present = torch.zeros_like(beside_it).index_add(0, example, beside_it) > 0  # (N,)
        beside = self.fusion(pooled, example, other)[0]
        own, weights = self.fusion(pooled, example, ~other)
        self.image_weights(weights)
        fused = self.comparison(own, beside, present)
        return fused


@contextmanager
def listening(network: MammogramNet) -> Iterator[list[Tensor]]:
    """A list that gets the (N,) float32 weights of the images of each batch that a network joins, on its device.

    Weights of an example's images sum to 1; those of its other breast are 0. Images by themselves have none.
    """
    heard: list[Tensor] = []
    handle = network.image_weights.register_forward_hook(lambda module, weights, same: heard.append(weights[0]))
    try:
        yield heard
    finally:
        handle.remove()


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
        # A traced network's sizes are tensors.
        size = (max(round(float(height * scale)), 1), max(round(float(width * scale)), 1))
        images = functional.interpolate(images, size=size, mode="bilinear", antialias=True)
        height, width = size
    if crop:
        top, left = max((height - crop) // 2, 0), max((width - crop) // 2, 0)
        images = images[:, :, top : top + crop, left : left + crop]
    return images


def build_model(
    settings: ModelSettings,
    n_outputs: int,
    spec: ExampleSpec | None = None,
    notes: list[str] | None = None,
    before: Learnt | None = None,
    targets: tuple[Target, ...] = (),
) -> MammogramNet:
    """Builds the network, of ``n_outputs`` logits over all targets, and starts its weights as ``settings`` say.

    Args:
        settings: Backbone, pooling, classifier.
        n_outputs: See :func:`rsna.model.heads.output_count`.
        spec: What its examples are; None for images by themselves.
        notes: What is to be said of a file of weights is added to it.
        before: What the network learnt whose file ``settings.weights`` names, where this is known.
        targets: What the logits are of; the classifier goes on with those that ``before`` has.

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
    spec = spec or ExampleSpec()
    if not settings.weights:
        return MammogramNet(backbone, features, settings, n_outputs, spec)
    loaded = load_backbone_weights(backbone, settings.weights)
    network = MammogramNet(backbone, features, settings, n_outputs, spec)
    taken: dict[str, Tensor] = {}
    parts: list[str] = []
    if before:
        taken, parts = take_over(network.state_dict(), loaded.state, before, Learnt(targets, spec.inputs))
        loaded.check(taken)
        network.load_state_dict(taken, strict=False)
    if notes is not None:
        notes.append(loaded.line(taken, parts))
    return network


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
