"""The sheet shows what training sees."""

from itertools import islice

import cv2
import numpy as np
import pytest

from rsna.training.data.batch import plan_batch
from rsna.training.data.module import MammogramData
from rsna.training.experiment import resolve
from rsna.training.run import prepare
from rsna.training.sheet import HEIGHT, augmented_sheet, groups_of, on_black
from tests.training.breasts import write_breasts
from tests.training.tiny import COLUMNS, ROWS, first_fold, tiny_config

WIDTH = round(COLUMNS * HEIGHT / ROWS)


def batches_of(config, data):
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    return MammogramData(config, data, plan).train_dataloader()


def test_it_shows_every_image_of_a_batch_and_changes_with_the_augmentation(tiny):
    pictures = []
    for brightness in (0.0, 0.9):
        config = tiny_config(
            tiny, targets=["cancer", "view", "density"], augment__affine=0, augment__horizontal_flip=0,
            augment__gamma=0, augment__brightness_contrast=1.0, augment__brightness=brightness, augment__contrast=0.0,
        )  # fmt: skip
        file = augmented_sheet(config, first_fold(config), tiny / f"{brightness}.png", batches=2)
        pictures.append(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).mean() > 0.3
    shown = sum(len(batch["images"]) for batch in islice(batches_of(config, first_fold(config)), 2))
    assert shown * HEIGHT * WIDTH == pytest.approx((pictures[0] < 250).sum(), rel=0.05)  # the rest is paper and words
    assert pictures[0][:, -20:].min() == 255  # paper


def test_what_is_darkest_is_black_and_nothing_else_changes():
    image = np.array([[0.2, 0.2, 0.5], [0.2, 0.9, 1.0]], np.float32)
    shown, floor = on_black(image)
    assert shown.tolist() == [[0, 0, 127], [0, 229, 255]]
    assert floor == 51 / 255
    dark = np.array([[0, 3], [200, 0]], np.uint8)
    assert (on_black(dark)[0] == dark).all()
    assert on_black(dark)[1] == 0


def test_images_of_a_breast_stand_together_and_those_of_the_other_breast_say_so(tmp_path):
    write_breasts(tmp_path / "set")
    config = tiny_config(tmp_path, unit="breast", compare=True)
    prepare(resolve(config))
    data = first_fold(config)
    batch = next(iter(batches_of(config, data)))
    groups = groups_of(batch, data)
    assert [group.title for group in groups] == [f"breast {data.training.ids[i]}" for i in batch["index"].tolist()]
    counts = np.bincount(batch["example"].numpy(), minlength=len(groups))
    assert [len(group.tiles) for group in groups] == counts.tolist()
    others = [tile.caption[0] == "the other breast" for group in groups for tile in group.tiles]
    assert others == batch["other"].tolist()
    assert 0 < sum(others) < len(others)
