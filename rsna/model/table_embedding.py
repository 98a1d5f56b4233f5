"""What a table says of an image, added to the features of its pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rsna.dataset.table_inputs import TableInput

_MIDDLE, _SPREAD = 58.0, 10.0
"""Mean and deviation of a number: of the age of women in screening, years."""

_FARTHEST = 3.8
"""Deviations from the middle, 20 and 96 years: nobody learns from women beyond, where z² would decide alone."""


class TableEmbedding(nn.Module):
    """A vector for every value of every input, one for "unknown", all added up; they start at zero.

    Of a number the vectors of z and z² - 1, for z its distance from the middle in deviations: the first two Hermite
    polynomials, which are uncorrelated where the number is normal. Beyond 20 and 96 years z stays as it is there.
    """

    def __init__(self, inputs: Sequence[TableInput], channels: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.vectors = nn.ParameterList(
            # Row 0 is "unknown"; then those of values, or of z and z² - 1.
            [nn.Parameter(torch.zeros(1 + (2 if one.is_number else len(one.values)), channels)) for one in inputs]
        )
        for place, one in enumerate(self.inputs):
            self.register_buffer(f"seen_{place}", torch.ones(max(len(one.values), 1), dtype=torch.bool))

    def mark_seen(self, table: Tensor) -> None:
        """Takes (n, inputs) of all that is trained on: values that are not among them will count as unknown.

        A validation fold may have the only images of a machine, whose vector would stay as it started.
        """
        for place, one in enumerate(self.inputs):
            if not one.is_number:
                found = table[:, place]
                seen = torch.zeros(len(one.values), dtype=torch.bool)
                seen[found[~found.isnan()].long()] = True
                self.get_buffer(f"seen_{place}").copy_(seen)

    def forward(self, table: Tensor) -> Tensor:
        """(N, inputs) float32, see :meth:`rsna.dataset.table_inputs.TableInput.read` → (N, channels)."""
        parts = []
        for place, (one, vectors) in enumerate(zip(self.inputs, self.vectors, strict=True)):
            known = ~table[:, place].isnan()
            value = torch.where(known, table[:, place], 0)
            if one.is_number:
                z = torch.where(known, ((value - _MIDDLE) / _SPREAD).clamp(-_FARTHEST, _FARTHEST), 0)
                basis = torch.stack([(~known).float(), z, torch.where(known, z**2 - 1, 0)], dim=1)  # (N, 3)
                parts.append(basis @ vectors)
            else:
                row = value.long()
                known = known & self.get_buffer(f"seen_{place}")[row]
                parts.append(vectors[torch.where(known, row + 1, 0)])
        return torch.stack(parts).sum(dim=0)
