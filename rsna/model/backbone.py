"""timm's networks as backbones: which one a name means, what features it gives, whether it takes a size of image."""

import difflib
import functools
import re
from dataclasses import dataclass
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from rsna.config.settings import ConfigError

_MMPRETRAIN_NAME = re.compile(r"efficientnet[-_](b[0-8]|l2)(?:[-_](.+))?")
_MMPRETRAIN_TAGS = (
    ("noisystudent", "ns_jft_in1k"),
    ("advprop", "ap_in1k"),
    ("aa", "aa_in1k"),
)
"""Words in mmpretrain's names → timm's tags, the first that is found; plain training without any of them."""


def resolve_name(name: str) -> str:
    """A backbone's name as timm writes it, with its tag where the name says which weights are meant.

    ``efficientnet-b3_3rdparty-ra-noisystudent_in1k`` is ``tf_efficientnet_b3.ns_jft_in1k``; ``efficientnet-b3`` alone,
    with a hyphen, is the network of the paper, ``tf_efficientnet_b3``.

    Raises:
        ConfigError: Neither timm nor another toolbox has such a name, or timm has no such weights; near ones follow.
    """
    stem, _, tag = name.partition(".")
    if timm.is_model(stem):
        return _with_tag(stem, tag) if tag else name
    other = _MMPRETRAIN_NAME.fullmatch(name)
    if other and not (other[2] or "").startswith("pruned"):
        return _from_mmpretrain(f"tf_efficientnet_{other[1]}", other[2] or "")
    known = [*timm.list_models(), *timm.list_pretrained("*efficientnet*")]
    near = ", ".join(difflib.get_close_matches(name.replace("-", "_"), known, n=5))
    own = "one of your own is registered with timm by the program that is started: docs/training.md, Code of your own"
    raise ConfigError(f"model.backbone: timm has no {name!r}; {f'near it: {near}' if near else own}")


def weight_tags(stem: str) -> list[str]:
    """Tags of the weights that timm has for a network: ``ns_jft_in1k``, …"""
    return [name.partition(".")[2] for name in timm.list_pretrained(f"{stem}.*") if name.startswith(f"{stem}.")]


def _from_mmpretrain(stem: str, words: str) -> str:
    if not words or re.fullmatch(r"8xb\d+_in1k", words):
        return stem
    tag = next((tag for word, tag in _MMPRETRAIN_TAGS if re.search(rf"(^|[-_]){word}([-_]|$)", words)), "in1k")
    if words.endswith("475px"):
        tag += "_475"
    return _with_tag(stem, tag)


def _with_tag(stem: str, tag: str) -> str:
    if tag not in (tags := weight_tags(stem)):
        known = ", ".join(f"{stem}.{tag}" for tag in tags) or "none"
        raise ConfigError(f"model.backbone: timm has no weights {tag!r} of {stem}; it has {known}")
    return f"{stem}.{tag}"


Layout = Literal["map", "channels last", "tokens"]


@dataclass(frozen=True)
class Features:
    """What comes out of a backbone, made without pooling and classifier."""

    channels: int
    """Depth of the features."""
    layout: Layout = "map"
    """map: (B, C, h, w), as from convolutions; channels last: (B, h, w, C), as from Swin; tokens: (B, n, C), as from
    ViT."""
    prefix_tokens: int = 0
    """Tokens ahead of those of the patches: the one for the class, registers."""
    dynamic_img_size: bool = False
    """Whether timm has to be told that images have other sizes than the network was made for."""
    stochastic_depth: bool = True
    """Whether it knows stochastic depth. Those that do are told a rate, also 0: some families have one of their own."""

    def options(self, in_chans: int, drop_path_rate: float) -> dict[str, Any]:
        """What timm makes the network with, without pooling and classifier."""
        depth = {"drop_path_rate": drop_path_rate} if self.stochastic_depth else {}
        size = {"dynamic_img_size": True} if self.dynamic_img_size else {}
        return {"in_chans": in_chans, "num_classes": 0, "global_pool": "", **depth, **size}


