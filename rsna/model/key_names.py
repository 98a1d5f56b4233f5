"""Finds a backbone among the tensors of a file, whatever stands around it, in whosever key names."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

HEADS = ("classifier.", "head.", "fc.")
COUNTER = ".num_batches_tracked"
_NOTES = (".total_ops", ".total_params")
"""What the profiler thop leaves in every module."""
_AVERAGED = re.compile(r"(^|[._])(ema|average)([._]|$)")
"""In the prefix of a network whose weights are a moving average."""

_EFFICIENTNET_PYTORCH_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2",
                              "_fc": "classifier"}  # fmt: skip
_EFFICIENTNET_PYTORCH_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)")
_EFFICIENTNET_PYTORCH_EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand", "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip
"""efficientnet_pytorch → timm within an inverted residual block."""
_EFFICIENTNET_PYTORCH_PLAIN = _EFFICIENTNET_PYTORCH_EXPANDED | {
    "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2",
}  # fmt: skip
"""The same within the blocks of the first stage, which do not expand."""

_MMPRETRAIN_BLOCK = re.compile(r"layers\.(\d+)\.(\d+)\.(.+)")
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


@dataclass(frozen=True)
class KeyNames:
    """How a toolbox names the tensors of a network."""

    toolbox: str
    stem: str
    """The key of the first convolution."""
    rename: Callable[[Iterable[str], Any], dict[str, str]]
    """Their keys and timm's backbone → their key: timm's."""
    same_padding: bool
    """Whether its EfficientNets pad as TensorFlow does, and timm's of this arithmetic are called ``tf_…``."""


@dataclass(frozen=True)
class Found:
    """A backbone among the tensors of a file."""

    names: KeyNames
    prefix: str
    """What stands before its keys."""
    tensors: dict[str, Tensor]
    """By timm's keys: all below the prefix, also those that are not the backbone's."""
    keys: dict[str, str]
    """timm's key → the key in the file."""
    beside: list[str]
    """Keys of the file that are not below the prefix."""
    networks: int
    """How many fit as well, this one included: a checkpoint may hold the weights and their moving average."""


def find_backbone(state: Mapping[str, Tensor], backbone: Any) -> Found | None:
    """The tensors of a network like ``backbone``, made by timm without a classifier; None where nothing resembles it.

    Of several that fit alike a moving average is taken, as it is what would be evaluated, then the one that lies
    less deep.
    """
    own = backbone.state_dict()
    found: list[tuple[int, bool, int, Found]] = []
    for names in (KeyNames("timm", next(iter(own)), _keep, False), *_OTHER_NAMES):
        for key in state:
            prefix = key.removesuffix(names.stem)
            if key != prefix + names.stem or (prefix and not prefix.endswith(".")):
                continue
            inside = [k.removeprefix(prefix) for k in state if k.startswith(prefix)]
            renamed = names.rename(inside, backbone)
            tensors = {renamed[k]: state[prefix + k] for k in inside}
            # Counts of batches, which averages are often kept without, make no network the better one.
            weighty = ((k, v) for k, v in tensors.items() if k in own and not k.endswith(COUNTER))
            fitting = sum(_fits(own[k].shape, v.shape) for k, v in weighty)
            beside = [k for k in state if not k.startswith(prefix)]
            average = bool(_AVERAGED.search(prefix))
            keys = {renamed[k]: prefix + k for k in inside}
            found.append((fitting, average, -len(prefix), Found(names, prefix, tensors, keys, beside, 1)))
    if not found:
        return None
    best = max(found, key=lambda candidate: candidate[:3])
    return replace(best[3], networks=sum(candidate[0] == best[0] for candidate in found))


