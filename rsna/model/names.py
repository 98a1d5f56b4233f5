"""Names of backbones: timm's own, and those of other toolboxes for the same EfficientNets."""

import difflib
import re

import timm

from rsna.config.settings import ConfigError

INITS = {
    "ra": "RandAugment",
    "ra2": "RandAugment",
    "ra4_e3600_r224": "RandAugment, longer",
    "ra4_e3600_r240": "RandAugment, longer",
    "ft": "fine-tuned",
    "": "plain",
    "aa": "AutoAugment",
    "ap": "AdvProp",
    "ns_jft": "noisy student",
    "sw": "ImageNet-12k",
    "sw_in12k_ft": "ImageNet-12k, fine-tuned",
}
"""What timm's tags say about where weights come from; `in1k` behind them left out."""

_OTHER = re.compile(r"efficientnet[-_](b[0-8]|l2)(?:[-_](.+))?")
_RECIPES = (
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
        if tag and name not in timm.list_pretrained(f"{stem}.*"):
            raise ConfigError(f"model.backbone: timm has no weights {tag!r} of {stem}; it has {_tags(stem)}")
        return name
    other = _OTHER.fullmatch(name)
    if other and not (other[2] or "").startswith("pruned"):
        return _from_mmpretrain(f"tf_efficientnet_{other[1]}", other[2] or "")
    known = [*timm.list_models(), *timm.list_pretrained("*efficientnet*")]
    near = ", ".join(difflib.get_close_matches(name.replace("-", "_"), known, n=5)) or "nothing"
    raise ConfigError(f"model.backbone: timm has no {name!r}; near it: {near}")


def init_families(stem: str) -> list[str]:
    """Tags of the weights that timm has for a network: ``ns_jft_in1k``, …"""
    return [name.partition(".")[2] for name in timm.list_pretrained(f"{stem}.*") if name.startswith(f"{stem}.")]


def describe_init(tag: str) -> str:
    """A tag in words: ``noisy student`` for ``ns_jft_in1k``."""
    small = " at 475 px" if tag.endswith("_475") else ""
    stem = tag.removesuffix("_475")
    for ending in ("_in1k", "in1k", "_in12k"):
        if stem.endswith(ending):
            stem = stem.removesuffix(ending)
            break
    return INITS.get(stem, stem) + small


def _from_mmpretrain(stem: str, words: str) -> str:
    if not words or re.fullmatch(r"8xb\d+_in1k", words):
        return stem
    tag = next((tag for word, tag in _RECIPES if re.search(rf"(^|[-_]){word}([-_]|$)", words)), "in1k")
    if words.endswith("475px"):
        tag += "_475"
    if tag not in init_families(stem):
        raise ConfigError(f"model.backbone: timm has no weights {tag!r} of {stem}; it has {_tags(stem)}")
    return f"{stem}.{tag}"


def _tags(stem: str) -> str:
    return ", ".join(f"{stem}.{tag}" for tag in init_families(stem)) or "none"
