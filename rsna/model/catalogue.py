"""Every EfficientNet with its weights and its size, as a table or as JSON: what `rsna models` prints."""

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from rsna.config.verbs import ModelsOptions
from rsna.model.backbone import weight_tags
from rsna.parallel.progress import Progress

ORIGINS = {
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

COUNTER = "torch.utils.flop_counter.FlopCounterMode"
"""What counts; a multiply-add is two of its operations. It sees convolutions and matrix products, nothing else."""

INPUT_SIZES = {
    "b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600, "b8": 672,
    "b1_pruned": 240, "b2_pruned": 260, "b3_pruned": 300,
}  # fmt: skip
"""Side of the square input that a variant was made for, pixels.

Tan, Le: EfficientNet (2019); b8 from AdvProp (2020), the pruned ones from Aflalo et al.: Knapsack pruning (2020).
"""
L2_SIZES = (475, 800)
"""Two sets of weights, each with its input size; Xie et al.: Self-training with noisy student (2020)."""


@dataclass(frozen=True)
class Variant:
    """One network of the family."""

    name: str
    """timm's name, as model.backbone takes it."""
    side: int
    """Side of its own square input, pixels."""
    tags: tuple[str, ...]
    """Tags of the weights that timm has; model.backbone=<name>.<tag> takes one."""

    @property
    def origins(self) -> str:
        """The tags in words."""
        return ", ".join(dict.fromkeys(describe_weights(tag) for tag in self.tags)) or "from scratch only"


@dataclass(frozen=True)
class Size:
    """How large a network is, with ImageNet's 3 channels and 1000 classes."""

    params: int
    macs: int
    """Multiply-adds for one image."""


def variants() -> Iterator[Variant]:
    """Every EfficientNet of timm's two families: its own training, and tf_ with the weights of the papers."""
    for short, side in INPUT_SIZES.items():
        for name in (f"efficientnet_{short}", f"tf_efficientnet_{short}"):
            if timm.is_model(name) and (tags := weight_tags(name)):
                yield Variant(name, side, tuple(tags))
    for side in L2_SIZES:
        tag = "ns_jft_in1k_475" if side == 475 else "ns_jft_in1k"
        yield Variant(f"tf_efficientnet_l2.{tag}", side, (tag,))


@functools.cache
def measure(name: str, rows: int, columns: int, in_chans: int = 3, classes: int = 1000) -> Size:
    """Counts on the meta device: no memory, no arithmetic."""
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False, in_chans=in_chans, num_classes=classes).eval()
        image = torch.empty(1, in_chans, rows, columns)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    return Size(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)


def describe_weights(tag: str) -> str:
    """A tag in words: ``noisy student`` for ``ns_jft_in1k``."""
    small = " at 475 px" if tag.endswith("_475") else ""
    stem = re.sub("(_?in1k|_in12k)$", "", tag.removesuffix("_475"))
    return ORIGINS.get(stem, stem) + small


def list_models(options: ModelsOptions) -> str:
    """Every EfficientNet: what `rsna models` prints."""
    found = list(variants())
    with Progress("count", len(found), "networks") as progress:
        own = [measure(variant.name, variant.side, variant.side) for variant in progress.over(found)]
    if options.format == "json":
        return json.dumps(
            [
                {
                    "name": variant.name,
                    "params": size.params,
                    "macs": size.macs,
                    "input_size": [variant.side, variant.side],
                }
                for variant, size in zip(found, own, strict=True)
            ],
            indent=2,
        )
    rows, columns = options.size
    here = f"G at {rows}×{columns}"
    lines = [f"{'model.backbone':<36}{'params M':>9}{'input':>7}{'G':>9}{here:>15}  weights"]
    with Progress(f"count at {rows}×{columns}", len(found), "networks") as progress:
        grey = [measure(variant.name, rows, columns, in_chans=1) for variant in progress.over(found)]
    for variant, size, here_size in zip(found, own, grey, strict=True):
        lines.append(
            f"{variant.name:<36}{size.params / 1e6:>9.2f}{variant.side:>7}{size.macs / 1e9:>9.2f}"
            f"{here_size.macs / 1e9:>15.2f}  {', '.join(variant.tags)} ({variant.origins})"
        )
    lines += [
        "",
        f"G: thousand millions of multiply-adds for one image, counted on the meta device by {COUNTER}: at the",
        f"network's own input with 3 channels, and at {rows}×{columns} with 1. Parameters: 3 channels, 1000 classes.",
        "model.backbone=<name>.<weights> takes one set of weights; any other timm network works as well. Names as in",
        "mmpretrain (efficientnet-b3_3rdparty-ra-noisystudent_in1k) are understood.",
    ]
    return "\n".join(lines)
