"""What a timm network gives as features, and how they are laid out as a map that can be pooled."""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from rsna.config.settings import ConfigError

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
    deep: bool = True
    """Whether it knows stochastic depth; told nothing, some families take a rate of their own."""

    def options(self, in_chans: int, drop_path_rate: float) -> dict[str, Any]:
        """What timm makes the network with, without pooling and classifier."""
        return _options(in_chans, drop_path_rate if self.deep else None, self.dynamic)


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
            # Not a reshape by numbers: an exported network would keep the batch that it was exported with.
            grid: Tensor = patches.transpose(1, 2).unflatten(2, (-1, columns))  # type: ignore[no-untyped-call]
            return grid
        return found


@functools.cache
def find_features(name: str, in_chans: int, drop_path_rate: float, checkpointing: bool) -> Features:
    """Tries a network on images twice as high as wide, on the meta device: no memory, no arithmetic.

    Args:
        name: timm's.
        in_chans: Channels of the images.
        drop_path_rate: Stochastic depth; above 0 the network has to know it.
        checkpointing: Whether it has to know gradient checkpointing.

    Raises:
        ConfigError: It has no features to be pooled, takes one size alone, or lacks an option.
    """
    errors: list[Exception] = []
    for deep in (True, False) if drop_path_rate == 0 else (True,):
        for dynamic in (False, True):
            try:
                return _try(name, in_chans, drop_path_rate if deep else None, dynamic, checkpointing)
            except Exception as error:  # timm's thousand networks refuse in many ways
                errors.append(error)
    # The first try is the plain one; where nothing but its depth was wrong, the third.
    first = errors[2] if len(errors) > 2 and "drop_path_rate" in str(errors[0]) else errors[0]
    raise ConfigError(f"model.backbone: {name} {_why(first, checkpointing)}") from first


def check_size(name: str, features: Features, size: tuple[int, int], in_chans: int) -> None:
    """Tries a network on images of ``size`` (rows, columns): some want multiples of a patch or window.

    Raises:
        ConfigError: It cannot take them.
    """
    try:
        with torch.device("meta"), torch.no_grad():
            backbone = timm.create_model(name, pretrained=False, **features.options(in_chans, 0.0)).eval()
            backbone(torch.empty(1, in_chans, *size))
    except Exception as error:
        raise ConfigError(
            f"model.backbone: {name} cannot take images of {size[0]}×{size[1]} ({type(error).__name__}: {error}); "
            "choose another preprocess.size, augment.crop, model.resize or model.crop, or a convolutional network"
        ) from error


def _options(in_chans: int, drop_path_rate: float | None, dynamic: bool) -> dict[str, Any]:
    depth = {} if drop_path_rate is None else {"drop_path_rate": drop_path_rate}
    size = {"dynamic_img_size": True} if dynamic else {}
    return {"in_chans": in_chans, "num_classes": 0, "global_pool": "", **depth, **size}


def _try(name: str, in_chans: int, drop_path_rate: float | None, dynamic: bool, checkpointing: bool) -> Features:
    with torch.device("meta"), torch.no_grad():
        options = _options(in_chans, drop_path_rate, dynamic)
        backbone = timm.create_model(name, pretrained=False, **options).eval()
        side = backbone.pretrained_cfg["input_size"][1]
        found = backbone(torch.empty(1, in_chans, 2 * side, side))
    if checkpointing:
        backbone.set_grad_checkpointing(True)
    channels = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    prefix = getattr(backbone, "num_prefix_tokens", None) or 0
    deep = drop_path_rate is not None
    if found.ndim == 4 and found.shape[1] == channels:
        return Features(channels, dynamic=dynamic, deep=deep)
    if found.ndim == 4 and found.shape[3] == channels:
        return Features(channels, "channels last", dynamic=dynamic, deep=deep)
    if found.ndim == 3 and found.shape[2] == channels and _is_grid(found.shape[1] - prefix):
        return Features(channels, "tokens", prefix, dynamic, deep)
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
