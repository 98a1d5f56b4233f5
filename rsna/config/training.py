"""How a fold is trained. No torch here: configuration is read and checked before anything heavy is imported."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from rsna.config.settings import AtLeastOne, BelowOne, Fraction, require, settings

Precision = Literal["32", "bf16", "fp16"]
WantedPrecision = Literal["auto", "32", "bf16", "fp16"]


@settings
class AugmentSettings:
    """Random changes to training images; a probability or a strength of 0 turns one off."""

    horizontal_flip: Fraction = 0.5
    """Probability of mirroring left and right."""
    vertical_flip: Fraction = 0.0
    """Probability of mirroring top and bottom."""
    affine: Fraction = 0.7
    """Probability of a random shift, scale, rotation and shear."""
    shift: BelowOne = 0.05
    """Largest shift, fraction of the side."""
    scale: BelowOne = 0.1
    """Largest change of size: 0.1 is from 0.9 to 1.1 times."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest rotation, degrees."""
    shear: Annotated[float, Field(ge=0, lt=45)] = 5.0
    """Largest shear, degrees."""
    brightness_contrast: Fraction = 0.5
    """Probability of a change of brightness and contrast."""
    brightness: BelowOne = 0.15
    """Largest change of brightness, fraction of the range."""
    contrast: BelowOne = 0.15
    """Largest change of contrast, fraction."""
    gamma: Fraction = 0.3
    """Probability of a gamma between 0.8 and 1.25."""
    noise: Fraction = 0.0
    """Probability of Gaussian noise."""
    noise_std: BelowOne = 0.02
    """Largest standard deviation of the noise, fraction of the range."""
    blur: Fraction = 0.0
    """Probability of a slight Gaussian blur."""
    cutout: Fraction = 0.0
    """Probability of black rectangles over the image."""
    cutout_size: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Largest side of such a rectangle, fraction of the image's."""
    crop: NonNegativeInt = 0
    """Side of a random crop, resized to this many pixels square; 0 trains on the whole prepared image."""
    crop_area: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest area of that crop, fraction of the image's."""
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width ÷ height of that crop."""
    mixup: NonNegativeFloat = 0.0
    """Parameter α of mixup, whose share of the first image is drawn from Beta(α, α); 0 mixes nothing."""

    def __post_init__(self) -> None:
        low, high = self.crop_area
        require(0 < low <= high <= 1, f"crop_area: {list(self.crop_area)} is not 0 < smallest ≤ largest ≤ 1")
        low, high = self.crop_aspect
        require(0 < low <= high, f"crop_aspect: {list(self.crop_aspect)} is not 0 < smallest ≤ largest")


@settings
class SamplerSettings:
    """Which images make up an epoch. A positive is an image of a breast with cancer."""

    kind: Literal["plain", "balanced", "repeated"] = "plain"
    """plain: each image once; balanced: positives in every batch of every device; repeated: positives several times."""
    positives: AtLeastOne = 1
    """For balanced: positives in every batch of a device (batch_size_per_device), at least."""
    repeats: AtLeastOne = 4
    """For repeated: how often each positive comes in an epoch."""
    spread: Literal["none", "machine_id", "site_id", "set"] = "none"
    """Spreads the values of a column evenly over an epoch, so that every batch mixes them; set: data.root and extra."""


@settings
class LossSettings:
    """Cross-entropy of every target, summed over the targets."""

    label_smoothing: BelowOne = 0.0
    """Share of every label that is spread evenly over the classes."""
    soft_positive: Annotated[float, Field(gt=0.5, le=1)] = 1.0
    """Label of the second of two classes instead of 1: 0.9 says that a positive image may show nothing."""
    auxiliary_weight: NonNegativeFloat = 1.0
    """Weight of every target after the first."""
    image_weight: NonNegativeFloat = 0.0
    """With unit=breast, weight of a second loss: each image by itself against its breast's labels."""


@settings
class OptimSettings:
    """AdamW with a linear warm-up and a cosine, both by optimiser step."""

    lr: PositiveFloat = 3e-4
    """Learning rate at the end of the warm-up."""
    scale_lr: Literal["none", "linear"] = "none"
    """linear: lr × global_batch_size ÷ base_batch_size; none: lr as it stands."""
    base_batch_size: AtLeastOne = 16
    """Global batch that lr was found for, images."""
    weight_decay: NonNegativeFloat = 1e-2
    """Decoupled weight decay; none on biases and norms."""
    beta1: BelowOne = 0.9
    """Decay of the mean of gradients."""
    beta2: BelowOne = 0.999
    """Decay of the mean of squared gradients."""
    warmup_epochs: NonNegativeFloat = 1.0
    """Length of the warm-up, epochs; may be a fraction."""
    warmup_start: Fraction = 0.01
    """Learning rate at step 0, fraction of lr."""
    final: Fraction = 0.01
    """Learning rate at the last step, fraction of lr."""
    clip_norm: NonNegativeFloat = 5.0
    """Largest norm of the gradient; 0 does not clip."""

    def peak_lr(self, global_batch_size: int) -> float:
        """Learning rate at the end of the warm-up, for ``global_batch_size`` examples a step."""
        return self.lr * global_batch_size / self.base_batch_size if self.scale_lr == "linear" else self.lr


@settings
class TrainerSettings:
    """Length of training and the hardware it uses."""

    epochs: AtLeastOne = 10
    """Passes over the training folds."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device; auto takes GPUs where there are any."""
    devices: AtLeastOne | Literal["auto"] = "auto"
    """Number of devices; auto takes every GPU that the global batch can be spread over, or one CPU process."""
    precision: WantedPrecision = "auto"
    """Arithmetic; auto takes bf16 or fp16 where the GPU has it, else 32 bits."""
    workers: NonNegativeInt | Literal["auto"] = "auto"
    """Loader processes per device; 0 loads in the training process."""
    channels_last: bool = True
    """Memory layout of images and weights; faster for convolutions on CPUs and GPUs."""
    compile: bool = False
    """Compile the network with torch.compile: minutes at the start, faster steps afterwards."""
    ema: BelowOne = 0.0
    """Decay per step of an exponential moving average of the weights, which is then what counts; 0 keeps none."""
    patience: NonNegativeInt = 0
    """Epochs without a better validation metric after which training stops; 0 never stops early."""
    checkpoint_every_steps: NonNegativeInt = 0
    """Optimiser steps between checkpoints within an epoch; 0 saves at the end of each epoch only."""
    progress: Literal["auto", "none"] = "auto"
    """How far training is, with the time left, and a line an epoch; none prints neither."""
