"""The loss of a batch. A new kind of loss is a key of :class:`rsna.config.training.LossSettings` and a branch here."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rsna.config.training import LossSettings
from rsna.dataset.targets import Target
from rsna.model.heads import output_slices


def target_loss(
    logits: Tensor,
    labels: Tensor,
    targets: Sequence[Target],
    settings: LossSettings | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of every target, with missing labels left out.

    It is divided by the batch, not by the number of labels that are there: only so do two devices, or two
    accumulated micro-batches, give the gradient of the whole batch.

    Args:
        logits: (B, outputs) float.
        labels: (B, targets) float, class indices; NaN where missing.
        targets: In the order of the labels' columns.
        settings: Smoothing and weights; None is the plain loss, as validation reports it.
        weight: (B,) float, what each row counts; None where all count alike.

    Returns:
        Scalar, float32.
    """
    settings = settings or LossSettings()
    loss = logits.new_zeros((), dtype=torch.float32)
    for column, outputs in enumerate(output_slices(targets)):
        known = ~labels[:, column].isnan()
        # In float32 under mixed precision, too: exponentials leave the range of fp16.
        each = _cross_entropy(logits[:, outputs].float(), labels[:, column].nan_to_num(), settings)  # (B,)
        each = each if weight is None else each * weight
        share = 1.0 if column == 0 else settings.auxiliary_weight
        loss = loss + share * torch.where(known, each, 0.0).sum() / len(labels)
    return loss


def mixed_loss(
    logits: Tensor,
    labels: Tensor,
    other_labels: Tensor,
    share: float,
    targets: Sequence[Target],
    settings: LossSettings | None = None,
    weights: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """The loss of examples that are ``share`` of one example and the rest of another, as mixup makes them.

    Zhang, Cisse, Dauphin, Lopez-Paz: mixup (2018). ``weights`` are the two examples'.
    """
    own, others = weights or (None, None)
    first = target_loss(logits, labels, targets, settings, own)
    if share == 1:
        return first
    return share * first + (1 - share) * target_loss(logits, other_labels, targets, settings, others)


def image_shares(example: Tensor, other: Tensor | None, n_examples: int) -> Tensor:
    """What each image counts in the loss of images: every breast alike, however many images it has.

    Args:
        example: (N,) int64, the number of each image's example.
        other: (N,) bool, images of the other breast, which have no label here; None where there are none.
        n_examples: Of the batch, by which the loss is to be divided, as that of examples is.

    Returns:
        (N,) float32, for :func:`target_loss`.
    """
    own = torch.ones_like(example, dtype=torch.float32) if other is None else (~other).float()
    images = torch.zeros(n_examples, device=own.device).index_add(0, example, own).clamp(min=1)
    return own / images[example] * len(example) / n_examples


def _cross_entropy(logits: Tensor, classes: Tensor, settings: LossSettings) -> Tensor:
    """(B, 1) logits of the second of two classes, or (B, classes), against (B,) class indices → (B,)."""
    smoothing = settings.label_smoothing
    if logits.shape[1] == 1:
        soft = classes * settings.soft_positive * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits[:, 0], soft, reduction="none")
    return functional.cross_entropy(logits, classes.long(), reduction="none", label_smoothing=smoothing)
