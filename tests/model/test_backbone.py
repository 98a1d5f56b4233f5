"""Names as other toolboxes write them are timm's in the end, or the error suggests near ones."""

import sys
from types import ModuleType

import pytest
import timm
import torch
from timm.models import register_model

from rsna.config.model import ModelSettings
from rsna.config.settings import ConfigError
from rsna.model.backbone import resolve_name
from rsna.model.network import build_model


@pytest.mark.parametrize(
    ("name", "timms"),
    [
        ("efficientnet-b3_3rdparty-ra-noisystudent_in1k", "tf_efficientnet_b3.ns_jft_in1k"),
        ("efficientnet-b0_3rdparty_8xb32_in1k", "tf_efficientnet_b0.in1k"),
        ("efficientnet-b2_3rdparty_8xb32-aa_in1k", "tf_efficientnet_b2.aa_in1k"),
        ("efficientnet-b8_3rdparty_8xb32-aa-advprop_in1k", "tf_efficientnet_b8.ap_in1k"),
        ("efficientnet-l2_3rdparty-ra-noisystudent_in1k", "tf_efficientnet_l2.ns_jft_in1k"),
        ("efficientnet-l2_3rdparty-ra-noisystudent_in1k-475px", "tf_efficientnet_l2.ns_jft_in1k_475"),
        ("efficientnet-b3_8xb32_in1k", "tf_efficientnet_b3"),
        ("efficientnet-b4", "tf_efficientnet_b4"),
        ("efficientnet_b3", "efficientnet_b3"),
        ("tf_efficientnet_b3.ap_in1k", "tf_efficientnet_b3.ap_in1k"),
        ("convnext_small.fb_in22k_ft_in1k", "convnext_small.fb_in22k_ft_in1k"),
    ],
)
def test_names_resolve(name, timms):
    assert resolve_name(name) == timms


def test_a_network_that_a_program_registers_with_timm_is_a_backbone_by_its_name(monkeypatch):
    def house_of_cards(pretrained=False, **options):
        return timm.create_model("test_efficientnet", pretrained=pretrained, **options)

    house_of_cards.__module__ = "house_of_cards"
    monkeypatch.setitem(sys.modules, "house_of_cards", ModuleType("house_of_cards"))
    with pytest.raises(ConfigError, match="timm has no 'house_of_cards'"):
        resolve_name("house_of_cards")
    register_model(house_of_cards)
    assert resolve_name("house_of_cards") == "house_of_cards"
    network = build_model(ModelSettings(backbone="house_of_cards", pretrained=False), 1)
    assert network(torch.zeros(2, 1, 64, 32)).shape == (2, 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("efficientnet-b9", "near it: .*efficientnet_b"),
        ("efficentnet_b3", "near it: .*efficientnet_b3"),
        ("xyz", "one of your own is registered with timm .*docs/training.md"),
        ("tf_efficientnet_b3.nosuch", r"no weights 'nosuch' of tf_efficientnet_b3; it has .*ns_jft_in1k"),
        ("efficientnet-b8_3rdparty-ra-noisystudent_in1k", r"no weights 'ns_jft_in1k' of tf_efficientnet_b8; it has"),
    ],
)
def test_unknown_names_are_refused_with_near_ones(name, said):
    with pytest.raises(ConfigError, match=f"model.backbone: .*{said}"):
        resolve_name(name)
