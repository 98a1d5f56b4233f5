"""How a fold is trained. No torch here: configuration is read and checked before anything heavy is imported."""

from dataclasses import dataclass
from typing import Literal

from rsna.config.settings import require

Precision = Literal["32", "bf16", "fp16"]
WantedPrecision = Literal["auto", "32", "bf16", "fp16"]


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
    crop: int = 0
    """Side of a random crop, resized to this many pixels square; 0 trains on the whole prepared image."""
    crop_area: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest area of that crop, fraction of the image's."""
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width ÷ height of that crop."""
    mixup: float = 0.0
    """Parameter α of mixup, whose share of the first image is drawn from Beta(α, α); 0 mixes nothing."""

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
        require(self.crop >= 0, f"crop: {self.crop} is below 0 pixels")
        require(self.mixup >= 0, f"mixup: {self.mixup} is below 0")
        low, high = self.crop_area
        require(0 < low <= high <= 1, f"crop_area: {list(self.crop_area)} is not 0 < smallest ≤ largest ≤ 1")
        low, high = self.crop_aspect
        require(0 < low <= high, f"crop_aspect: {list(self.crop_aspect)} is not 0 < smallest ≤ largest")


@dataclass(frozen=True)
class SamplerSettings:
    """Which images make up an epoch. A positive is an image of a breast with cancer."""

    kind: Literal["plain", "balanced", "repeated"] = "plain"
    """plain: each image once; balanced: positives in every batch of every device; repeated: positives several times."""
    positives: int = 1
    """For balanced: positives in every batch of a device (batch_size_per_device), at least."""
    repeats: int = 4
    """For repeated: how often each positive comes in an epoch."""

    def __post_init__(self) -> None:
        require(self.positives >= 1, f"positives: {self.positives} is below 1")
        require(self.repeats >= 1, f"repeats: {self.repeats} is below 1")


@dataclass(frozen=True)
class LossSettings:
    """Cross-entropy of every target, summed over the targets."""

    label_smoothing: float = 0.0
    """Share of every label that is spread evenly over the classes."""
    soft_positive: float = 1.0
    """Label of the second of two classes instead of 1: 0.9 says that a positive image may show nothing."""
    auxiliary_weight: float = 1.0
    """Weight of every target after the first."""

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing < 1, f"label_smoothing: {self.label_smoothing} is not in [0, 1)")
        require(0.5 < self.soft_positive <= 1, f"soft_positive: {self.soft_positive} is not in (0.5, 1]")
        require(self.auxiliary_weight >= 0, f"auxiliary_weight: {self.auxiliary_weight} is below 0")


@dataclass(frozen=True)
class OptimSettings:
    """AdamW with a linear warm-up and a cosine, both by optimiser step."""

    lr: float = 3e-4
    """Learning rate at the end of the warm-up."""
    scale_lr: Literal["none", "linear"] = "none"
    """linear: lr × global_batch_size ÷ base_batch_size; none: lr as it stands."""
    base_batch_size: int = 16
    """Global batch that lr was found for, images."""
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
        require(self.base_batch_size >= 1, f"base_batch_size: {self.base_batch_size} is below 1")
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
    compile: bool = False
    """Compile the network with torch.compile: minutes at the start, faster steps afterwards."""
    ema: float = 0.0
    """Decay per step of an exponential moving average of the weights, which is then what counts; 0 keeps none."""
    patience: int = 0
    """Epochs without a better validation figure after which training stops; 0 never stops early."""
    checkpoint_every_steps: int = 0
    """Optimiser steps between checkpoints within an epoch; 0 saves at the end of each epoch only."""
    progress: Literal["auto", "rich", "plain", "none"] = "auto"
    """Progress: rich bars on a terminal, plain lines in a log or notebook."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, f"epochs: {self.epochs} is below 1")
        require(self.devices == "auto" or self.devices >= 1, f"devices: {self.devices} is below 1")
        require(self.workers == "auto" or self.workers >= 0, f"workers: {self.workers} is below 0")
        require(0 <= self.ema < 1, f"ema: {self.ema} is not in [0, 1)")
        require(self.patience >= 0, f"patience: {self.patience} is below 0")
        require(self.checkpoint_every_steps >= 0, f"checkpoint_every_steps: {self.checkpoint_every_steps} is below 0")
