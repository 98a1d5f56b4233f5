"""Where images come from, how they are prepared, how patients are split."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt

from rsna.config.settings import ConfigError, require, settings

TargetName = Literal["cancer", "biopsy", "invasive", "difficult_negative_case", "BIRADS", "density", "view"]
"""What a network can learn; :data:`rsna.dataset.targets.TARGETS` says how each is read."""

Side = Annotated[int, Field(ge=8, le=8192)]
"""Pixels along a side of a prepared image."""

Split = Literal["train", "test"]
"""The two parts of a set that the competition publishes: with labels, and without."""

Sampling = Literal["population", "enriched"]
"""Whether prevalence in a set means anything: population, as screening sees it, or enriched with cancers."""

Aggregate = Literal["mean", "max", "top2"]
"""How a breast's probability is made of its images'."""


def _check_folder_name(name: str) -> str:
    bad = set(name) & set("/\\ ")
    require(not bad, f"name: {name!r} becomes a folder's name; leave out {' '.join(sorted(bad))!r}")
    return name


FolderName = Annotated[str, AfterValidator(_check_folder_name)]

NumberOfFolds = Annotated[int, Field(ge=2, le=100)]

DATA_VARIABLE = "RSNA_DATA"
"""Environment variable that names the folder with train.csv and train_images."""

DEFAULT_ROOT = Path("data/rsna")
"""Folder of the set where the variable is not set."""


@settings
class DataSettings:
    """A set of images."""

    root: str = str(DEFAULT_ROOT)
    """Folder with train.csv and train_images/<patient_id>/<image_id>.{dcm,png,jpg}."""
    name: FolderName = ""
    """Short name of the set, carried by caches and runs; the folder's own name where empty."""
    sampling: Sampling = "population"
    """Whether prevalence in this set means anything: population, as screening sees it, or enriched with cancers."""
    extra: tuple[str, ...] = ()
    """Roots of further sets that are only ever trained on, never validated on."""
    demo: bool = False
    """Write the embedded sample to root where it is not there yet."""
    limit: NonNegativeInt = 0
    """Images at most, for a try: a part of the set by whole patients; 0 takes all."""

    def __post_init__(self) -> None:
        require(bool(self.root), "root: name the folder that holds train.csv")


def require_data(root: str) -> None:
    """Refuses a set that nobody named and that is not there.

    Raises:
        ConfigError: The environment variable names no folder, or it is not set and the default folder is not there.
    """
    named = os.environ.get(DATA_VARIABLE, "")
    if named and root == named and not Path(root).expanduser().is_dir():
        raise ConfigError(f"{DATA_VARIABLE}={root}: there is no such folder; unset it, or set it to one with train.csv")
    if root == str(DEFAULT_ROOT) and not DEFAULT_ROOT.is_dir():
        raise ConfigError(
            f"data.root: there is no {DEFAULT_ROOT}, and ${DATA_VARIABLE} is not set; set {DATA_VARIABLE} to the "
            "folder with train.csv, or give data.root=FOLDER, or take the embedded sample with experiment=demo"
        )


@settings
class PreprocessSettings:
    """How a file becomes a picture. Together with `PREPROCESSING_VERSION` it makes the preprocessing hash."""

    size: tuple[Side, Side] = (1024, 512)
    """(rows, columns) of the prepared image, in pixels."""
    bits: Literal[8, 16] = 8
    """Bits a pixel of the prepared image."""
    crop: Literal["breast", "none", "boxes"] = "breast"
    """breast: found on the image, everything else blackened; none: the whole image; boxes: from a file."""
    boxes: str = ""
    """CSV file with image_id, x0, y0, x1, y1 in pixels of the file as stored; for crop=boxes alone."""
    margin: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Air kept around the found breast, as share of its longer side; 0 to 0.5."""
    window: NonNegativeInt | str | None = 0
    """Window or VOI LUT of the file by index or explanation; null for the full stored range."""
    full_resolution: bool = False
    """Decode JPEG 2000 at full size instead of at the smallest level that has the target's size; slower."""
    orientation: Literal["right", "left", "keep"] = "right"
    """Where the nipple points after mirroring: right puts every chest wall on the left; keep mirrors nothing."""

    def __post_init__(self) -> None:
        require(self.crop != "boxes" or bool(self.boxes), "boxes: crop=boxes needs boxes=FILE.csv")
        require(self.crop == "boxes" or not self.boxes, f"boxes {self.boxes}: read with crop=boxes alone")


@settings
class FoldSettings:
    """How patients are split for cross-validation."""

    n_folds: NumberOfFolds = 4
    """Number of folds; each patient is validated in exactly one."""
    seed: NonNegativeInt = 0
    """Seed of the shuffle within a stratum."""
    file: str = ""
    """CSV with patient_id, image_id, fold to use instead of making folds."""
