"""Every EfficientNet with its size: parameters and multiply-adds, counted on the meta device."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from rsna.model.names import describe_init, init_families

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
    inits: tuple[str, ...]
    """Tags of the weights that timm has; model.backbone=<name>.<tag> takes one."""

    @property
    def families(self) -> str:
        """The tags in words."""
        return ", ".join(dict.fromkeys(describe_init(tag) for tag in self.inits)) or "from scratch only"


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
            if timm.is_model(name) and (tags := init_families(name)):
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
