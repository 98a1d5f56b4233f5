"""Fusion: the features of an example's images, in any number and order, become one row.

Nothing is padded. Images lie one behind the other, (N, C), and a number says to which example each belongs; a view that
is not there takes no part. Every result has N rows, of which row b is example b and rows from B on are zeros: a result
of B rows would have a shape that depends on values, so a GPU would have to be waited for, and a compiled or exported
network could not have it.
"""

from collections.abc import Callable

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from rsna.config.model import FusionSettings

Fused = tuple[Tensor, Tensor]
"""(N, C) features of examples, in the type of those of the images; (N,) float32 weight of each image within its
example: they sum to 1 over those that count, and are 0 of others."""


class MeanFusion(nn.Module):
    """Mean over the images of each example."""

    def forward(self, features: Tensor, example: Tensor, counts: Tensor | None = None) -> Fused:
        """Joins the features of images.

        Args:
            features: (N, C) float, one row an image.
            example: (N,) int64, the number of each image's example, 0 to B - 1.
            counts: (N,) bool, images that take part; None where all do. An example without any is a row of zeros.
        """
        one = torch.ones_like(example, dtype=torch.float32)
        one = one if counts is None else one * counts
        number = torch.zeros_like(one).index_add(0, example, one).clamp(min=1)  # (N,)
        values = features if counts is None else torch.where(counts[:, None], features, 0)
        fused = sum_of_examples(values, example) / number[:, None]
        return fused.to(features.dtype), one / number[example]


class MaxFusion(nn.Module):
    """Maximum of each feature over the images of each example; an image's weight is the share of features it gives."""

    def forward(self, features: Tensor, example: Tensor, counts: Tensor | None = None) -> Fused:
        """See :meth:`MeanFusion.forward`; of equal images each has its share."""
        largest = max_of_examples(features, example, counts)  # (N, C)
        first = (features == largest[example]).float()
        first = first if counts is None else first * counts[:, None]
        ties = sum_of_examples(first, example)[example].clamp(min=1)
        return largest, (first / ties).mean(dim=1)


