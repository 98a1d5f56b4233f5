"""Where the images come from: a folder in the competition's layout, or the embedded sample."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rsna.dataset.table import ImageTable, Split, load_table
from rsna.settings import ConfigError, require

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

    def __post_init__(self) -> None:
        require(bool(self.root), "root: name the folder that holds train.csv")
        bad = set(self.name) & set("/\\ ")
        require(not bad, f"name: {self.name!r} becomes a folder's name; leave out {' '.join(sorted(bad))!r}")


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


def load_data(settings: DataSettings, split: Split = "train") -> ImageTable:
    """Reads the table of a set, writing the embedded sample first where it is asked for.

    Raises:
        TableError: See :func:`rsna.dataset.table.load_table`.
    """
    if settings.demo:
        from rsna.dataset.demo import DemoSettings, write_demo

        write_demo(settings.root, DemoSettings())
    return load_table(settings.root, split, settings.name, settings.sampling, settings.extra)
