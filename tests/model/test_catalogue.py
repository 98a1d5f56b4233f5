"""The catalogue's sizes are those of the papers, and every variant trains and predicts."""

import json

import pytest
import timm
import torch

from rsna.cli import main
from rsna.config.model import ModelSettings
from rsna.model.backbone import weight_tags
from rsna.model.catalogue import describe_weights, measure, variants
from rsna.model.network import build_model

PUBLISHED = {
    "b0": (5.29, 0.42), "b1": (7.79, 0.74), "b2": (9.11, 1.07), "b3": (12.23, 1.95), "b4": (19.34, 4.66),
    "b5": (30.39, 10.80), "b6": (43.04, 19.97), "b7": (66.35, 39.32), "b8": (87.41, 65.00),
    "l2.ns_jft_in1k_475": (480.31, 174.20), "l2.ns_jft_in1k": (480.31, 484.98),
}  # fmt: skip
"""Parameters in millions, multiply-adds in thousand millions at the variant's own input size."""
SMALL = (*(f"efficientnet_b{n}" for n in range(5)), *(f"efficientnet_b{n}_pruned" for n in (1, 2, 3)))
LARGE = (*(f"tf_efficientnet_b{n}" for n in (5, 6, 7, 8)), "tf_efficientnet_l2")
CATALOGUE = {variant.name: variant for variant in variants()}


def test_the_catalogue_holds_every_variant():
    for short in PUBLISHED:
        assert f"tf_efficientnet_{short}" in CATALOGUE
    assert set(SMALL) <= set(CATALOGUE)
    assert "noisy student" in CATALOGUE["tf_efficientnet_b3"].origins


@pytest.mark.parametrize("short", PUBLISHED)
def test_sizes_are_those_of_the_papers(short):
    variant = CATALOGUE[f"tf_efficientnet_{short}"]
    size = measure(variant.name, variant.side, variant.side)
    params, macs = PUBLISHED[short]
    assert size.params / 1e6 == pytest.approx(params, rel=0.01)
    assert size.macs / 1e9 == pytest.approx(macs, rel=0.1)


@pytest.mark.parametrize("name", ["efficientnet_b1_pruned", "efficientnet_b2_pruned", "efficientnet_b3_pruned"])
def test_pruned_parameters_are_those_of_timms_model(name):
    assert measure(name, 64, 64).params == sum(p.numel() for p in timm.create_model(name).parameters())


def test_multiply_adds_grow_with_the_input_and_shrink_with_the_channels():
    small, large = measure("efficientnet_b0", 64, 64), measure("efficientnet_b0", 128, 64)
    assert large.macs == pytest.approx(2 * small.macs, rel=0.05)
    assert measure("efficientnet_b0", 64, 64, in_chans=1).params == small.params - 2 * 9 * 32


def step_and_predict(name):
    torch.manual_seed(0)
    model = build_model(ModelSettings(backbone=name, pretrained=False), 2)
    images, labels = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(model.train()(images), labels)
    loss.backward()
    missing = [key for key, p in model.named_parameters() if p.grad is None]
    assert not missing, "a parameter without gradient stops training on two devices"
    with torch.no_grad():
        for p in model.parameters():
            p -= 1e-3 * p.grad
        predicted = model.eval()(images)
    assert predicted.shape == (2, 2)
    assert torch.isfinite(predicted).all()
    assert predicted.abs().max() > 0


@pytest.mark.parametrize("name", [*SMALL, "convnext_atto", "tf_efficientnetv2_b0"])
def test_a_training_step_and_a_prediction(name):
    step_and_predict(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_training_step_and_a_prediction_of_the_large_ones(name):
    step_and_predict(name)


def test_the_origin_of_every_set_of_weights_is_known_in_words():
    found = {describe_weights(tag) for tag in weight_tags("tf_efficientnet_b3")}
    assert found == {"plain", "AutoAugment", "AdvProp", "noisy student"}


def test_json_has_every_variant_with_its_size(capsys):
    assert main(["models", "format=json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(listed["tf_efficientnet_b3"]) == {"name", "params", "macs", "input_size"}
    assert listed["tf_efficientnet_b3"]["params"] == 12_233_232
    assert listed["tf_efficientnet_b3"]["input_size"] == [300, 300]
    assert len(listed) >= 14


@pytest.mark.slow
def test_the_table_names_the_counter_and_the_weights(capsys):
    assert main(["models", "size=[64,32]"]) == 0
    printed = capsys.readouterr().out
    assert "FlopCounterMode" in printed
    assert "G at 64×32" in printed
    assert "ns_jft_in1k" in next(line for line in printed.splitlines() if line.startswith("tf_efficientnet_b3 "))