class AttentionFusion(nn.Module):
    """Gated attention: a weight for each image, learnt; weights of an example sum to 1.

    Ilse, Tomczak, Welling: Attention-based deep multiple instance learning (2018), equation 9: the weight of features h
    is the softmax, over the images, of wᵀ(tanh(V h) ⊙ sigmoid(U h)). It starts as the mean, with w at zero.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(channels, width)
        self.gate = nn.Linear(channels, width)
        self.score = nn.Linear(width, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, features: Tensor, example: Tensor, counts: Tensor | None = None) -> Fused:
        """See :meth:`MeanFusion.forward`."""
        weights = self.weigh(features, example, counts)
        return weighted_sum(features, weights, example, counts), weights

    def weigh(self, features: Tensor, example: Tensor, counts: Tensor | None = None) -> Tensor:
        """(N,) float32, the weight of each image."""
        score = self.score(self.value(features).tanh() * self.gate(features).sigmoid())[:, 0]
        return softmax_of_examples(score.float(), example, counts)


class TransformerFusion(nn.Module):
    """Images of an example look at each other, then gated attention weighs them.

    Layers are those of Dosovitskiy et al.: An image is worth 16×16 words (2020), pre-norm, as timm has them, over the
    images of an example in place of patches, in ``width`` features. Images have no order; what tells them apart is the
    view that their features carry. The result is added to the weighted mean of the features by a layer that starts at
    zero, as the weights start equal: a network begins as one that takes the mean, for small sets teach little.
    """

    def __init__(self, channels: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.narrow = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.layers = nn.ModuleList([Block(width, heads, qkv_bias=True) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.attention = AttentionFusion(width, width)
        self.widen = nn.Linear(width, channels)
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, features: Tensor, example: Tensor, counts: Tensor | None = None) -> Fused:
        """See :meth:`MeanFusion.forward`."""
        # Softmax gives images of other examples a weight of 0, and 0 × ∞ is no number; the mean below shows them.
        finite = features.isfinite().all(dim=1)
        tokens = self.narrow(torch.where(finite[:, None], features, 0))[None]  # (1, N, width)
        sees = example[:, None] == example
        if counts is not None:
            # Itself, too, where it does not count: a softmax over nothing is no number.
            place = torch.ones_like(example).cumsum(0)  # no arange of N, which an exported network would keep
            sees = sees & counts | (place[:, None] == place)
        for layer in self.layers:
            tokens = layer(tokens, attn_mask=sees[None, None])
        seen, weights = self.attention(self.norm(tokens)[0], example, counts)
        mean = weighted_sum(features, weights, example, counts)
        present = sum_of_examples(weights[:, None], example) > 0  # (N, 1)
        return torch.where(present, mean + self.widen(seen), 0).to(features.dtype), weights


FUSIONS: dict[str, Callable[[FusionSettings, int], nn.Module]] = {
    "mean": lambda settings, channels: MeanFusion(),
    "max": lambda settings, channels: MaxFusion(),
    "attention": lambda settings, channels: AttentionFusion(channels, settings.width),
    "transformer": lambda settings, channels: TransformerFusion(
        channels, settings.width, settings.heads, settings.layers
    ),
}
"""``fusion.kind`` → the module, over features of so many channels."""


def build_fusion(settings: FusionSettings, channels: int) -> nn.Module:
    """The fusion that ``settings`` ask for, over features of ``channels``."""
    return FUSIONS[settings.kind](settings, channels)


class BreastDifference(nn.Module):
    """An example's features and what sets them apart from those of the exam's other breast, where it is there.

    The difference passes a layer that starts at zero. Without another breast nothing is added, not the difference to a
    breast of zeros, which no woman has.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.layer.weight)

    def forward(self, own: Tensor, other: Tensor, present: Tensor) -> Tensor:
        """(N, C) of examples, (N, C) of their other breasts, (N,) bool whether these are there → (N, C)."""
        difference = torch.where(present[:, None], own - other, 0)
        joined: Tensor = own + self.layer(difference)
        return joined


def sum_of_examples(values: Tensor, example: Tensor) -> Tensor:
    """(N, C) of images → (N, C) float32 sums; in float32, as bf16 loses bits in every sum."""
    return torch.zeros_like(values, dtype=torch.float32).index_add(0, example, values.float())


def max_of_examples(values: Tensor, example: Tensor, counts: Tensor | None = None) -> Tensor:
    """(N, C) of images → (N, C) maxima over those that count; 0 where none does."""
    lowest = torch.finfo(values.dtype).min
    values = values if counts is None else torch.where(counts[:, None], values, lowest)
    start = torch.full_like(values, lowest)
    largest = start.scatter_reduce(0, example[:, None].expand_as(values), values, "amax")
    return torch.where(largest == lowest, 0, largest)


def softmax_of_examples(score: Tensor, example: Tensor, counts: Tensor | None = None) -> Tensor:
    """(N,) float32 scores of images → (N,) weights, which sum to 1 over those of an example that count."""
    # The largest score only keeps exponentials in range: no gradient passes through it.
    largest = max_of_examples(score.detach()[:, None], example, counts)[:, 0]
    raised = (score - largest[example]).exp()
    raised = raised if counts is None else torch.where(counts, raised, 0)
    total = torch.zeros_like(raised).index_add(0, example, raised)
    return raised / torch.where(total > 0, total, 1)[example]


def weighted_sum(features: Tensor, weights: Tensor, example: Tensor, counts: Tensor | None = None) -> Tensor:
    """(N, C) features of images by their (N,) weights → (N, C) of examples, in the features' type."""
    values = features if counts is None else torch.where(counts[:, None], features, 0)
    return sum_of_examples(values.float() * weights[:, None], example).to(features.dtype)
