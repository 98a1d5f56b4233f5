"""Each option acts, and does nothing else: what it should leave alone is compared bit for bit."""

import csv
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rsna.config.training import LossSettings
from rsna.dataset.targets import get_targets
from rsna.model.average import MovingAverage
from rsna.model.heads import output_count
from rsna.model.network import build_model
from rsna.training.callbacks.checkpoints import average_weights
from rsna.training.data.batch import plan_batch
from rsna.training.fit import data_module, lay_out
from rsna.training.hardware import Hardware
from rsna.training.losses import mixed_loss, target_loss
from rsna.training.module import MammogramModule
from tests.training.tiny import first_fold, tiny_config, train_here

BASE = {"trainer__epochs": 3, "model__drop_rate": 0.0}


def fold(folder):
    return folder / "run" / "fold0"


def trained(folder):
    """The network's own weights at the end of training, from the checkpoint."""
    state = torch.load(fold(folder) / "checkpoints" / "last.ckpt", "cpu", weights_only=True)["state_dict"]
    return {key: value for key, value in state.items() if key.startswith("network.")}


def counted(folder):
    return load_file(fold(folder) / "model.safetensors")


def rows(folder):
    return list(csv.DictReader((fold(folder) / "history.csv").open()))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def train_with(tiny, **options):
    train_here(tiny_config(tiny, **BASE, **options))
    return tiny


@pytest.fixture(scope="module")
def plain(prepared, tmp_path_factory):
    """Three epochs without any option."""
    folder = tmp_path_factory.mktemp("plain")
    for name in ("set", "cache"):
        (folder / name).symlink_to(prepared / name)
    return train_with(folder)


def test_the_moving_average_counts_and_leaves_training_alone(plain, tiny):
    train_with(tiny, trainer__ema=0.9)
    assert same(trained(tiny), trained(plain))
    assert [row["train_loss"] for row in rows(tiny)] == [row["train_loss"] for row in rows(plain)]
    assert not same(counted(tiny), counted(plain))


