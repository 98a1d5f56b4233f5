"""Rows of an image table → examples: what one label belongs to and one prediction is made for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.dataset.targets import Target

Unit = Literal["image", "breast"]
"""An example is an image by itself, or a breast with all its images."""

PER_IMAGE = ("image_id", "view", "path")
"""Columns that say nothing of a breast: its images differ in them."""


@dataclass(frozen=True)
class Examples:
    """Examples of one unit, with their images and labels."""

    unit: Unit
    images: pd.DataFrame = field(repr=False)
    """One row an image."""
    table: pd.DataFrame = field(repr=False)
    """One row an example: ``images`` itself, or one row a breast, with the first known value of every column but
    ``PER_IMAGE`` and with ``views``, the number of its images. Cancer is the same in all images of a breast, as the
    table was checked for; where anything else differs from image to image, the first image that knows it counts."""
    ids: tuple[str, ...] = field(repr=False)
    """image_id or prediction_id of every example."""
    rows: tuple[npt.NDArray[np.int64], ...] = field(repr=False)
    """Rows of ``images`` of every example, at least one each, in the table's order."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def positive(self) -> npt.NDArray[np.bool_]:
        """(n,) whether an example is known to have cancer."""
        return self.table["cancer"].eq(1).to_numpy() if "cancer" in self.table else np.zeros(len(self), dtype=np.bool_)

    def labels(self, targets: Sequence[Target]) -> npt.NDArray[np.float32]:
        """(n, targets) float32 class indices, NaN where unknown; a breast has no view."""
        return np.stack([target.read(self.table) for target in targets], axis=1)


def learnable(unit: Unit, targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Those targets that an example of this unit has labels for: a breast has no view."""
    return tuple(target for target in targets if unit == "image" or target.name not in PER_IMAGE)


def examples_of(unit: Unit, *frames: pd.DataFrame) -> Examples:
    """Groups the images of one or several sets, in the order in which each example first comes.

    Args:
        unit: What an example is.
        frames: One row an image, with the columns of :class:`rsna.dataset.table.ImageTable`. Each set is grouped by
            itself: patients of equal numbers in two sets may be two people.
    """
    images = pd.concat(frames, ignore_index=True)
    if unit == "image":
        rows = tuple(np.arange(len(images), dtype=np.int64)[:, None])
        return Examples(unit, images, images, tuple(images["image_id"]), rows)
    number_of_set = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    breasts = images.drop(columns=[*PER_IMAGE], errors="ignore").groupby([number_of_set, "prediction_id"], sort=False)
    views = breasts.size().to_numpy()
    table = breasts.first().reset_index("prediction_id").reset_index(drop=True).assign(views=views)
    order = np.argsort(breasts.ngroup().to_numpy(), kind="stable")
    return Examples(unit, images, table, tuple(table["prediction_id"]), tuple(np.split(order, np.cumsum(views))[:-1]))
