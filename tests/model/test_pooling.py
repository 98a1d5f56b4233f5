"""Images of an example are joined, and nothing of one example reaches another."""

import pytest
import torch

from rsna.config.model import ModelSettings
from rsna.model.network import build_model
from rsna.model.pooling import MeanFusion


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = build_model(ModelSettings("test_efficientnet", False), 2).eval()
    torch.nn.init.normal_(made.classifier.weight)
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_is_over_the_images_of_each_example(dtype):
    features = torch.randn(6, 3).to(dtype)
    found = MeanFusion()(features, torch.tensor([0, 0, 0, 1, 2, 2]))
    expected = torch.stack([features[:3].float().mean(0), features[3].float(), features[4:].float().mean(0)])
    torch.testing.assert_close(found[:3], expected.to(dtype))
    assert found.dtype == dtype
    assert found[3:].eq(0).all()


def test_what_is_not_finite_stays_in_its_example():
    features = torch.ones(4, 2)
    features[0] = torch.inf
    found = MeanFusion()(features, torch.tensor([0, 0, 1, 1]))
    assert found[0].isinf().all()
    assert found[1].eq(1).all()


def test_examples_of_one_image_each_are_predicted_bit_for_bit_as_images(network):
    images = torch.rand(5, 1, 32, 32)
    assert torch.equal(network(images, torch.arange(5)), network(images))


def test_every_image_of_an_example_has_its_share_and_its_gradient(network):
    images = torch.rand(3, 1, 32, 32, requires_grad=True)
    logits = network(images, torch.tensor([0, 0, 1]))[:2]
    alone = network(images)
    torch.testing.assert_close(logits[0], alone[:2].mean(0))  # the classifier is linear
    torch.testing.assert_close(logits[1], alone[2])
    (gradient,) = torch.autograd.grad(logits[0].sum(), images)
    assert gradient[:2].flatten(1).abs().sum(1).gt(0).all()
    assert gradient[2].eq(0).all()


def test_a_compiled_network_joins_any_number_of_images_in_one_graph(network):
    """No shape depends on values, which would break the graph in two."""
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=True)
    for example in ([0, 0, 1], [0, 1, 1, 1, 2], [0, 0]):
        images, numbers = torch.rand(len(example), 1, 32, 32), torch.tensor(example)
        with torch.no_grad():
            torch.testing.assert_close(compiled(images, numbers), network(images, numbers))
