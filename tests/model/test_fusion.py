"""Images of an example are joined, and nothing of one example reaches another."""

from itertools import permutations

import pytest
import torch
from torch.nn import functional

from rsna.config.model import FusionSettings, ModelSettings
from rsna.dataset.examples import ExampleSpec
from rsna.model.fusion import AttentionFusion, MaxFusion, MeanFusion, TransformerFusion, build_fusion
from rsna.model.network import build_model

KINDS = ("mean", "max", "attention", "transformer")
EXAMPLE = torch.tensor([0, 0, 0, 1, 2, 2])


def randomised(module):
    """No parameter at zero: what starts as the mean would hide what it can learn."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module.eval()


def fusion(kind, channels=6):
    return randomised(build_fusion(FusionSettings(kind, width=8, heads=2, layers=2), channels))


def breast_network(kind="mean", **spec):
    torch.manual_seed(0)
    settings = ModelSettings("test_efficientnet", False, drop_rate=0.0)
    made = build_model(settings, 2, ExampleSpec("breast", FusionSettings(kind, width=8, heads=2), **spec)).eval()
    for part in (made.fusion, made.classifier, made.comparison, made.table_embedding):
        if part is not None:
            randomised(part)
    return made


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = build_model(ModelSettings("test_efficientnet", False), 2).eval()
    torch.nn.init.normal_(made.classifier.weight)
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_is_over_the_images_of_each_example(dtype):
    features = torch.randn(6, 3).to(dtype)
    found, _ = MeanFusion()(features, EXAMPLE)
    expected = torch.stack([features[:3].float().mean(0), features[3].float(), features[4:].float().mean(0)])
    torch.testing.assert_close(found[:3], expected.to(dtype))
    assert found.dtype == dtype
    assert found[3:].eq(0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_what_is_not_finite_stays_in_its_example_and_shows_there(kind, value):
    features = torch.randn(4, 6)
    clean, _ = fusion(kind)(features, torch.tensor([0, 0, 1, 1]))
    features[0] = value
    found, _ = fusion(kind)(features, torch.tensor([0, 0, 1, 1]))
    assert not found[0].isfinite().any()
    torch.testing.assert_close(found[1], clean[1])


def test_the_maximum_is_of_each_feature_and_weights_are_shares_of_features():
    features = torch.tensor([[1.0, 5, 2, 0], [4, 1, 2, 7], [-3, -4, -5, -6]])
    found, weights = MaxFusion()(features, torch.tensor([0, 0, 1]))
    assert found.tolist() == [[4, 5, 2, 7], [-3, -4, -5, -6], [0, 0, 0, 0]]
    assert weights.tolist() == [0.375, 0.625, 1]  # one feature, and half of the one that both have


def test_gated_attention_is_equation_9_of_ilse_tomczak_and_welling():
    made = randomised(AttentionFusion(6, 8))
    features = torch.randn(6, 6)
    found, weights = made(features, EXAMPLE)
    for number, rows in enumerate(([0, 1, 2], [3], [4, 5])):
        scores = []
        for h in features[rows]:
            seen, gate = torch.tanh(made.value(h)), torch.sigmoid(made.gate(h))
            scores.append(made.score.weight[0] @ (seen * gate) + made.score.bias[0])
        expected = torch.stack(scores).softmax(0)
        torch.testing.assert_close(weights[rows], expected)
        torch.testing.assert_close(found[number], (expected[:, None] * features[rows]).sum(0))


def test_scores_of_any_size_make_weights():
    made = randomised(AttentionFusion(6, 8))
    made.score.weight.data *= 1e4
    _, weights = made(torch.randn(6, 6), EXAMPLE)
    assert weights.isfinite().all()
    torch.testing.assert_close(torch.zeros(3).index_add(0, EXAMPLE, weights), torch.ones(3))


def test_the_transformer_is_that_of_each_example_by_itself():
    made = fusion("transformer")
    features = torch.randn(6, 6)
    found, weights = made(features, EXAMPLE)
    for number, rows in enumerate(([0, 1, 2], [3], [4, 5])):
        tokens = made.narrow(features[rows])[None]
        for layer in made.layers:
            tokens = layer(tokens)
        seen, alone = made.attention(made.norm(tokens)[0], torch.zeros(len(rows), dtype=torch.int64))
        torch.testing.assert_close(weights[rows], alone)
        expected = (alone[:, None] * features[rows]).sum(0) + made.widen(seen[0])
        torch.testing.assert_close(found[number], expected)


def test_a_layer_of_the_transformer_is_pre_norm_attention_and_a_perceptron():
    """Against torch's own arithmetic, so that another version of timm cannot change what weights mean."""
    layer = randomised(TransformerFusion(6, 8, 2, 1)).layers[0]
    x = start = torch.randn(1, 3, 8)
    normed = functional.layer_norm(x, (8,), layer.norm1.weight, layer.norm1.bias, layer.norm1.eps)
    q, k, v = (normed @ layer.attn.qkv.weight.T + layer.attn.qkv.bias).chunk(3, dim=2)
    heads = []
    for columns in (slice(0, 4), slice(4, 8)):
        scores = q[..., columns] @ k[..., columns].transpose(1, 2) / 2  # the root of 4 features a head
        heads.append(scores.softmax(2) @ v[..., columns])
    x = x + layer.attn.proj(torch.cat(heads, dim=2))
    normed = functional.layer_norm(x, (8,), layer.norm2.weight, layer.norm2.bias, layer.norm2.eps)
    expected = x + layer.mlp.fc2(functional.gelu(layer.mlp.fc1(normed)))
    torch.testing.assert_close(layer(start, attn_mask=torch.ones(1, 1, 3, 3, dtype=torch.bool)), expected)


