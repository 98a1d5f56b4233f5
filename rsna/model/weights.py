"""Weights that a backbone starts from: timm's own, or a state dict in timm's or mmpretrain's key names."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from rsna.config.settings import ConfigError
from rsna.files import first_line

_WRAPPERS = ("state_dict", "model", "model_state", "state_dict_ema", "model_ema")
"""Keys under which training frameworks store the state dict within a checkpoint."""
_WRAPPED = re.compile(r"^(module\.)?(_orig_mod\.)?(net\.)?(model\.)?(backbone\.)?")
"""Prefixes that wrappers put before every key."""
_HEADS = ("classifier.", "head.", "fc.")

_MMPRETRAIN_BLOCK = re.compile(r"layers\.(\d+)\.(\d+)\.(\w+)\.(.+)")
_MMPRETRAIN_EXPANDED = {
    "expand_conv.conv": "conv_pw", "expand_conv.bn": "bn1",
    "depthwise_conv.conv": "conv_dw", "depthwise_conv.bn": "bn2",
    "se.conv1.conv": "se.conv_reduce", "se.conv2.conv": "se.conv_expand",
    "linear_conv.conv": "conv_pwl", "linear_conv.bn": "bn3",
}  # fmt: skip
"""mmpretrain → timm within an inverted residual block."""
_MMPRETRAIN_PLAIN = _MMPRETRAIN_EXPANDED | {
    "depthwise_conv.bn": "bn1", "linear_conv.conv": "conv_pw", "linear_conv.bn": "bn2",
}  # fmt: skip
"""The same within the blocks of the first stage, which do not expand."""


def pretrained_backbone(name: str, options: Mapping[str, Any]) -> nn.Module:
    """A timm backbone with timm's weights, fetched once and cached by the Hugging Face hub's client.

    Raises:
        ConfigError: The weights cannot be fetched, or timm has none of this name.
    """
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=True, **options)
    except Exception as error:
        # The hub's client raises some twenty classes, of its own and of its HTTP library, for "no network".
        raise ConfigError(
            f"model.pretrained: the weights of {name} could not be fetched ({type(error).__name__}: "
            f"{first_line(error)}). Give a file with model.pretrained=false "
            "model.weights=FILE, or start from scratch with model.pretrained=false"
        ) from error
    return backbone


def load_backbone_weights(backbone: Any, file: str | Path) -> None:
    """Loads a state dict into a backbone that was made with one input channel and without a classifier.

    A stem of three input channels is summed to one, as timm does; classifiers are left out.

    Raises:
        ConfigError: No such file, not a state dict, or one that does not fit the backbone.
    """
    state = to_timm_keys(_read_state_dict(Path(file)), backbone)
    state = {key: value for key, value in state.items() if not key.startswith(_HEADS)}
    own = backbone.state_dict()
    for key, value in state.items():
        if key in own and value.ndim == 4 and value.shape[1] == 3 and own[key].shape[1] == 1:
            state[key] = adapt_input_conv(1, value)
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    misfits = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if missing or unexpected or misfits:
        found = [
            f"{len(keys)} keys {what} (first: {keys[0]})"
            for keys, what in ((missing, "missing"), (unexpected, "unknown"), (sorted(misfits), "of another shape"))
            if keys
        ]
        raise ConfigError(f"model.weights: {file} does not fit model.backbone: {'; '.join(found)}")
    backbone.load_state_dict(state)


def to_timm_keys(state: Mapping[str, Tensor], backbone: Any) -> dict[str, Tensor]:
    """Renames the keys of a state dict to timm's; those that are timm's already are kept.

    mmpretrain merges stages of the same stride, so blocks are matched by their place in the whole network.
    """
    plain = {_WRAPPED.sub("", key): value for key, value in state.items()}
    if "layers.0.conv.weight" not in plain:
        return plain
    matches = [m for key in plain if (m := _MMPRETRAIN_BLOCK.fullmatch(key))]
    blocks = sorted({(int(m[1]), int(m[2])) for m in matches})
    names = [f"blocks.{s}.{i}" for s, stage in enumerate(backbone.blocks) for i in range(len(stage))]
    place = dict(zip(blocks, names, strict=False))
    expanded = {(int(m[1]), int(m[2])) for m in matches if m[3] == "expand_conv"}
    last = max(int(key.split(".")[1]) for key in plain if key.startswith("layers."))
    ends = {"layers.0.conv": "conv_stem", "layers.0.bn": "bn1"}
    ends |= {f"layers.{last}.conv": "conv_head", f"layers.{last}.bn": "bn2"}
    renamed = {}
    for key, value in plain.items():
        module, _, parameter = key.rpartition(".")
        match = _MMPRETRAIN_BLOCK.fullmatch(key)
        if module in ends:
            key = f"{ends[module]}.{parameter}"
        elif match and (block := (int(match[1]), int(match[2]))) in place:
            inside = module.split(".", 3)[3]
            names_inside = _MMPRETRAIN_EXPANDED if block in expanded else _MMPRETRAIN_PLAIN
            key = f"{place[block]}.{names_inside.get(inside, inside)}.{parameter}"
        renamed[key] = value
    return renamed


def _read_state_dict(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise ConfigError(f"model.weights: there is no file {file}")
    try:
        # weights_only: a checkpoint from anywhere must not run code.
        loaded = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise ConfigError(f"model.weights: {file} cannot be read: {error}") from error
    except Exception as error:  # pickle.UnpicklingError and its relatives: more than tensors, or no checkpoint
        raise ConfigError(f"model.weights: {file} holds more than tensors, or is no checkpoint: {error}") from error
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ConfigError(f"model.weights: {file} holds no state dict")
    return dict(loaded)
