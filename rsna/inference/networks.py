"""Whatever predicts: the networks of a trained model on one device, with torch or another runtime."""

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from rsna.config.training import Precision
from rsna.inference.batch import Batch
from rsna.inference.devices import choose_devices, choose_precision, keep_freed_memory
from rsna.inference.pass_plan import PassPlan
from rsna.model.network import MammogramNet, to_unit

log = logging.getLogger(__name__)


class Networks(Protocol):
    """Anything that turns a batch into logits."""

    batch_invariant: bool
    """Whether an example has the same logits, to the last bit, whatever stands beside it."""
    precision: Precision

    def logits(self, batch: Batch, plan: PassPlan | None = None) -> npt.NDArray[np.float32]:
        """Predicts one batch with the networks of a plan, with every one where none is given.

        Args:
            batch: B examples.
            plan: How many of the networks, and whether mirrored, too.

        Returns:
            (passes, B, outputs) float32: every network on the images, then every network on the mirrored ones.
        """


class TorchNetworks:
    """The folds of a run on one device."""

    batch_invariant = False

    def __init__(
        self,
        networks: Sequence[MammogramNet],
        device: torch.device | None = None,
        precision: Precision | None = None,
        compiled: bool = False,
    ) -> None:
        """Moves the networks to a device, the first that works where none is named; None for its own precision."""
        self.device = device or choose_devices()[0]
        self.precision: Precision = precision or choose_precision(self.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.networks: list[Any] = [
            network.to(self.device).to(memory_format=torch.channels_last).eval() for network in networks
        ]
        if compiled:
            self.networks = [torch.compile(network, dynamic=True) for network in self.networks]

    def logits(self, batch: Batch, plan: PassPlan | None = None) -> npt.NDArray[np.float32]:
        """See :meth:`Networks.logits`."""
        plan = plan or PassPlan(len(self.networks), False)
        images = torch.from_numpy(np.ascontiguousarray(batch.images)).to(self.device, non_blocking=True)[:, None]
        # To [0, 1] once for all networks: they take floats as they are.
        images = to_unit(images)
        # Where each example has one image there is nothing to join.
        numbers = None if len(batch) == len(images) else batch.example
        given = (numbers, batch.table, batch.other)
        facts = [None if one is None else torch.from_numpy(one).to(self.device) for one in given]
        views = [images, images.flip(3)] if plan.flip else [images]
        views = [view.contiguous(memory_format=torch.channels_last) for view in views]
        tries: list[Precision] = ["fp16", "32"] if self.precision == "fp16" else [self.precision]
        for precision in tries:
            half = torch.bfloat16 if precision == "bf16" else torch.float16
            with torch.inference_mode(), torch.autocast(self.device.type, dtype=half, enabled=precision != "32"):
                predicted = [network(v, *facts).float() for v in views for network in self.networks[: plan.networks]]
                logits = torch.stack(predicted)[:, : len(batch)]
            if precision != "fp16" or torch.isfinite(logits).all():
                break
            # fp16 ends at 65,504, and networks that were trained in bf16 or 32 bits may go beyond.
            log.warning("fp16 overflows in this batch, which is predicted in 32 bits instead")
        return logits.cpu().numpy()
