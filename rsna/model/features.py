"""What a timm network gives as features, and how they are laid out as a map that can be pooled."""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from rsna.settings import ConfigError

Layout = Literal["map", "channels last", "tokens"]


@dataclass(frozen=True)
class Features:
    """What comes out of a backbone, made without pooling and classifier."""

    channels: int
    """Depth of the features."""
    layout: Layout = "map"
    """map: (B, C, h, w), as from convolutions; channels last: (B, h, w, C), as from Swin; tokens: (B, n, C), as from
    ViT."""
    prefix: int = 0
    """Tokens ahead of those of the patches: the one for the class, registers."""
    dynamic: bool = False
    """Whether the network has to be told that images have other sizes than it was made for."""


class FeatureMap(nn.Module):
    """Features in any layout → (B, C, h, w)."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features

    def forward(self, found: Tensor, size: tuple[int, ...]) -> Tensor:
        """Lays out what a backbone found in images of ``size`` (rows, columns)."""
        if self.features.layout == "channels last":
            return found.permute(0, 3, 1, 2)
        if self.features.layout == "tokens":
            patches = found[:, self.features.prefix :]  # (B, h·w, C)
            columns = round((patches.shape[1] * size[1] / size[0]) ** 0.5)
            return patches.transpose(1, 2).reshape(len(patches), self.features.channels, -1, columns)
        return found


@functools.cache
def find_features(name: str, checkpointing: bool, **options: Any) -> Features:
    """Tries a network on images twice as high as wide, on the meta device: no memory, no arithmetic.

    Args:
        name: timm's.
        checkpointing: Whether it has to know gradient checkpointing.
        options: What it is made with.

    Raises:
        ConfigError: It has no features to be pooled, takes one size alone, or lacks an option.
    """
    try:
        return _try(name, checkpointing, options)
    except Exception as error:  # timm's thousand networks refuse in many ways
        try:
            return _try(name, checkpointing, options, dynamic=True)
        except Exception:
            raise ConfigError(f"model.backbone: {name} {_why(error, checkpointing)}") from error


def check_size(name: str, size: tuple[int, int], **options: Any) -> None:
    """Tries a network on images of ``size`` (rows, columns): some want multiples of a patch or window.

    Raises:
        ConfigError: It cannot take them.
    """
    features = find_features(name, False, **options)
    try:
        with torch.device("meta"), torch.no_grad():
            _bare(name, options, features.dynamic)(torch.empty(1, options["in_chans"], *size))
    except Exception as error:
        raise ConfigError(
            f"model.backbone: {name} cannot take images of {size[0]}×{size[1]} ({type(error).__name__}: {error}); "
            "choose another preprocess.size or augment.crop, or a convolutional network"
        ) from error


def _bare(name: str, options: dict[str, Any], dynamic: bool) -> Any:
    return timm.create_model(name, pretrained=False, **options, **bare_options(dynamic)).eval()


def bare_options(dynamic: bool) -> dict[str, Any]:
    """What makes timm leave pooling and classifier away, and take images of other sizes."""
    return {"num_classes": 0, "global_pool": ""} | ({"dynamic_img_size": True} if dynamic else {})


def _try(name: str, checkpointing: bool, options: dict[str, Any], dynamic: bool = False) -> Features:
    with torch.device("meta"), torch.no_grad():
        backbone = _bare(name, options, dynamic)
        side = backbone.pretrained_cfg["input_size"][1]
        found = backbone(torch.empty(1, options["in_chans"], 2 * side, side))
    if checkpointing:
        backbone.set_grad_checkpointing(True)
    channels = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    prefix = getattr(backbone, "num_prefix_tokens", None) or 0
    if found.ndim == 4 and found.shape[1] == channels:
        return Features(channels, dynamic=dynamic)
    if found.ndim == 4 and found.shape[3] == channels:
        return Features(channels, "channels last", dynamic=dynamic)
    if found.ndim == 3 and found.shape[2] == channels and _is_grid(found.shape[1] - prefix):
        return Features(channels, "tokens", prefix, dynamic)
    raise ValueError(f"it gives {tuple(found.shape)} for images of {2 * side}×{side}")


def _is_grid(patches: int) -> bool:
    """Whether patches of an image twice as high as wide: 2 · n²."""
    return patches > 0 and 2 * round((patches / 2) ** 0.5) ** 2 == patches


def _why(error: Exception, checkpointing: bool) -> str:
    said = f"({type(error).__name__}: {error})"
    if "drop_path_rate" in str(error):
        return f"knows no stochastic depth; leave out model.drop_path_rate {said}"
    if checkpointing and "checkpointing" in str(error):
        return f"knows no gradient checkpointing; leave out model.gradient_checkpointing {said}"
    return f"gives no features of images of any size; take another, for example an EfficientNet or ConvNeXt {said}"
