"""Networks start as they should and take images as they lie in the cache."""

import pytest
import timm
import torch
from timm.layers import DropPath

import rsna.model.network as network_module
from rsna.config.model import ModelSettings
from rsna.config.settings import ConfigError
from rsna.model.backbone import FeatureMap, Features
from rsna.model.network import build_model, check_sizes

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


@pytest.mark.parametrize("in_chans", [1, 3])
def test_grey_images_feed_one_or_three_channels(in_chans):
    model = build_model(ModelSettings("test_efficientnet", False, in_chans=in_chans), 1)
    images = torch.rand(2, 1, 32, 32)
    assert model.normalise(images).shape == (2, in_chans, 32, 32)
    assert model(images).shape == (2, 1)


def test_values_are_normalised_as_the_weights_know_them(monkeypatch):
    monkeypatch.setattr(network_module, "pretrained_backbone", lambda name, options: timm.create_model(name, **options))
    black, white = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    for name, in_chans, low, high in (
        ("tf_efficientnet_b0.ap_in1k", 1, [-1.0], [1.0]),
        ("tf_efficientnet_b0.ap_in1k", 3, [-1.0] * 3, [1.0] * 3),
        ("tf_efficientnet_b0.ns_jft_in1k", 1, [-0.449 / 0.226], [0.551 / 0.226]),
        ("tf_efficientnet_b0.ns_jft_in1k", 3, [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], None),
    ):
        model = build_model(ModelSettings(name, True, in_chans=in_chans), 1)
        assert model.normalise(black)[0, :, 0, 0].tolist() == pytest.approx(low, rel=1e-5)
        if high:
            assert model.normalise(white)[0, :, 0, 0].tolist() == pytest.approx(high, rel=1e-5)


@pytest.mark.parametrize(
    "backbone",
    [
        "convnext_atto",
        "tf_efficientnetv2_b0",
        "mobilenetv3_small_050",
        "hgnetv2_b0",
        "lcnet_050",
        "resnet18",
        "swin_s3_tiny_224",
        "vit_tiny_patch16_224",
        "ghostnet_100",
    ],
)
@pytest.mark.parametrize("pooling", ["avg", "gem"])
def test_any_network_of_timms_is_a_backbone(backbone, pooling):
    settings = ModelSettings(backbone, False, pooling=pooling)
    model = build_model(settings, 2).train()
    torch.nn.init.ones_(model.classifier.weight)
    images = torch.rand(2, 1, 128, 64)
    model(images).sum().backward()
    # A backbone may hold a norm that stands behind its features.
    assert sum(p.grad is None for p in model.parameters()) <= 2
    features = model.feature_map(model.backbone(model.normalise(images)), (128, 64))
    assert features.shape[1] == model.classifier.in_features
    assert features.shape[2] == 2 * features.shape[3]
    check_sizes(settings, (128, 64), 0)


def test_tokens_and_channels_stand_where_their_patches_do():
    """Twice the same tokens: in the order of the network's own patches, rows first."""
    grid = torch.arange(8.0).reshape(1, 4, 2, 1).expand(1, 4, 2, 3)  # (B, h, w, C)
    tokens = torch.cat([torch.full((1, 1, 3), -1.0), grid.reshape(1, 8, 3)], dim=1)
    expected = grid.permute(0, 3, 1, 2)
    assert torch.equal(FeatureMap(Features(3, "tokens", prefix_tokens=1))(tokens, (64, 32)), expected)
    assert torch.equal(FeatureMap(Features(3, "channels last"))(grid, (64, 32)), expected)
    assert FeatureMap(Features(3))(expected, (64, 32)) is expected


@pytest.mark.parametrize(
    ("size", "train_crop", "evaluation", "refused"),
    [
        ((100, 50), 0, {}, "100×50"),
        ((64, 64), 50, {}, "50×50"),
        ((512, 180), 224, {"resize": 0, "crop": 224}, "224×180"),
    ],
)
def test_sizes_that_a_network_cannot_take_are_refused(size, train_crop, evaluation, refused):
    with pytest.raises(ConfigError, match=f"vit_tiny_patch16_224 cannot take images of {refused}"):
        check_sizes(ModelSettings("vit_tiny_patch16_224", False, **evaluation), size, train_crop)
    check_sizes(ModelSettings("efficientnet_b0", False, **evaluation), size, train_crop)


@pytest.mark.parametrize("backbone", ["swin_tiny_patch4_window7_224", "efficientnet_b0", "densenet121"])
def test_stochastic_depth_is_off_unless_it_is_asked_for(backbone):
    model = build_model(ModelSettings(backbone, False), 1)
    assert not [module for module in model.modules() if isinstance(module, DropPath) and module.drop_prob]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backbone": "coatnet_0_rw_224"}, "coatnet_0_rw_224 gives no features of images of any size"),
        ({"backbone": "densenet121", "drop_path_rate": 0.1}, "densenet121 knows no stochastic depth; leave out"),
        ({"backbone": "vgg11_bn", "gradient_checkpointing": True}, "vgg11_bn knows no gradient checkpointing; leave"),
    ],
)
def test_what_a_network_cannot_do_is_said(options, said):
    with pytest.raises(ConfigError, match=said):
        build_model(ModelSettings(pretrained=False, **options), 1)


def test_frozen_norms_keep_their_statistics_and_still_learn():
    model = build_model(ModelSettings("test_efficientnet", False, norm="frozen"), 1)
    torch.nn.init.ones_(model.classifier.weight)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()(torch.rand(4, 1, 32, 32)).sum().backward()
    after = model.state_dict()
    running = [key for key in after if "running_" in key]
    assert running
    assert all(torch.equal(after[key], before[key]) for key in running)
    assert any(p.grad.abs().sum() > 0 for key, p in model.named_parameters() if ".bn" in key)


def test_synchronised_norms_keep_timms_activation():
    from timm.layers import convert_sync_batchnorm

    torch.manual_seed(0)
    model = build_model(SCRATCH, 1)
    torch.nn.init.ones_(model.classifier.weight)
    images = torch.rand(2, 1, 64, 32)
    expected = model.eval()(images)
    converted = convert_sync_batchnorm(model)
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in converted.modules())
    torch.testing.assert_close(converted.eval()(images), expected)


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        settings = ModelSettings("efficientnet_b0", False, gradient_checkpointing=checkpointing)
        model = build_model(settings, 1)
        torch.nn.init.ones_(model.classifier.weight)
        torch.manual_seed(1)
        images = torch.rand(2, 1, 64, 32)
        torch.manual_seed(2)
        model.train()(images).sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_stochastic_depth_acts_in_training_alone():
    torch.manual_seed(0)
    model = build_model(ModelSettings("efficientnet_b0", False, drop_rate=0.0, drop_path_rate=0.5, norm="frozen"), 1)
    torch.nn.init.ones_(model.classifier.weight)
    images = torch.rand(2, 1, 64, 32)
    assert not torch.equal(model.train()(images), model.train()(images))
    assert torch.equal(model.eval()(images), model.eval()(images))