@pytest.mark.parametrize("kind", ["attention", "transformer"])
def test_what_is_learnt_starts_as_the_mean(kind):
    made = build_fusion(FusionSettings(kind, width=8, heads=2), 6)
    features = torch.randn(6, 6)
    found, weights = made(features, EXAMPLE)
    mean, equal = MeanFusion()(features, EXAMPLE)
    torch.testing.assert_close(found, mean)
    torch.testing.assert_close(weights, equal)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_images_changes_nothing(kind):
    made, features = fusion(kind), torch.randn(4, 6)
    example = torch.tensor([0, 0, 0, 1])
    expected, weights = made(features, example)
    for order in permutations(range(4)):
        found, w = made(features[list(order)], example[list(order)])
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(w, weights[list(order)])


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_do_not_count_are_as_if_they_were_not_there(kind):
    made, features = fusion(kind), torch.randn(6, 6)
    counts = torch.tensor([True, False, True, False, True, True])
    found, weights = made(features, EXAMPLE, counts)
    expected, alone = made(features[counts], EXAMPLE[counts])
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]])
    torch.testing.assert_close(weights[counts], alone)
    assert weights[~counts].eq(0).all()
    assert found[1].eq(0).all()  # an example of no image
    assert found[3:].eq(0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_numbers_and_stay_within_the_example(kind):
    made = fusion(kind).train()
    features = torch.randn(6, 6, requires_grad=True)
    counts = torch.tensor([True, True, True, False, True, True])
    made(features, EXAMPLE, counts)[0][0].sum().backward()
    assert features.grad.isfinite().all()
    assert features.grad[3:].eq(0).all()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_breast_of_one_image_and_of_many_has_a_prediction(kind):
    network = breast_network(kind)
    images = torch.rand(9, 1, 32, 32)
    example = torch.tensor([0, *[1] * 8])
    logits = network(images, example)[:2]
    torch.testing.assert_close(logits[:1], network(images[:1]))
    torch.testing.assert_close(logits[1:], network(images[1:], torch.zeros(8, dtype=torch.int64))[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_breast_enters_as_a_difference(kind):
    network = breast_network(kind, compare=True)
    images, example = torch.rand(5, 1, 32, 32), torch.tensor([0, 0, 0, 1, 1])
    other = torch.tensor([False, False, True, False, False])
    logits = network(images, example, None, other)[:2]
    pooled = network.pooling(network.backbone(network.normalise(images)))
    own, beside = (
        network.fusion(pooled[rows], torch.zeros(len(rows), dtype=torch.int64))[0][:1] for rows in ([0, 1], [2])
    )
    expected = network.classifier(own + (own - beside) @ network.comparison.layer.weight.T)
    torch.testing.assert_close(logits[:1], expected)
    # Where the other side is absent nothing is imagined in its place.
    alone = network.classifier(network.fusion(pooled[3:], torch.zeros(2, dtype=torch.int64))[0][:1])
    torch.testing.assert_close(logits[1:], alone)
    torch.testing.assert_close(logits[1:], network(images[3:], torch.zeros(2, dtype=torch.int64))[:1])


def test_equal_breasts_differ_in_nothing():
    network = breast_network(compare=True)
    images = torch.rand(1, 1, 32, 32).repeat(2, 1, 1, 1)
    numbers, other = torch.zeros(2, dtype=torch.int64), torch.tensor([False, True])
    torch.testing.assert_close(network(images, numbers, None, other)[:1], network(images[:1]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compare", [False, True])
def test_every_weight_has_a_gradient_whatever_the_batch_holds(kind, compare):
    """Ranks of DDP wait for every one: also where each breast has one image, and none has another side."""
    network = breast_network(kind, compare=compare).train()
    network(torch.rand(2, 1, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mean", "transformer"])
def test_a_compiled_network_joins_any_number_of_images_in_one_graph(kind):
    """No shape depends on values, which would break the graph in two."""
    network = breast_network(kind, compare=kind != "mean")
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=True)
    for example in ([0, 0, 1], [0, 1, 1, 1, 2], [0, 0]):
        images, numbers = torch.rand(len(example), 1, 32, 32), torch.tensor(example)
        other = torch.arange(len(example)).eq(1)
        with torch.no_grad():
            found = compiled(images, numbers, None, other)
            torch.testing.assert_close(found, network(images, numbers, None, other))


@pytest.mark.parametrize("kind", ["max", "attention"])
def test_a_compiled_fusion_is_one_graph(kind):
    made = fusion(kind)
    compiled = torch.compile(made, backend="aot_eager", fullgraph=True, dynamic=True)
    for example in (EXAMPLE, torch.tensor([0, 0])):
        features, counts = torch.randn(len(example), 6), torch.arange(len(example)).ne(1)
        with torch.no_grad():
            torch.testing.assert_close(compiled(features, example, counts), made(features, example, counts))
