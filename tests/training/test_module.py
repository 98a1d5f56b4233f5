"""The module trains, mixes and validates examples of any number of images."""

import pytest
import torch
from pytorch_lightning import Trainer

from rsna.model.heads import output_count
from rsna.model.network import build_model
from rsna.training.data.sampler import Draw
from rsna.training.module import MammogramModule, partner_images
from tests.training.data.test_module import batches
from tests.training.tiny import tiny_config


@pytest.fixture
def breasts(cached):
    """A module and its data, of breasts."""
    data, loader = batches(cached, "breast", augment__affine=0)
    torch.manual_seed(0)
    network = build_model(tiny_config(cached, model__drop_rate=0.0).model, output_count(data.targets), data.spec)
    torch.nn.init.normal_(network.classifier.weight, std=0.1)
    return MammogramModule(network, data.targets, data.validation, tiny_config(cached), 3), loader


def test_the_loss_of_a_step_is_over_examples(breasts):
    module, loader = breasts
    batch = next(iter(loader.train_dataloader()))
    module.eval()
    loss = module.training_step(batch, 0)
    # An example with its images twice is the same example.
    twice = batch | {"images": torch.cat([batch["images"]] * 2), "example": torch.cat([batch["example"]] * 2)}
    order = torch.argsort(twice["example"], stable=True)
    twice |= {"images": twice["images"][order], "example": twice["example"][order]}
    torch.testing.assert_close(module.training_step(twice, 0), loss)


def test_validation_puts_predictions_in_order_and_counts_a_repeated_example_once(breasts):
    """Batches come from the ranks one after the other, and short ranks repeat the first example."""
    module, loader = breasts
    module.eval()
    with torch.no_grad():
        whole = torch.cat([module(b["images"], b["example"])[: len(b["labels"])] for b in loader.val_dataloader()])
    expected = {f"val/{name}": value for name, value in module._metrics(whole).items()}
    order = [*range(1, len(module.validation), 2), 0, *range(0, len(module.validation), 2), 0, 0]
    loader.shard = [[Draw(index, 0) for index in order[start : start + 5]] for start in range(0, len(order), 5)]
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (found,) = trainer.validate(module, loader, verbose=False)
    assert found == pytest.approx(expected, abs=1e-5)
    assert {"val/loss", "val/pf1", "val/auroc", "val/auprc"} == found.keys()


def test_an_epoch_whose_predictions_are_not_finite_has_metrics_that_are_not_numbers(breasts):
    """Of a metric that an epoch leaves out Lightning keeps the last one's, and an epoch would be chosen by it."""
    module, _ = breasts
    logits = torch.zeros(len(module.validation), output_count(module.targets))
    assert all(value == value for value in module._metrics(logits).values())
    logits[0] = float("nan")
    metrics = module._metrics(logits)
    assert all(metrics[name] != metrics[name] for name in ("loss", "pf1", "auroc", "auprc"))


def test_mixup_pairs_images_by_their_place_in_the_example():
    one_each = torch.tensor([2, 0, 1])
    assert torch.equal(partner_images(torch.arange(3), one_each), one_each)
    # Examples of two, one and three images; each is mixed with the next.
    example = torch.tensor([0, 0, 1, 2, 2, 2])
    assert partner_images(example, torch.tensor([1, 2, 0])).tolist() == [2, 2, 3, 0, 1, 0]