def test_the_moving_average_follows_its_formula():
    network = torch.nn.Linear(1, 1, bias=False)
    average = MovingAverage(network, 0.99)
    expected = network.weight.item()
    for step in range(1, 6):
        with torch.no_grad():
            network.weight += step
        average.update(network, step)
        decay = min(0.99, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.weight.item()
    assert average.network.weight.item() == pytest.approx(expected, rel=1e-6)
    assert not any(p.requires_grad for p in average.parameters())


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_gradients_are_clipped_in_every_arithmetic(plain, tiny, precision):
    norm = 1e-3
    train_with(tiny, trainer__precision=precision, optim__clip_norm=norm)
    states = torch.load(fold(tiny) / "checkpoints" / "last.ckpt", "cpu", weights_only=True)["optimizer_states"][0]
    # The optimiser's mean of gradients, none of which was longer.
    means = torch.cat([state["exp_avg"].flatten() for state in states["state"].values()])
    assert 0 < float(means.norm()) <= norm
    losses = [float(row["train_loss"]) for row in rows(tiny)]
    assert losses == pytest.approx([float(row["train_loss"]) for row in rows(plain)], abs=0.1)


def test_a_soup_is_the_mean_of_the_last_epochs_and_leaves_training_alone(plain, tiny):
    train_with(tiny, soup=2)
    assert same(trained(tiny), trained(plain))
    files = sorted((fold(tiny) / "checkpoints").glob("epoch*.safetensors"))
    assert [file.name for file in files] == ["epoch0002.safetensors", "epoch0003.safetensors"]
    second, third = map(load_file, files)
    assert same({f"network.{key}": value for key, value in third.items()}, trained(plain))
    for key, value in counted(tiny).items():
        expected = (second[key] + third[key]) / 2 if value.is_floating_point() else third[key]
        torch.testing.assert_close(value, expected)


def test_the_best_epoch_counts_where_asked_and_every_table_says_so(plain, tiny, capsys):
    train_with(tiny, checkpoint="best")
    assert "checkpoint=best chose the epoch on the very fold that is reported" in capsys.readouterr().out
    assert same(trained(tiny), trained(plain))
    values = [float(row["val_pf1"]) for row in rows(tiny)]
    best = values.index(max(values)) + 1
    (file,) = (fold(tiny) / "checkpoints").glob("epoch*.safetensors")
    assert file.name == f"epoch{best:04d}.safetensors"
    assert same(counted(tiny), load_file(file))
    assert json.loads((fold(tiny) / "metrics.json").read_text())["checkpoint"] == "best"


def test_early_stop_ends_training_and_changes_no_epoch_before(prepared, tiny):
    # At this learning rate nothing is learnt, so that the first epoch stays the best.
    train_here(tiny_config(tiny, **BASE | {"trainer__epochs": 6}, optim__lr=1e-30, trainer__patience=2))
    assert len(rows(tiny)) == 3


def test_gradient_checkpointing_changes_neither_weights_nor_statistics(plain, tiny):
    train_with(tiny, model__gradient_checkpointing=True)
    assert same(trained(tiny), trained(plain))


def test_mixup_acts_on_training_alone(plain, tiny):
    train_with(tiny, augment__mixup=0.5)
    assert not same(trained(tiny), trained(plain))
    assert float(rows(tiny)[0]["train_loss"]) == pytest.approx(math.log(2))  # of any labels, at the first step


def first_step(folder, options):
    """What the first step starts from and what comes of it: initial weights, batch, loss, and the network's logits."""
    config = tiny_config(folder, **BASE | options)
    fold = first_fold(config)
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    torch.manual_seed(config.seed)
    network = lay_out(build_model(config.model, output_count(fold.targets)), config, plan)
    module = MammogramModule(network, fold.targets, fold.validation, config, 3)
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    batch = next(iter(data_module(config, fold, plan, Hardware("cpu", 1, "32", 0)).train_dataloader()))
    torch.manual_seed(1)
    torch.nn.init.normal_(network.classifier.weight)  # which starts at 0, where every loss is the same
    changed = {key: value.clone() for key, value in network.state_dict().items()}
    loss = module.training_step(batch, 0).detach()
    network.load_state_dict(changed)  # as it was before the batch moved the running statistics
    fixed = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 1, 48, 32), dtype=np.uint8))
    with torch.no_grad():
        logits = module.eval()(fixed)
    return {"weights": weights, "batch": batch, "loss": {"": loss}, "logits": {"": logits}}


OPTIONS = [
    ({"model__drop_rate": 0.5}, {"loss"}),
    ({"model__backbone": "efficientnet_b0", "model__drop_path_rate": 0.9}, {"loss"}),
    ({"model__norm": "frozen"}, {"loss"}),
    ({"model__pooling": "max"}, {"loss", "logits"}),
    ({"model__pooling": "gem"}, {"loss", "logits"}),
    ({"model__gradient_checkpointing": True}, set()),
    ({"loss__label_smoothing": 0.2}, {"loss"}),
    ({"loss__soft_positive": 0.8}, {"loss"}),
    ({"targets": ["cancer", "biopsy"], "loss__auxiliary_weight": 0.5}, {"loss"}),
    ({"augment__mixup": 0.5}, {"loss"}),
    ({"augment__horizontal_flip": 0.99}, {"batch", "loss"}),
    ({"sampler__kind": "balanced", "sampler__positives": 4}, {"batch", "loss"}),
    ({"sampler__kind": "repeated", "sampler__repeats": 3}, {"batch", "loss"}),
    ({"trainer__ema": 0.9}, set()),
    ({"trainer__patience": 1}, set()),
    ({"soup": 2}, set()),
    ({"checkpoint": "best"}, set()),
    ({"evaluation__flip_tta": True}, set()),
]
"""Options, the last of them the one that is tried, and what of the first step it changes."""


@pytest.mark.parametrize(
    ("option", "changed"), OPTIONS, ids=[",".join(f"{key}={option[key]}" for key in option) for option, _ in OPTIONS]
)
def test_an_option_changes_its_part_of_the_first_step_and_no_other(prepared, option, changed):
    without = dict(list(option.items())[:-1]) if "sampler__kind" not in option else {}
    before, after = first_step(prepared, without), first_step(prepared, option)
    if option.get("model__pooling") == "gem":  # its exponent is learnt
        (key,) = after["weights"].keys() - before["weights"].keys()
        assert float(after["weights"].pop(key)) == 3.0
    assert {part for part in before if not same(before[part], after[part])} == changed


