"""State dicts in timm's and mmpretrain's key names load; what does not fit is named."""

import re

import pytest
import timm
import torch
from safetensors.torch import save_file

from rsna.config.model import ModelSettings
from rsna.config.settings import ConfigError
from rsna.model.network import build_model

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


def test_without_a_network_the_error_names_both_ways_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"model\.pretrained=false model\.weights=FILE, or start from scratch"):
        build_model(ModelSettings(backbone="efficientnet_b3"), 1)
