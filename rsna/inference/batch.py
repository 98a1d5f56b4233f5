"""Batches: images that are predicted at once, which example each belongs to, and what is known of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsna.dataset.examples import Examples, ExampleSpec
from rsna.dataset.table_inputs import TableInput, read_headers, read_inputs

if TYPE_CHECKING:
    from torch import Tensor

    from rsna.dicom import Tags


@dataclass(frozen=True)
class Batch:
    """N images of B examples."""

    images: npt.NDArray[Any]
    """(N, H, W) uint8 or uint16, as the cache holds them."""
    example: npt.NDArray[np.int64] | None = None
    """(N,) the number of the example that each image belongs to, 0 to B - 1, ascending; None where each is its own."""
    table: npt.NDArray[np.float32] | None = None
    """(N, inputs) what is known of each image beside its pixels, see :func:`rsna.dataset.table_inputs.read_inputs`;
    None where nothing is."""
    other: npt.NDArray[np.bool_] | None = None
    """(N,) whether an image shows the other breast of its example's exam; None where none does."""

    def __len__(self) -> int:
        """Examples."""
        return len(self.images) if self.example is None else int(self.example[-1]) + 1

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """(N,) ``example``, also where each image is its own."""
        return np.arange(len(self.images), dtype=np.int64) if self.example is None else self.example

    def as_unit(self) -> npt.NDArray[np.float32]:
        """(N, 1, H, W) images in [0, 1], in the arithmetic that torch uses."""
        return self.images[:, None].astype(np.float32) / np.float32(np.iinfo(self.images.dtype).max)

    def table_of(self, inputs: int) -> npt.NDArray[np.float32]:
        """(N, inputs) ``table``, NaN throughout where nothing is known."""
        return np.full((len(self.images), inputs), np.nan, dtype=np.float32) if self.table is None else self.table

    @property
    def others(self) -> npt.NDArray[np.bool_]:
        """(N,) ``other``, also where none is."""
        return np.zeros(len(self.images), dtype=np.bool_) if self.other is None else self.other


@dataclass(frozen=True)
class ImageFacts:
    """What is known of k images, of one example or of several, beside their pixels."""

    table: npt.NDArray[np.float32]
    """(k, inputs), see :func:`rsna.dataset.table_inputs.read_inputs`."""
    other: npt.NDArray[np.bool_]
    """(k,) whether an image shows the other breast of its example's exam."""
    unsaid: npt.NDArray[np.bool_] | None = None
    """(k, inputs) what the table says nothing of, so that the file's header is asked; None where none is."""
    inputs: tuple[TableInput, ...] = ()
    """What headers are asked for."""

    def kept(self, which: npt.NDArray[np.bool_]) -> "ImageFacts":
        """Those of some images, whose headers were read: (k,) which."""
        return ImageFacts(self.table[which], self.other[which])

    def with_headers(self, tags: "Sequence[Tags | None]", told: Counter[str]) -> "ImageFacts":
        """What is known once files are read: where the table says nothing, what their headers say.

        Args:
            tags: Of k files; None of a picture, and of one that failed.
            told: By input, of how many images, those of other breasts aside, a header told it; is added to.
        """
        if self.unsaid is None or not self.unsaid.any():
            return self
        table = np.where(self.unsaid, read_headers(self.inputs, tags), self.table)
        found = self.unsaid & ~np.isnan(table) & ~self.other[:, None]
        told.update({one.name: int(n) for one, n in zip(self.inputs, found.sum(axis=0), strict=True) if n})
        return ImageFacts(table, self.other)

    @staticmethod
    def of(spec: ExampleSpec, examples: Examples) -> "list[ImageFacts] | None":
        """What a table says of the images of each example, own ones first; None where a network asks for nothing."""
        if not spec.inputs and not spec.compare:
            return None
        table = read_inputs(spec.inputs, examples.images)
        said = [one.is_said(examples.images) for one in spec.inputs]
        unsaid = ~np.stack(said, axis=1) if said else np.zeros(table.shape, dtype=np.bool_)
        rows, other = examples.with_others()
        parts = np.split(other, np.cumsum([len(one) for one in rows])[:-1])
        return [
            ImageFacts(table[own], beside, unsaid[own], spec.inputs) for own, beside in zip(rows, parts, strict=True)
        ]


def stack_batch(
    examples: Sequence[Sequence[npt.NDArray[Any]]], facts: Sequence[ImageFacts] = (), fill: int = 0
) -> Batch:
    """Stacks examples, each of one or more (H, W) images, with what is known of them, if anything.

    Up to ``fill`` images the last one is repeated, each time as an example of its own. In batches of one size an image
    has the same logits whatever stands beside it (measured: 16 on the CPU); in others they differ by some 1e-6, as
    convolutions are cut up in another way.
    """
    stacked = [image for example in examples for image in example]
    more = max(0, fill - len(stacked))
    sizes = [len(example) for example in examples] + [1] * more
    batch = Batch(np.stack(stacked + stacked[-1:] * more), np.repeat(np.arange(len(sizes)), sizes))
    if not facts:
        return batch
    table, other = (np.concatenate(parts) for parts in zip(*((one.table, one.other) for one in facts), strict=True))
    table = np.concatenate([table, np.repeat(table[-1:], more, axis=0)])
    other = np.concatenate([other, np.zeros(more, dtype=np.bool_)])
    return replace(batch, table=table if table.shape[1] else None, other=other if other.any() else None)


def trial_inputs(spec: ExampleSpec, size: tuple[int, int]) -> "dict[str, Tensor | None]":
    """Inputs of a network by their names, in its order, for a runtime to follow it with; None of what it does not take.

    Three images of two examples: a batch of one would be taken for a constant.
    """
    import torch

    return {
        "images": torch.zeros(3, 1, *size),
        "example": torch.tensor([0, 0, 1]),
        "table": torch.zeros(3, len(spec.inputs)) if spec.inputs else None,
        "other": torch.tensor([False, True, False]) if spec.compare else None,
    }


def count_that_fits(sizes: Sequence[int], most: int) -> int:
    """How many examples, of ``sizes`` images each, from the front have ``most`` images in all; at least one."""
    return max(1, int(np.searchsorted(np.cumsum(sizes), most, side="right")))
