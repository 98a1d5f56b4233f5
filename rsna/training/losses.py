"""The loss: summed over targets and images, divided by the batch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rsna.dataset.targets import Target
from rsna.model.heads import output_slices


def target_loss(logits: Tensor, labels: Tensor, targets: Sequence[Target]) -> Tensor:
    """Cross-entropy of every target, with missing labels left out.

    It is divided by the batch, not by the number of labels that are there: only so do two devices, or two
    accumulated micro-batches, give the gradient of the whole batch.

    Args:
        logits: (B, outputs) float.
        labels: (B, targets) float, class indices; NaN where missing.
        targets: In the order of the labels' columns.

    Returns:
        Scalar, float32.
    """
    loss = logits.new_zeros((), dtype=torch.float32)
    for column, (target, outputs) in enumerate(zip(targets, output_slices(targets), strict=True)):
        known = ~labels[:, column].isnan()
        classes = labels[:, column].nan_to_num()
        part = logits[:, outputs].float()
        if target.outputs == 1:
            each = functional.binary_cross_entropy_with_logits(part[:, 0], classes, reduction="none")  # (B,)
        else:
            each = functional.cross_entropy(part, classes.long(), reduction="none")  # (B,)
        loss = loss + torch.where(known, each, 0.0).sum() / len(labels)
    return loss