def test_soups_of_the_best_take_the_best_epochs(plain, tiny):
    train_with(tiny, checkpoint="best", soup=2)
    assert same(trained(tiny), trained(plain))
    values = [float(row["val_pf1"]) for row in rows(tiny)]
    best = sorted(sorted(range(3), key=lambda epoch: -values[epoch])[:2])
    files = sorted((fold(tiny) / "checkpoints").glob("epoch*.safetensors"))
    assert [file.name for file in files] == [f"epoch{epoch + 1:04d}.safetensors" for epoch in best]
    first, second = map(load_file, files)
    for key, value in counted(tiny).items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (first[key] + second[key]) / 2)


def test_test_time_flips_average_the_two_logits_and_leave_the_weights_alone(plain, tiny):
    train_with(tiny, evaluation__flip_tta=True)
    assert same(counted(tiny), counted(plain))
    before, after = (pd.read_parquet(fold(folder) / "oof.parquet")["probability"] for folder in (plain, tiny))
    assert (before != after).any()
    assert before.corr(after) > 0.5


def test_label_smoothing_equals_torchs_and_soft_positives_move_positives_alone():
    targets = get_targets(("cancer", "density"))
    logits, labels = torch.randn(6, 5), torch.tensor([[0, 1], [1, 0], [1, 3], [0, 2], [1, 2], [0, 0]]).float()
    smoothed = target_loss(logits, labels, targets, LossSettings(label_smoothing=0.2))
    binary = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels[:, 0] * 0.8 + 0.1)
    many = torch.nn.functional.cross_entropy(logits[:, 1:], labels[:, 1].long(), label_smoothing=0.2)
    torch.testing.assert_close(smoothed, binary + many)
    logits.requires_grad_()
    plain = torch.autograd.grad(target_loss(logits, labels, targets), logits)[0]
    soft = torch.autograd.grad(target_loss(logits, labels, targets, LossSettings(soft_positive=0.9)), logits)[0]
    changed = torch.zeros(6, 5, dtype=torch.bool)
    changed[:, 0] = labels[:, 0] == 1
    assert torch.equal(soft != plain, changed)
    torch.testing.assert_close((soft - plain)[changed], torch.full((3,), 0.1 / 6))


def test_auxiliary_weights_leave_the_first_target_alone():
    targets = get_targets(("cancer", "biopsy"))
    logits, labels = torch.randn(4, 2), torch.tensor([[0, 1], [1, 0], [1, 1], [0, 0]]).float()
    first, second = (target_loss(logits[:, i : i + 1], labels[:, i : i + 1], targets[i : i + 1]) for i in range(2))
    found = target_loss(logits, labels, targets, LossSettings(auxiliary_weight=0.1))
    torch.testing.assert_close(found, first + 0.1 * second)


def test_mixed_losses_lie_between_those_of_the_two_images():
    targets = get_targets(("cancer",))
    logits, labels, others = (
        torch.randn(4, 1),
        torch.tensor([[0.0], [1], [1], [0]]),
        torch.tensor([[1.0], [1], [0], [0]]),
    )
    first, second = target_loss(logits, labels, targets), target_loss(logits, others, targets)
    torch.testing.assert_close(mixed_loss(logits, labels, others, 0.3, targets), 0.3 * first + 0.7 * second)
    torch.testing.assert_close(mixed_loss(logits, labels, others, 1.0, targets), first)


def test_averages_keep_counters(tmp_path):
    from rsna.runs.weights import write_weights

    for number in (1, 3):
        write_weights({"w": torch.full((2,), float(number)), "n": torch.tensor(number)}, tmp_path / f"{number}")
    averaged = average_weights([tmp_path / "1", tmp_path / "3"])
    assert averaged["w"].tolist() == [2.0, 2.0]
    assert int(averaged["n"]) == 3
