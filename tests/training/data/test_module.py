"""Batches hold the images of their examples, with the labels and the draws that belong to them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rsna.config.settings import ConfigError
from rsna.dataset.examples import examples_of
from rsna.training.data.batch import plan_batch
from rsna.training.data.module import MammogramData, as_grey, collate, fold_data
from rsna.training.data.sampler import Draw, image_seed
from rsna.training.experiment import resolve
from tests.training.tiny import first_fold, tiny_config


def batches(folder, unit, **options):
    config = tiny_config(folder, unit=unit, targets=["cancer", "view", "density"], **options)
    data = first_fold(config)
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    return data, MammogramData(config, data, plan)


@pytest.fixture(params=["image", "breast"])
def unit(request):
    return request.param


def test_images_are_those_of_their_example_in_order(cached, unit):
    data, loader = batches(cached, unit)
    seen = []
    for batch in loader.val_dataloader():
        assert batch["images"].shape[1:] == (1, 48, 32)
        assert batch["labels"].shape == (len(batch["index"]), len(data.targets))
        expected = [i for i in batch["index"].tolist() for _ in data.validation.rows[i]]
        assert batch["index"][batch["example"]].tolist() == expected
        for example, index in enumerate(batch["index"].tolist()):
            image_ids = data.validation.images["image_id"].iloc[data.validation.rows[index]]
            stored = np.stack([as_grey(data.prepared.read(image_id)) for image_id in image_ids])[:, None]
            np.testing.assert_array_equal(batch["images"][batch["example"] == example], stored)
        seen += batch["index"].tolist()
    assert seen == list(range(len(data.validation)))


def test_a_batch_counts_examples(cached, unit):
    _, loader = batches(cached, unit, global_batch_size=4, batch_size_per_device=4)
    batch = next(iter(loader.train_dataloader()))
    assert len(batch["labels"]) == 4
    assert len(batch["images"]) == (4 if unit == "image" else 8)


def test_breasts_have_no_view_to_learn_and_one_label_each(cached):
    data, loader = batches(cached, "breast")
    assert [target.name for target in data.targets] == ["cancer", "density"]
    assert len(data.training) * 2 == len(data.training.images)
    cancer = data.training.images.groupby("prediction_id")["cancer"].first()
    assert loader.training.labels[:, 0].tolist() == cancer[list(data.training.ids)].tolist()


def test_each_image_of_an_example_is_changed_by_draws_of_its_own(cached):
    options = {"augment__affine": 0, "augment__gamma": 0, "augment__noise": 1.0}
    images, of_images = batches(cached, "image", **options)
    breasts, of_breasts = batches(cached, "breast", **options)
    draw = Draw(3, 77)
    first, second = of_breasts.training[draw]["images"]
    row, other = breasts.training.rows[3].tolist()
    assert torch.equal(first, of_images.training[Draw(row, 77)]["images"][0])  # the example's own draw
    assert torch.equal(second, of_images.training[Draw(other, image_seed(draw, 1))]["images"][0])
    assert image_seed(draw, 0) == 77
    assert len({image_seed(draw, place) for place in range(4)}) == 4
    assert len(images.training) == 2 * len(breasts.training)


def test_examples_of_unequal_numbers_of_images_make_one_batch():
    items = [
        {
            "images": torch.full((k, 1, 2, 2), float(k)),
            "table": torch.full((k, 2), float(k)),
            "other": torch.arange(k) > 1,
            "labels": torch.tensor([k]),
            "weight": torch.tensor(k / 2),
            "index": torch.tensor(10 * k),
        }
        for k in (2, 1, 3)
    ]
    batch = collate(items)
    assert batch["example"].tolist() == [0, 0, 1, 2, 2, 2]
    assert batch["images"][:, 0, 0, 0].tolist() == [2, 2, 1, 3, 3, 3]
    assert batch["table"].tolist() == [[k, k] for k in (2, 2, 1, 3, 3, 3)]
    assert batch["other"].tolist() == [False] * 5 + [True]
    assert batch["weight"].tolist() == [1.0, 0.5, 1.5]
    assert (batch["labels"][:, 0].tolist(), batch["index"].tolist()) == ([2, 1, 3], [20, 10, 30])


def test_a_fold_without_some_images_keeps_their_breasts(cached):
    """An image that could not be prepared is missing from its breast, not the breast from the fold."""
    experiment = resolve(tiny_config(cached, unit="breast", run=str(cached / "breasts")))
    there = set(experiment.table.frame["image_id"]) - {"3CC"}
    data = fold_data(experiment, 0, there)
    views = {
        name: len(rows)
        for side in (data.training, data.validation)
        for name, rows in zip(side.ids, side.rows, strict=True)
    }
    assert views.keys() == set(experiment.table.frame["prediction_id"])
    assert [name for name, n in views.items() if n == 1] == ["3_L"]


def test_within_an_epoch_images_keep_their_order_by_which_they_are_drawn(cached, unit):
    config = tiny_config(cached, unit=unit)
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    data = first_fold(config)
    images = data.training.images
    before = MammogramData(config, data, plan)
    before.sampler.resume(1, 1)
    others = {"the same": images.copy(), "sorted anew": images[::-1], "one is lost": images[1:]}
    for what, frame in others.items():
        now = MammogramData(config, replace(data, training=examples_of(unit, frame)), plan)
        if what == "the same":
            now.load_state_dict(before.state_dict())
            assert (now.sampler.epoch, now.sampler.position) == (1, 1)
            continue
        with pytest.raises(ConfigError, match="data.root: the checkpoint lies within an epoch of other images"):
            now.load_state_dict(before.state_dict())
        now.load_state_dict(before.state_dict() | {"whole": True})  # the next epoch is shuffled anyhow
        assert (now.sampler.epoch, now.sampler.position) == (2, 0)
