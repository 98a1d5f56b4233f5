"""What training learnt beside the backbone, and a network that starts from it goes on with where it means the same."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from rsna.dataset.table_inputs import TableInput
from rsna.dataset.targets import Target
from rsna.model.heads import output_slices

_PARTS = ("pooling", "table_embedding", "fusion", "comparison")
"""Parts between backbone and classifier. All that one adds starts at zero, so a network that has it not yet starts as
the one before, and with means over the images of a breast."""


@dataclass(frozen=True)
class Learnt:
    """What is known of a network of this project, of which a file alone says nothing."""

    targets: tuple[Target, ...]
    """In the order of its logits."""
    inputs: tuple[TableInput, ...]
    """What it is told of an image beside the pixels."""


def take_over(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], then: Learnt, now: Learnt
) -> tuple[dict[str, Tensor], list[str]]:
    """Picks what a network can go on with.

    Args:
        own: State of the network that starts, whose backbone is loaded already.
        state: That of the network before.
        then: What is known of the network before.
        now: Of this one.

    Returns:
        What changes in ``own``, under the keys that it has in ``state``; its parts in words, the classifier's by its
        targets.
    """
    changed: dict[str, Tensor] = {}
    said = []
    for part in _PARTS:
        theirs, ours = ({key for key in keys if key.startswith(f"{part}.")} for keys in (state, own))
        same = theirs == ours and all(state[key].shape == own[key].shape for key in ours)
        if theirs and same and (part != "table_embedding" or then.inputs == now.inputs):
            changed |= {key: state[key] for key in ours}
            said.append(part)
    shared = [target for target in now.targets if target in then.targets]
    classifier = {key: own[key].clone() for key in ("classifier.weight", "classifier.bias")}
    if shared and all(key in state and state[key].shape[1:] == own[key].shape[1:] for key in classifier):
        before, here = (dict(zip(one.targets, output_slices(one.targets), strict=True)) for one in (then, now))
        for key, values in classifier.items():
            for target in shared:
                values[here[target]] = state[key][before[target]]
        changed |= classifier
        said.append(f"classifier of {', '.join(target.name for target in shared)}")
    return changed, said
