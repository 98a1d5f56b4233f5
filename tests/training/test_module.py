"""The module trains, mixes and validates examples of any number of images."""

import pytest
import torch

from rsna.model.heads import output_count
from rsna.model.network import build_model
from rsna.training.module import MammogramModule, partner_images
from tests.training.data.test_module import batches
from tests.training.tiny import tiny_config


@pytest.fixture
def breasts(cached):
    """A module and its data, of breasts."""
    data, loader = batches(cached, "breast", augment__affine=0)
    torch.manual_seed(0)
    network = build_model(tiny_config(cached, model__drop_rate=0.0).model, output_count(data.targets))
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


@pytest.mark.parametrize("world", [1, 2, 3])
def test_validation_sees_every_example_once_over_all_ranks(breasts, monkeypatch, world):
    """Ranks come in any order, and short ones repeat the first example."""
    module, loader = breasts
    module.eval()
    gathered = []
    for rank in range(world):
        loader.shard.rank, loader.shard.world, loader.shard.batch_size = rank, world, 5
        with torch.no_grad():
            for number, batch in enumerate(loader.val_dataloader()):
                module.validation_step(batch, number)
        gathered.insert(0, tuple(torch.cat(parts) for parts in zip(*module._validated, strict=True)))
        module._validated.clear()
    logged = {}
    monkeypatch.setattr(module, "log_dict", logged.update)
    module._validated = [(torch.cat([i for i, _ in gathered]), torch.cat([logits for _, logits in gathered]))]
    module._trainer = type("OneRank", (), {"world_size": 1})()
    module.on_validation_epoch_end()
    with torch.no_grad():
        whole = torch.cat([module(b["images"], b["example"])[: len(b["labels"])] for b in _in_order(loader)])
    assert logged == {f"val/{name}": value for name, value in module._metrics(whole).items()}
    assert {"val/loss", "val/pf1", "val/auroc", "val/auprc"} == logged.keys()


def _in_order(loader):
    loader.shard.rank, loader.shard.world, loader.shard.batch_size = 0, 1, 5
    return loader.val_dataloader()


def test_mixup_pairs_images_by_their_place_in_the_example():
    one_each = torch.tensor([2, 0, 1])
    assert torch.equal(partner_images(torch.arange(3), one_each), one_each)
    # Examples of two, one and three images; each is mixed with the next.
    example = torch.tensor([0, 0, 1, 2, 2, 2])
    assert partner_images(example, torch.tensor([1, 2, 0])).tolist() == [2, 2, 3, 0, 1, 0]
