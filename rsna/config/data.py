"""Where images come from, how they are prepared, how patients are split."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat

from rsna.config.settings import AtLeastOne, Auto, ConfigError, require, settings

TargetName = Literal["cancer", "biopsy", "invasive", "difficult_negative_case", "BIRADS", "density", "view"]
"""What a network can learn; :data:`rsna.dataset.targets.TARGETS` says how each is read."""

Side = Annotated[int, Field(ge=8, le=8192)]
"""Pixels along a side of a prepared image."""

ValueRange = tuple[int, int]
"""The stored values that are shown black and white."""

Split = Literal["train", "test"]
"""The two parts of a set that the competition publishes: with labels, and without."""

Sampling = Literal["population", "enriched"]
"""Whether prevalence in a set means anything: population, as screening sees it, or enriched with cancers."""

ScoredUnit = Literal["breast", "exam"]
"""What is scored: breasts, as the competition does, or exams, each the maximum over its breasts."""

Aggregate = Literal["mean", "max", "top2"]
"""How a breast's probability is made of its images'."""

JoinMethod = Literal["mean", "logit_mean", "rank_mean", "any", "weights"]
"""How members of an ensemble become one: mean of probabilities; of logits; of ranks within the set; the highest rank,
so that a cut recalls what any member recalls, each the same share; weighted mean of logits."""

ORDERS = ("rank_mean", "any")
"""Methods whose result is an order within a set, no probability."""


def _check_folder_name(name: str) -> str:
    bad = set(name) & set("/\\ ")
    require(not bad, f"name: {name!r} becomes a folder's name; leave out {' '.join(sorted(bad))!r}")
    require(name not in (".", ".."), f"name: {name!r} is a folder that is there already; give another")
    return name


FolderName = Annotated[str, AfterValidator(_check_folder_name)]

SplitBy = Literal["site_id", "machine_id", "dataset"]
"""Columns whose values may be the folds."""

NumberOfFolds = Annotated[int, Field(ge=2, le=100)]

SampleScale = Annotated[float, Field(ge=0.5, le=8)]
"""How many times finer images of the embedded sample are than usual."""

DATA_VARIABLE = "RSNA_DATA"
"""Environment variable that names the folder with train.csv and train_images."""

DEFAULT_ROOT = Path("data/rsna")
"""Folder of the set where the variable is not set."""


@settings
class DataSettings:
    """A set of images."""

    root: str = str(DEFAULT_ROOT)
    """Folder with train.csv and train_images/<patient_id>/<image_id>.{dcm,png,jpg,pgm}, or a published set as it is."""
    name: FolderName = ""
    """Short name of the set, carried by caches and runs; the folder's own name where empty."""
    cancer_from: str = ""
    """What counts as cancer in a public set, by a name that `rsna datasets` lists; the set's own where empty."""
    sampling: Sampling = "population"
    """Whether prevalence in this set means anything: population, as screening sees it, or enriched with cancers."""
    extra: tuple[str, ...] = ()
    """Roots of further sets that are only trained on, never validated on, but with folds.by=dataset."""
    extra_weights: tuple[PositiveFloat, ...] = ()
    """What an example of each of these sets weighs in the loss, beside 1 of those of root; 1 each where empty."""
    extra_cancer_from: tuple[str, ...] = ()
    """What counts as cancer in each of these sets, see cancer_from; auto, or an empty list, is the set's own."""
    demo: bool = False
    """Write the embedded sample to root where it is not there yet."""
    films: bool = False
    """With demo: simulated films as a digitiser gave them, with labels, bars, bright edges and grainy air."""
    scale: SampleScale = 1.0
    """With demo: how many times finer images are than the sample's usual 475 to 669 rows; 4.5 has 2,100 to 3,000."""
    limit: NonNegativeInt = 0
    """Images at most, for a try: a part of the set by whole patients; 0 takes all."""

    def __post_init__(self) -> None:
        require(bool(self.root), "root: name the folder that holds train.csv")
        for key in ("extra_weights", "extra_cancer_from"):
            given = len(getattr(self, key))
            require(given in (0, len(self.extra)), f"{key}: {given} for {len(self.extra)} sets of extra; name one each")


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
    """Table with image_id, x0, y0, x1, y1 in pixels of the file as stored; for crop=boxes alone."""
    margin: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Air kept around the found breast, as share of its longer side; 0 to 0.5."""
    window: NonNegativeInt | str | None = 0
    """Window or VOI LUT of the file by index or explanation; null for the full stored range."""
    value_range: ValueRange | Auto = "auto"
    """[black, white] in stored values, for files that carry no window; auto: measured over the set before training."""
    full_resolution: bool = False
    """Decode JPEG 2000 at full size instead of at the smallest level that has the target's size; slower."""
    orientation: Literal["right", "left", "keep"] = "right"
    """Where the nipple points after mirroring: right puts every chest wall on the left; keep mirrors nothing."""

    def __post_init__(self) -> None:
        if self.value_range != "auto":
            black, white = self.value_range
            require(black < white, f"value_range: black, {black}, is to lie below white, {white}")
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
    """Table with patient_id, image_id, fold to use instead of making folds."""
    by: SplitBy | Literal["chance"] = "chance"
    """What the folds are: patients by chance, or the values of a column, each validated by a network of the others, so
    as many as there are; dataset takes the sets of data.extra as further parts."""
    smallest: AtLeastOne = 60
    """With folds.by: patients; parts with fewer are one together."""

    def __post_init__(self) -> None:
        require(self.by == "chance" or not self.file, f"by: {self.by} makes folds, and file={self.file} brings them")