def _fits(ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
    return ours == theirs or (len(ours) == len(theirs) == 4 and (theirs[1], ours[1]) in ((3, 1), (1, 3)))


def no_part(key: str, own: Mapping[str, Tensor]) -> bool:
    """Whether a key is none of a backbone's: a head, a neck, normalisation of the input, a note of a profiler.

    A key within a module that the backbone has is one, and to be refused: the network may be a deeper one.
    """
    modules = {k.partition(".")[0] for k in own}
    foreign = key.partition(".")[0] not in modules or key.startswith(HEADS) or key.endswith(_NOTES)
    return key not in own and foreign


def group_keys(keys: Iterable[str], prefix: str) -> dict[str, int]:
    """Keys that were left out, by the module where they part from the backbone's prefix → how many tensors."""
    groups: dict[str, int] = {}
    path = prefix.split(".")[:-1]
    for key in keys:
        parts = key.split(".")
        shared = next((i for i, (a, b) in enumerate(zip(parts, path, strict=False)) if a != b), len(path))
        name = ".".join(parts[: shared + 1])
        groups[name] = groups.get(name, 0) + 1
    return groups


def _keep(keys: Iterable[str], backbone: Any) -> dict[str, str]:
    return {key: key for key in keys}


def _block_names(backbone: Any) -> list[str]:
    """timm's names of the blocks, in the order of the network: other toolboxes cut the stages otherwise, or not."""
    return [f"blocks.{s}.{i}" for s, stage in enumerate(getattr(backbone, "blocks", ())) for i in range(_length(stage))]


def _length(stage: Any) -> int:
    return len(stage) if hasattr(stage, "__len__") else 0  # of a transformer's blocks


def _from_efficientnet_pytorch(keys: Iterable[str], backbone: Any) -> dict[str, str]:
    keys = list(keys)
    blocks = _block_names(backbone)
    expanded = {match[1] for key in keys if (match := re.match(r"_blocks\.(\d+)\._expand_conv\.", key))}
    renamed = {}
    for key in keys:
        module, _, parameter = key.rpartition(".")
        name = _EFFICIENTNET_PYTORCH_ENDS.get(module, module)
        if match := _EFFICIENTNET_PYTORCH_BLOCK.fullmatch(module):
            inside = _EFFICIENTNET_PYTORCH_EXPANDED if match[1] in expanded else _EFFICIENTNET_PYTORCH_PLAIN
            number = int(match[1])
            # One too many keeps a name within the blocks, where it is refused: the network is a deeper one.
            place = blocks[number] if number < len(blocks) else f"blocks.{number}"
            name = f"{place}.{inside.get(match[2], match[2])}"
        renamed[key] = f"{name}.{parameter}" if name else parameter
    return renamed


def _from_mmpretrain(keys: Iterable[str], backbone: Any) -> dict[str, str]:
    keys = list(keys)
    matches = [m for key in keys if (m := _MMPRETRAIN_BLOCK.fullmatch(key))]
    found = sorted({(int(m[1]), int(m[2])) for m in matches})
    names = [*_block_names(backbone), *(f"blocks.layers.{layer}.{i}" for layer, i in found)]
    place = dict(zip(found, names, strict=False))
    expanded = {(int(m[1]), int(m[2])) for m in matches if m[3].startswith("expand_conv.")}
    last = max(int(key.split(".")[1]) for key in keys if re.match(r"layers\.\d+\.", key))
    ends = {"layers.0.conv": "conv_stem", "layers.0.bn": "bn1",
            f"layers.{last}.conv": "conv_head", f"layers.{last}.bn": "bn2"}  # fmt: skip
    renamed = {}
    for key in keys:
        module, _, parameter = key.rpartition(".")
        name = ends.get(module, module)
        if match := _MMPRETRAIN_BLOCK.fullmatch(module):
            block = int(match[1]), int(match[2])
            inside = _MMPRETRAIN_EXPANDED if block in expanded else _MMPRETRAIN_PLAIN
            name = f"{place[block]}.{inside.get(match[3], match[3])}"
        renamed[key] = f"{name}.{parameter}" if name else parameter
    return renamed


_OTHER_NAMES = (
    KeyNames("efficientnet_pytorch", "_conv_stem.weight", _from_efficientnet_pytorch, True),
    KeyNames("mmpretrain", "layers.0.conv.weight", _from_mmpretrain, True),
)