class FeatureMap(nn.Module):
    """Features in any layout → (B, C, h, w)."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features

    def forward(self, features: Tensor, size: tuple[int, ...]) -> Tensor:
        """Lays out the features of images of ``size`` (rows, columns)."""
        if self.features.layout == "channels last":
            return features.permute(0, 3, 1, 2)
        if self.features.layout == "tokens":
            patches = features[:, self.features.prefix_tokens :]  # (B, h·w, C)
            columns = round(float(patches.shape[1] * size[1] / size[0]) ** 0.5)  # a traced network's sizes are tensors
            # Not a reshape by numbers: an exported network would keep the batch that it was exported with.
            grid: Tensor = patches.transpose(1, 2).unflatten(2, (-1, columns))  # type: ignore[no-untyped-call]
            return grid
        return features


@functools.cache
def find_features(name: str, in_chans: int, drop_path_rate: float, checkpointing: bool) -> Features:
    """Tries timm's ``name`` on images twice as high as wide, on the meta device: no memory, no arithmetic.

    Args:
        name: As :func:`resolve_name` gives it.
        in_chans: Channels of the images.
        drop_path_rate: Stochastic depth; above 0 the network has to know it.
        checkpointing: Whether it has to know gradient checkpointing.

    Raises:
        ConfigError: It has no features to be pooled, takes one size alone, or lacks an option.
    """
    errors: list[Exception] = []
    for stochastic_depth in (True, False) if drop_path_rate == 0 else (True,):
        for dynamic in (False, True):
            try:
                tried = Features(0, dynamic_img_size=dynamic, stochastic_depth=stochastic_depth)
                found = _try_network(name, tried.options(in_chans, drop_path_rate), checkpointing)
                return Features(*found, dynamic, stochastic_depth)
            except Exception as error:  # timm's thousand networks refuse in many ways
                errors.append(error)
    # The first try is the plain one; where nothing but its depth was wrong, the third.
    first = errors[2] if len(errors) > 2 and "drop_path_rate" in str(errors[0]) else errors[0]
    raise ConfigError(f"model.backbone: {name} {_explain_refusal(first, checkpointing)}") from first


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


def _try_network(name: str, options: dict[str, Any], checkpointing: bool) -> tuple[int, Layout, int]:
    """Channels, layout and prefix tokens of its features."""
    with torch.device("meta"), torch.no_grad():
        backbone = timm.create_model(name, pretrained=False, **options).eval()
        side = backbone.pretrained_cfg["input_size"][1]
        found = backbone(torch.empty(1, options["in_chans"], 2 * side, side))
    if checkpointing:
        backbone.set_grad_checkpointing(True)
    # MobileNetV3 and its like widen their features in the head, which is there without a classifier, too.
    channels = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    prefix = getattr(backbone, "num_prefix_tokens", None) or 0
    # Of an image twice as high as wide there are 2 · n² patches.
    patches = found.shape[1] - prefix
    layout: Layout
    if found.ndim == 4 and found.shape[1] == channels:
        layout = "map"
    elif found.ndim == 4 and found.shape[3] == channels:
        layout = "channels last"
    elif found.ndim == 3 and found.shape[2] == channels and 0 < patches == 2 * round((patches / 2) ** 0.5) ** 2:
        layout = "tokens"
    else:
        raise ValueError(f"it gives {tuple(found.shape)} for images of {2 * side}×{side}")
    return channels, layout, prefix


def _explain_refusal(error: Exception, checkpointing: bool) -> str:
    detail = f"({type(error).__name__}: {error})"
    if "drop_path_rate" in str(error):
        return f"knows no stochastic depth; leave out model.drop_path_rate {detail}"
    if checkpointing and "checkpointing" in str(error):
        return f"knows no gradient checkpointing; leave out model.gradient_checkpointing {detail}"
    return f"gives no features of images of any size; take another, for example an EfficientNet or ConvNeXt {detail}"
