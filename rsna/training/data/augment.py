"""Random changes to training images; the one file that knows albumentations."""

import random
from typing import Any

import albumentations
import numpy as np
import numpy.typing as npt

from rsna.config.training import AugmentSettings


class Augmentation:
    """Applies the configured changes with draws that depend on a seed alone."""

    def __init__(self, settings: AugmentSettings) -> None:
        self._transform = albumentations.Compose(_transforms(settings))

    def __call__(self, image: npt.NDArray[Any], draw: int) -> npt.NDArray[Any]:
        """(H, W) uint8, or float32 in [0, 1] → the same dtype and range, and the same shape but for a random crop.

        Args:
            image: Prepared image.
            draw: Seed of this image's draws. The library gives every worker the same draws and repeats them each
                epoch, so they are set here for each image.
        """
        if not self._transform.transforms:
            return image
        # One stream for all: the library's own set_random_seed starts each change at the same number, so that
        # either all of them or none would be applied.
        generator, random_numbers = np.random.default_rng(draw), random.Random(draw)
        for transform in self._transform.transforms:
            transform.set_random_state(generator, random_numbers)
        augmented: npt.NDArray[Any] = self._transform(image=image[..., np.newaxis])["image"]
        return augmented[..., 0]


def _transforms(settings: AugmentSettings) -> list[Any]:
    """Geometry first, then grey values, then cut-outs; changes of probability 0 are left out."""
    s = settings
    side = (0.05, s.cutout_size)
    candidates = [
        (
            float(s.crop > 0),
            albumentations.RandomResizedCrop((max(s.crop, 1),) * 2, scale=s.crop_area, ratio=s.crop_aspect, p=1.0),
        ),
        (s.horizontal_flip, albumentations.HorizontalFlip(p=s.horizontal_flip)),
        (s.vertical_flip, albumentations.VerticalFlip(p=s.vertical_flip)),
        (
            s.affine,
            albumentations.Affine(
                scale=(1 - s.scale, 1 + s.scale),
                translate_percent=(-s.shift, s.shift),
                rotate=(-s.rotate, s.rotate),
                shear=(-s.shear, s.shear),
                p=s.affine,
            ),
        ),
        (
            s.brightness_contrast,
            albumentations.RandomBrightnessContrast(s.brightness, s.contrast, p=s.brightness_contrast),
        ),
        (s.gamma, albumentations.RandomGamma((80, 125), p=s.gamma)),
        (s.noise, albumentations.GaussNoise(std_range=(0.0, s.noise_std), p=s.noise)),
        (s.blur, albumentations.GaussianBlur(sigma_limit=(0.2, 1.0), p=s.blur)),
        (
            s.cutout,
            albumentations.CoarseDropout((1, 4), hole_height_range=side, hole_width_range=side, p=s.cutout),
        ),
    ]
    return [transform for probability, transform in candidates if probability > 0]
