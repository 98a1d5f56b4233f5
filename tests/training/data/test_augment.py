"""Draws depend on the seed alone, and each change can be turned off."""

import dataclasses

import numpy as np
import pytest

from rsna.config.settings import allowed, fields_of
from rsna.config.training import AugmentSettings
from rsna.training.data.augment import Augmentation

OFF = AugmentSettings(horizontal_flip=0, affine=0, brightness_contrast=0, gamma=0)
CHANGES = [name for name, field in fields_of(AugmentSettings).items() if allowed(field).endswith("in [0, 1]")]
"""Keys that are probabilities."""


@pytest.fixture(params=[np.uint8, np.float32])
def image(request):
    values = np.random.default_rng(0).random((48, 32))
    return (values * 255).astype(np.uint8) if request.param is np.uint8 else values.astype(np.float32)


def test_the_same_draw_gives_the_same_image_in_any_order(image):
    augmentation = Augmentation(AugmentSettings(noise=0.5, cutout=0.5))
    first = {draw: augmentation(image, draw) for draw in range(6)}
    again = {draw: Augmentation(AugmentSettings(noise=0.5, cutout=0.5))(image, draw) for draw in reversed(range(6))}
    for draw, augmented in first.items():
        np.testing.assert_array_equal(augmented, again[draw])
    assert len({augmented.tobytes() for augmented in first.values()}) == 6


def test_changes_are_drawn_independently_of_each_other():
    half = dataclasses.replace(OFF, horizontal_flip=0.5, brightness_contrast=0.5)
    image = np.tile(np.linspace(50, 200, 32).astype(np.uint8), (48, 1))
    augmented = [Augmentation(half)(image, draw) for draw in range(200)]
    flipped = np.array([int(a[0, 0]) > int(a[0, -1]) for a in augmented])
    brightened = np.array([sorted(a[0]) != sorted(image[0]) for a in augmented])
    for one in (flipped, ~flipped):
        assert 0.3 < brightened[one].mean() < 0.7


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_alone_acts_and_keeps_shape_type_and_range(image, name):
    augmentation = Augmentation(dataclasses.replace(OFF, **{name: 1.0}))
    augmented = [augmentation(image, draw) for draw in range(5)]
    for each in augmented:
        assert (each.shape, each.dtype) == (image.shape, image.dtype)
        assert each.min() >= 0
        assert each.max() <= (255 if image.dtype == np.uint8 else 1)
    acts = any(not np.array_equal(each, image) for each in augmented)
    assert acts, f"augment.{name}=1 changes no image: write its transform in rsna/training/data/augment.py"


def test_with_everything_off_the_image_passes_untouched(image):
    assert Augmentation(OFF)(image, 0) is image
