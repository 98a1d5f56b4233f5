"""How a fold is trained. No torch here: configuration is read and checked before anything heavy is imported."""

from dataclasses import dataclass
from typing import Literal

from rsna.settings import require


@dataclass(frozen=True)
class AugmentSettings:
    """Random changes to training images; a probability or a strength of 0 turns one off."""

    horizontal_flip: float = 0.5
    """Probability of mirroring left and right."""
    vertical_flip: float = 0.0
    """Probability of mirroring top and bottom."""
    affine: float = 0.7
    """Probability of a random shift, scale, rotation and shear."""
    shift: float = 0.05
    """Largest shift, fraction of the side."""
    scale: float = 0.1
    """Largest change of size: 0.1 is from 0.9 to 1.1 times."""
    rotate: float = 15.0
    """Largest rotation, degrees."""
    shear: float = 5.0
    """Largest shear, degrees."""
    brightness_contrast: float = 0.5
    """Probability of a change of brightness and contrast."""
    brightness: float = 0.15
    """Largest change of brightness, fraction of the range."""
    contrast: float = 0.15
    """Largest change of contrast, fraction."""
    gamma: float = 0.3
    """Probability of a gamma between 0.8 and 1.25."""
    noise: float = 0.0
    """Probability of Gaussian noise."""
    noise_std: float = 0.02
    """Largest standard deviation of the noise, fraction of the range."""
    blur: float = 0.0
    """Probability of a slight Gaussian blur."""
    cutout: float = 0.0
    """Probability of black rectangles over the image."""
    cutout_size: float = 0.2
    """Largest side of such a rectangle, fraction of the image's."""

    def __post_init__(self) -> None:
        for key in (
            "horizontal_flip",
            "vertical_flip",
            "affine",
            "brightness_contrast",
            "gamma",
            "noise",
            "blur",
            "cutout",
        ):
            require(0 <= getattr(self, key) <= 1, f"{key}: {getattr(self, key)} is no probability in [0, 1]")
        for key in ("shift", "scale", "brightness", "contrast", "noise_std"):
            require(0 <= getattr(self, key) < 1, f"{key}: {getattr(self, key)} is not in [0, 1)")
        require(0 < self.cutout_size <= 1, f"cutout_size: {self.cutout_size} is not in (0, 1]")
        require(0 <= self.rotate <= 180, f"rotate: {self.rotate} is not in [0, 180] degrees")
        require(0 <= self.shear < 45, f"shear: {self.shear} is not in [0, 45) degrees")


@dataclass(frozen=True)
class OptimSettings:
    """AdamW with a linear warm-up and a cosine, both by optimiser step."""

    lr: float = 3e-4
    """Learning rate at the end of the warm-up."""
    weight_decay: float = 1e-2
    """Decoupled weight decay; none on biases and norms."""
    beta1: float = 0.9
    """Decay of the mean of gradients."""
    beta2: float = 0.999
    """Decay of the mean of squared gradients."""
    warmup_epochs: float = 1.0
    """Length of the warm-up, epochs; may be a fraction."""
    warmup_start: float = 0.01
    """Learning rate at step 0, fraction of lr."""
    final: float = 0.01
    """Learning rate at the last step, fraction of lr."""
    clip_norm: float = 5.0
    """Largest norm of the gradient; 0 does not clip."""

    def __post_init__(self) -> None:
        require(self.lr > 0, f"lr: {self.lr} is not above 0")
        require(self.weight_decay >= 0, f"weight_decay: {self.weight_decay} is below 0")
        require(self.warmup_epochs >= 0, f"warmup_epochs: {self.warmup_epochs} is below 0")
        require(self.clip_norm >= 0, f"clip_norm: {self.clip_norm} is below 0")
        for key in ("beta1", "beta2"):
            require(0 <= getattr(self, key) < 1, f"{key}: {getattr(self, key)} is not in [0, 1)")
        for key in ("warmup_start", "final"):
            require(0 <= getattr(self, key) <= 1, f"{key}: {getattr(self, key)} is not in [0, 1]")


@dataclass(frozen=True)
class TrainerSettings:
    """Length of training and the hardware it uses."""

    epochs: int = 10
    """Passes over the training folds."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device; auto takes GPUs where there are any."""
    devices: int | Literal["auto"] = "auto"
    """Number of devices; auto takes every GPU that the global batch can be spread over, or one CPU process."""
    precision: Literal["auto", "32", "bf16", "fp16"] = "auto"
    """Arithmetic; auto takes bf16 or fp16 where the GPU has it, else 32 bits."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes per device; 0 loads in the training process."""
    channels_last: bool = True
    """Memory layout of images and weights; faster for convolutions on CPUs and GPUs."""
    checkpoint_every_steps: int = 0
    """Optimiser steps between checkpoints within an epoch; 0 saves at the end of each epoch only."""
    progress: Literal["auto", "rich", "plain", "none"] = "auto"
    """Progress: rich bars on a terminal, plain lines in a log or notebook."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, f"epochs: {self.epochs} is below 1")
        require(self.devices == "auto" or self.devices >= 1, f"devices: {self.devices} is below 1")
        require(self.workers == "auto" or self.workers >= 0, f"workers: {self.workers} is below 0")
        require(self.checkpoint_every_steps >= 0, f"checkpoint_every_steps: {self.checkpoint_every_steps} is below 0")
