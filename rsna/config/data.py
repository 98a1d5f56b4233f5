"""Where images come from, how they are prepared, how patients are split."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rsna.config.settings import ConfigError, require

TargetName = Literal["cancer", "biopsy", "invasive", "difficult_negative_case", "BIRADS", "density", "view"]
"""What a network can learn; :data:`rsna.dataset.targets.TARGETS` says how each is read."""

Split = Literal["train", "test"]
"""The two parts of a set that the competition publishes: with labels, and without."""

DATA_VARIABLE = "RSNA_DATA"
"""Environment variable that names the folder with train.csv and train_images."""


DEFAULT_ROOT = Path("data/rsna")
"""Folder that ``data=auto`` looks for when the variable is not set."""


@dataclass(frozen=True)
class DataSettings:
    """A set of images."""

    root: str = str(DEFAULT_ROOT)
    """Folder with train.csv and train_images/<patient_id>/<image_id>.{dcm,png,jpg}."""
    name: str = ""
    """Short name of the set, carried by caches and runs; the folder's own name where empty."""
    sampling: Literal["population", "enriched"] = "population"
    """Whether prevalence in this set means anything: population, as screening sees it, or enriched with cancers."""
    extra: tuple[str, ...] = ()
    """Roots of further sets that are only ever trained on, never validated on."""
    demo: bool = False
    """Write the embedded sample to root where it is not there yet."""
    limit: int = 0
    """Images at most, for a try: a part of the set by whole patients; 0 takes all."""

    def __post_init__(self) -> None:
        require(bool(self.root), "root: name the folder that holds train.csv")
        bad = set(self.name) & set("/\\ ")
        require(not bad, f"name: {self.name!r} becomes a folder's name; leave out {' '.join(sorted(bad))!r}")
        require(self.limit >= 0, f"limit: {self.limit} is below 0; 0 takes every image")


def choose_data(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """What ``data=auto`` stands for: (``rsna`` or ``demo``, why).

    Raises:
        ConfigError: The variable is set to something that does not exist.
    """
    root = environment.get(DATA_VARIABLE, "")
    if root:
        if not Path(root).expanduser().is_dir():
            raise ConfigError(
                f"{DATA_VARIABLE}={root}: there is no such folder; unset it, or set it to one with train.csv"
            )
        return "rsna", f"${DATA_VARIABLE} is {root}"
    if DEFAULT_ROOT.is_dir():
        return "rsna", f"{DEFAULT_ROOT} is there"
    return "demo", f"neither ${DATA_VARIABLE} nor {DEFAULT_ROOT} is there, so the embedded sample is used"


@dataclass(frozen=True)
class PreprocessSettings:
    """How a file becomes a picture. Together with `PREPROCESSING_VERSION` it makes the preprocessing hash."""

    size: tuple[int, int] = (1024, 512)
    """(rows, columns) of the prepared image, in pixels."""
    bits: Literal[8, 16] = 8
    """Bits a pixel of the prepared image."""
    crop: Literal["breast", "none", "boxes"] = "breast"
    """breast: found on the image, everything else blackened; none: the whole image; boxes: from a file."""
    boxes: str = ""
    """CSV file with image_id, x0, y0, x1, y1 in pixels of the file as stored; for crop=boxes alone."""
    margin: float = 0.02
    """Air kept around the found breast, as share of its longer side; 0 to 0.5."""
    window: int | str | None = 0
    """Window or VOI LUT of the file by index or explanation; null for the full stored range."""
    full_resolution: bool = False
    """Decode JPEG 2000 at full size instead of at the smallest level that has the target's size; slower."""
    orientation: Literal["right", "left", "keep"] = "right"
    """Where the nipple points after mirroring: right puts every chest wall on the left; keep mirrors nothing."""

    def __post_init__(self) -> None:
        require(
            all(8 <= side <= 8192 for side in self.size), f"size {list(self.size)}: both sides lie within 8 to 8192"
        )
        require(self.bits in (8, 16), f"bits {self.bits}: 8 or 16")
        require(self.crop in ("breast", "none", "boxes"), f"crop {self.crop}: breast, none or boxes")
        require(0 <= self.margin <= 0.5, f"margin {self.margin}: 0 to 0.5")
        require(self.orientation in ("right", "left", "keep"), f"orientation {self.orientation}: right, left or keep")
        require(
            not isinstance(self.window, int) or self.window >= 0,
            f"window {self.window}: an index from 0, an explanation, or null",
        )
        require(self.crop != "boxes" or bool(self.boxes), "boxes: crop=boxes needs boxes=FILE.csv")
        require(self.crop == "boxes" or not self.boxes, f"boxes {self.boxes}: read with crop=boxes alone")


@dataclass(frozen=True)
class FoldSettings:
    """How patients are split for cross-validation."""

    n_folds: int = 4
    """Number of folds; each patient is validated in exactly one."""
    seed: int = 0
    """Seed of the shuffle within a stratum."""
    file: str = ""
    """CSV with patient_id, image_id, fold to use instead of making folds."""

    def __post_init__(self) -> None:
        require(2 <= self.n_folds <= 100, f"n_folds: {self.n_folds} is not between 2 and 100")
        require(self.seed >= 0, f"seed: {self.seed} is below 0")
