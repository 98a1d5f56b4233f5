"""Rows of an image table → examples: what one label belongs to and one prediction is made for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.model import FusionSettings, Unit
from rsna.dataset.exams import exams_of
from rsna.dataset.table_inputs import TableInput
from rsna.dataset.targets import Target

Indices = npt.NDArray[np.int64]

PER_IMAGE = ("image_id", "view", "path")
"""Columns that say nothing of a breast: its images differ in them."""


class Rows(Sequence[Indices]):
    """Rows of a table of images, of each example: (k,) int64 each, all within one array.

    Of 10^7 examples as many small arrays would take more memory than the table, and be copied into every process that
    reads images.
    """

    def __init__(self, values: Indices, lengths: Indices) -> None:
        """Takes the rows of all examples one after the other, and (n,) how many each has."""
        self.values, self.starts = values, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])

    @property
    def lengths(self) -> Indices:
        """(n,) how many rows each example has."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, place: int) -> Indices: ...
    @overload
    def __getitem__(self, place: slice) -> "Rows": ...
    def __getitem__(self, place: int | slice) -> "Indices | Rows":
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        start, end = self.starts[:-1][place], self.starts[1:][place]
        return self.values[start:end]

    def __iter__(self) -> Iterator[Indices]:
        starts = self.starts.tolist()
        return (self.values[start:end] for start, end in pairwise(starts))

    def take(self, places: Indices) -> "Rows":
        """Those of some examples, in their order."""
        lengths = self.lengths[places]
        # Each example's rows, counted on from its first.
        shift = np.repeat(self.starts[places] - (np.cumsum(lengths) - lengths), lengths)
        return Rows(self.values[np.arange(len(shift)) + shift], lengths)


@dataclass(frozen=True)
class ExampleSpec:
    """What an example is to a network, in training and wherever it predicts."""

    unit: Unit = "image"
    fusion: FusionSettings = field(default_factory=FusionSettings)
    """How the images of a breast become one."""
    compare: bool = False
    """Whether the exam's other breast is looked at, too."""
    inputs: tuple[TableInput, ...] = ()
    """What the network is told of each image beside its pixels."""


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
    rows: Rows = field(repr=False)
    """Rows of ``images`` of every example, at least one each, in the table's order."""
    others: Rows = field(repr=False)
    """Rows of ``images`` that show the other breast of the same exam; none where that is absent, or not compared."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """image_id or prediction_id of every example."""
        return tuple(self.table["image_id" if self.unit == "image" else "prediction_id"])

    def with_others(self, part: slice = slice(None)) -> tuple[list[Indices], npt.NDArray[np.bool_]]:
        """Rows of ``images`` of some examples, own ones ahead of the other breast's; (N,) which are the latter."""
        both = list(zip(self.rows[part], self.others[part], strict=True))
        rows = [np.concatenate(pair) for pair in both]
        other = [np.arange(len(own) + len(beside)) >= len(own) for own, beside in both]
        return rows, np.concatenate(other) if other else np.zeros(0, dtype=np.bool_)

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


def examples_of(unit: Unit, *frames: pd.DataFrame, compare: bool = False) -> Examples:
    """Groups the images of one or several sets, in the order in which each example, or compared exam, first comes.

    Breasts that are compared follow each other: what reads their images reads each once for both.

    Args:
        unit: What an example is.
        frames: One row an image, with the columns of :class:`rsna.dataset.table.ImageTable`. Each set is grouped by
            itself: patients of equal numbers in two sets may be two people.
        compare: Whether the exam's other breast goes with each; of breasts alone.
    """
    images = pd.concat(frames, ignore_index=True)
    if unit == "image":
        rows = Rows(np.arange(len(images), dtype=np.int64), np.ones(len(images), dtype=np.int64))
        return Examples(unit, images, images, rows, _nothing(len(rows)))
    number_of_set = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    breasts = images.drop(columns=[*PER_IMAGE], errors="ignore").groupby([number_of_set, "prediction_id"], sort=False)
    views: Indices = np.asarray(breasts.size(), dtype=np.int64)
    table = breasts.first().reset_index("prediction_id").reset_index(drop=True).assign(views=views)
    rows = Rows(np.argsort(breasts.ngroup().to_numpy(), kind="stable"), views)
    others = _nothing(len(rows))
    if compare and len(rows):
        # Of each set by itself: one may name its exams, and another number them.
        exams = pd.concat([exams_of(frame) for frame in frames], ignore_index=True)
        others = _other_breasts(images, number_of_set, exams, rows)
        first, beside = rows.values[rows.starts[:-1]], others.lengths > 0
        first[beside] = np.minimum(first[beside], others.values[others.starts[:-1][beside]])
        order = np.argsort(first, kind="stable")
        table = table.iloc[order].reset_index(drop=True)
        rows, others = rows.take(order), others.take(order)
    return Examples(unit, images, table, rows, others)


def _other_breasts(images: pd.DataFrame, number_of_set: Indices, exams: pd.Series, rows: Rows) -> Rows:
    """For every breast the rows of its exam's other one, in the table's order.

    A breast of the same side, which a table of exams without a name has under a prediction_id of its own, is none.
    """
    keys = pd.DataFrame({"set": number_of_set, "patient": images["patient_id"], "exam": exams})
    exam_of_image = keys.groupby(["set", "patient", "exam"], sort=False).ngroup().to_numpy()
    exam = exam_of_image[rows.values[rows.starts[:-1]]]  # (breasts,)
    of_exam = np.argsort(exam, kind="stable")
    counts = np.bincount(exam, minlength=int(exam.max()) + 1)
    breasts = Rows(of_exam, counts)  # of each exam, in their order
    both = breasts.take(exam)  # of each breast those of its exam, itself among them
    owner = np.repeat(np.arange(len(rows)), both.lengths)
    apart = both.values != owner
    if "laterality" in images:
        side = pd.factorize(images["laterality"].mask(images["laterality"].eq("")))[0][rows.values[rows.starts[:-1]]]
        apart &= (side[both.values] != side[owner]) | (side[owner] < 0)
    owner, beside = owner[apart], both.values[apart]
    lengths = np.zeros(len(rows), dtype=np.int64)
    np.add.at(lengths, owner, rows.lengths[beside])
    return Rows(rows.take(beside).values, lengths)


def _nothing(count: int) -> Rows:
    return Rows(np.zeros(0, dtype=np.int64), np.zeros(count, dtype=np.int64))
