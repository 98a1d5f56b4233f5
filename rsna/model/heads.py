"""Between the network's logits and the targets: which outputs belong to which, and what they mean."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rsna.dataset.targets import Target


def output_count(targets: Sequence[Target]) -> int:
    """Logits in all."""
    return sum(target.outputs for target in targets)


def output_slices(targets: Sequence[Target]) -> list[slice]:
    """Columns of the logits that belong to each target, in their order."""
    ends = np.cumsum([target.outputs for target in targets])
    return [slice(int(end) - target.outputs, int(end)) for target, end in zip(targets, ends, strict=True)]


def probabilities(logits: npt.NDArray[np.float32], targets: Sequence[Target]) -> dict[str, npt.NDArray[np.float32]]:
    """Logits (N, outputs) float32 → per target (N,) for two classes (of the second), (N, classes) for more."""
    result = {}
    for target, columns in zip(targets, output_slices(targets), strict=True):
        part = logits[:, columns].astype(np.float64)
        if target.outputs == 1:
            result[target.name] = (1 / (1 + np.exp(-np.clip(part[:, 0], -700, 700)))).astype(np.float32)
        else:
            raised = np.exp(part - part.max(axis=1, keepdims=True))
            result[target.name] = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return result
