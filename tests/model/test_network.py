"""Networks start as they should and take images as they lie in the cache."""

import pytest
import torch

from rsna.model.network import build_model
from rsna.model.settings import ModelSettings
from rsna.settings import ConfigError

SCRATCH = ModelSettings(backbone="efficientnet_b0", pretrained=False)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model(SCRATCH, 3)


def test_the_classifier_starts_at_zero(network):
    assert network(torch.rand(2, 1, 64, 32)).eq(0).all()


def test_whole_numbers_and_fractions_are_the_same_image(network):
    eight = torch.randint(0, 256, (2, 1, 64, 32), dtype=torch.uint8)
    sixteen = (eight.int() * 257).to(torch.uint16)
    for whole in (eight, sixteen):
        torch.testing.assert_close(network.normalise(whole), network.normalise(eight.float() / 255))


def test_one_step_on_a_fixed_batch_lowers_the_loss(network):
    images, labels = torch.rand(4, 1, 64, 32), torch.tensor([0.0, 1.0, 0.0, 1.0])
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(images)[:, 0], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


@pytest.mark.parametrize("pooling", ["avg", "max", "gem"])
def test_pooling_reduces_positions(pooling):
    model = build_model(ModelSettings(backbone="efficientnet_b0", pretrained=False, pooling=pooling), 1)
    features = torch.rand(2, 5, 3, 4)
    pooled = model.pooling(features)
    expected = {
        "avg": features.mean((2, 3)),
        "max": features.amax((2, 3)),
        "gem": (features**3).mean((2, 3)) ** (1 / 3),
    }
    torch.testing.assert_close(pooled, expected[pooling])


def test_an_unknown_backbone_is_refused_with_near_names():
    with pytest.raises(ConfigError, match="timm has no 'efficentnet_b3'; near it: .*efficientnet_b3"):
        build_model(ModelSettings(backbone="efficentnet_b3", pretrained=False), 1)


def test_weights_and_pretrained_exclude_each_other():
    with pytest.raises(ConfigError, match="exclude each other"):
        ModelSettings(pretrained=True, weights="x.pth")
