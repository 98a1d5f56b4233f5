"""The loss is a sum over targets divided by the batch; missing labels add nothing."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from rsna.config.settings import fields_of
from rsna.config.training import LossSettings
from rsna.dataset.targets import get_targets
from rsna.training.losses import image_shares, target_loss

NAN = math.nan


def test_it_equals_pytorchs_losses_where_all_labels_are_there():
    torch.manual_seed(0)
    targets = get_targets(("cancer", "BIRADS"))
    logits, labels = torch.randn(6, 4), torch.tensor([[0, 2], [1, 0], [1, 1], [0, 0], [1, 2], [0, 1]]).float()
    expected = functional.binary_cross_entropy_with_logits(logits[:, 0], labels[:, 0])
    expected = expected + functional.cross_entropy(logits[:, 1:], labels[:, 1].long())
    torch.testing.assert_close(target_loss(logits, labels, targets), expected)


@pytest.mark.parametrize("key", [key for key in fields_of(LossSettings) if key != "image_weight"])  # of the module
def test_every_key_acts(key):
    targets = get_targets(("cancer", "BIRADS"))
    logits, labels = torch.linspace(-2, 2, 24).view(6, 4), torch.tensor([[0, 2], [1, 0], [1, 1]] * 2).float()
    plain = LossSettings()
    changed = replace(plain, **{key: getattr(plain, key) * 0.9 or 0.1})
    assert target_loss(logits, labels, targets, changed) != target_loss(logits, labels, targets, plain), (
        f"loss.{key} changes no loss: write its arithmetic in rsna/training/losses.py"
    )


def test_missing_labels_add_neither_loss_nor_gradient():
    targets = get_targets(("cancer", "biopsy"))
    logits = torch.randn(4, 2, requires_grad=True)
    labels = torch.tensor([[1, NAN], [0, NAN], [NAN, NAN], [NAN, 1.0]])
    target_loss(logits, labels, targets).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.eq(0), labels.isnan())


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_average_to_the_whole_however_labels_are_missing(parts):
    targets = get_targets(("cancer", "density"))
    logits = torch.randn(8, 5)
    labels = torch.stack([torch.randint(0, 2, (8,)), torch.randint(0, 4, (8,))], 1).float()
    labels[torch.rand(8, 2) < 0.4] = NAN
    whole = target_loss(logits, labels, targets)
    chunks = zip(logits.chunk(parts), labels.chunk(parts), strict=True)
    torch.testing.assert_close(torch.stack([target_loss(*chunk, targets) for chunk in chunks]).mean(), whole)


def test_an_example_of_weight_two_counts_as_two():
    torch.manual_seed(0)
    targets = get_targets(("cancer", "density"))
    logits, labels = torch.randn(4, 5), torch.tensor([[0.0, 1], [1, 2], [0, float("nan")], [1, 3]])
    weight = torch.tensor([1.0, 2.0, 1.0, 0.0])
    found = target_loss(logits, labels, targets, weight=weight) * 4
    rows = torch.tensor([0, 1, 1, 2])
    torch.testing.assert_close(found, target_loss(logits[rows], labels[rows], targets) * 4)
    torch.testing.assert_close(
        target_loss(logits, labels, targets, weight=torch.ones(4)), target_loss(logits, labels, targets)
    )


def test_images_count_by_their_share_of_a_breast_and_those_of_the_other_side_do_not():
    example = torch.tensor([0, 0, 0, 1, 1])
    other = torch.tensor([False, False, True, False, False])
    logits, labels = torch.randn(5, 1), torch.tensor([[1.0], [1.0], [1.0], [0.0], [0.0]])
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")[:, 0]
    shares = image_shares(example, other, 2)
    expected = (each[[0, 1]].mean() + each[[3, 4]].mean()) / 2
    torch.testing.assert_close(target_loss(logits, labels, get_targets(("cancer",)), weight=shares), expected)
    # Breasts in two micro-batches, as ranks and accumulation divide them, give the same mean.
    parts = [
        target_loss(
            logits[k], labels[k], get_targets(("cancer",)), weight=image_shares(example[k] - example[k][0], other[k], 1)
        )
        for k in (slice(0, 3), slice(3, 5))
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), expected)
