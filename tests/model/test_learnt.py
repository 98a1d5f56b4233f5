"""A network goes on with what the one before learnt beside the backbone, where it means the same."""

from dataclasses import replace

import pytest
import torch

from rsna.config.model import FusionSettings, ModelSettings
from rsna.config.settings import ConfigError
from rsna.dataset.examples import ExampleSpec
from rsna.dataset.table_inputs import TableInput
from rsna.dataset.targets import TARGETS
from rsna.model.heads import output_count
from rsna.model.learnt import Learnt
from rsna.model.network import build_model
from rsna.runs.weights import write_weights

SCRATCH = ModelSettings("test_efficientnet", pretrained=False, pooling="gem")
CANCER, DENSITY = (TARGETS[name] for name in ("cancer", "density"))
AGE, SITE = TableInput("age", ()), TableInput("site_id", ("1", "2"))
IMAGES = torch.rand(3, 1, 48, 32, generator=torch.Generator().manual_seed(0))


def spec(kind="mean", width=8, inputs=(), compare=False, unit="breast"):
    return ExampleSpec(unit, FusionSettings(kind, width=width, heads=2), compare=compare, inputs=inputs)


def trained(file, targets, spec):
    """A network whose every part has moved from where it started, in a file."""
    network = build_model(SCRATCH, output_count(targets), spec).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if not name.startswith("backbone."):
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
    write_weights(network.state_dict(), file)
    return network


def started(file, then, targets, spec):
    notes = []
    settings = replace(SCRATCH, weights=str(file))
    network = build_model(settings, output_count(targets), spec, notes, then, targets).eval()
    return network, notes[0]


@pytest.mark.parametrize("kind", ["mean", "attention", "transformer"])
@pytest.mark.parametrize("compare", [False, True])
def test_breasts_begin_as_the_mean_of_what_their_images_were_given(tmp_path, kind, compare):
    images = trained(tmp_path / "w.safetensors", (CANCER,), ExampleSpec())
    whole = spec(kind, compare=compare, inputs=(AGE,))
    breasts, said = started(tmp_path / "w.safetensors", Learnt((CANCER,), ()), (CANCER,), whole)
    with torch.inference_mode():
        alone = images(IMAGES)[:, 0]
        found = breasts(IMAGES, torch.tensor([0, 1, 0]), torch.tensor([[60.0]] * 3))[:2, 0]
    assert alone.abs().min() > 0.01
    torch.testing.assert_close(found, torch.stack([(alone[0] + alone[2]) / 2, alone[1]]))
    assert "with it pooling, classifier of cancer" in said
    assert "left out" not in said


def test_the_same_network_goes_on_whole(tmp_path):
    whole = spec("transformer", compare=True, inputs=(AGE, SITE))
    before = trained(tmp_path / "w.safetensors", (CANCER, DENSITY), whole)
    then = Learnt((CANCER, DENSITY), whole.inputs)
    after, said = started(tmp_path / "w.safetensors", then, (CANCER, DENSITY), whole)
    for key, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[key], value), key
    assert "with it pooling, table_embedding, fusion, comparison, classifier of cancer, density" in said


def test_of_the_classifier_those_targets_go_on_that_both_have(tmp_path):
    before = trained(tmp_path / "w.safetensors", (DENSITY, CANCER), spec())
    after, said = started(
        tmp_path / "w.safetensors", Learnt((DENSITY, CANCER), ()), (CANCER, TARGETS["BIRADS"]), spec()
    )
    assert torch.equal(after.classifier.weight[0], before.classifier.weight[4])
    assert torch.equal(after.classifier.bias[0], before.classifier.bias[4])
    assert not after.classifier.weight[1:].any()
    assert "classifier of cancer;" in said


def test_what_means_something_else_is_left_out_and_said(tmp_path):
    trained(tmp_path / "w.safetensors", (DENSITY,), spec("attention", width=8, inputs=(SITE,)))
    other = spec("attention", width=4, inputs=(TableInput("site_id", ("2", "3")),))
    after, said = started(tmp_path / "w.safetensors", Learnt((DENSITY,), (SITE,)), (CANCER,), other)
    assert not after.classifier.weight.any()
    assert not after.table_embedding.vectors[0].any()
    assert not after.fusion.score.weight.any()
    assert "with it pooling;" in said
    assert "left out: classifier (2), fusion (6), table_embedding (2)" in said


def test_of_a_file_that_nobody_knows_the_backbone_alone_is_taken(tmp_path):
    trained(tmp_path / "w.safetensors", (CANCER,), spec())
    after, said = started(tmp_path / "w.safetensors", None, (CANCER,), spec())
    assert not after.classifier.weight.any()
    assert after.pooling.power == 3
    assert "left out: classifier (2), pooling (1)" in said


def test_a_classifier_of_no_numbers_is_refused(tmp_path):
    state = trained(tmp_path / "w.safetensors", (CANCER,), spec()).state_dict()
    state["classifier.bias"][0] = float("nan")
    write_weights(state, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"1 tensors with NaN or infinite values \(first: classifier\.bias\)"):
        started(tmp_path / "w.safetensors", Learnt((CANCER,), ()), (CANCER,), spec())
    started(tmp_path / "w.safetensors", None, (CANCER,), spec())  # which does not take it
