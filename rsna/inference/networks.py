"""Whatever predicts: the networks of a trained model on one device, with torch or with onnxruntime."""

import copy
import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from rsna.config.settings import ConfigError
from rsna.config.training import Precision, WantedPrecision
from rsna.config.verbs import Backend
from rsna.inference.devices import choose_devices, choose_precision, keep_freed_memory
from rsna.inference.pass_plan import PassPlan
from rsna.model.network import MammogramNet, to_unit
from rsna.runs.trained_model import TrainedModel

log = logging.getLogger(__name__)


class Networks(Protocol):
    """Anything that turns a batch into logits."""

    def logits(
        self, images: npt.NDArray[Any], plan: PassPlan | None = None, example: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """Predicts one batch with the networks of a plan, with every one where none is given.

        Args:
            images: (N, H, W) uint8 or uint16, as the cache holds them.
            plan: How many of the networks, and whether mirrored, too.
            example: (N,) the number of the example that each image belongs to, 0 to B - 1, ascending; None where each
                is its own.

        Returns:
            (passes, B, outputs) float32: every network on the images, then every network on the mirrored ones.
        """


class TorchNetworks:
    """The folds of a run on one device."""

    def __init__(
        self,
        networks: Sequence[MammogramNet],
        device: torch.device | None = None,
        trained: WantedPrecision = "auto",
        compiled: bool = False,
    ) -> None:
        self.device = device or choose_devices()[0]
        self.precision = choose_precision(self.device, trained)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.networks: list[Any] = [
            network.to(self.device).to(memory_format=torch.channels_last).eval() for network in networks
        ]
        if compiled:
            self.networks = [torch.compile(network, dynamic=True) for network in self.networks]

    def logits(
        self, images: npt.NDArray[Any], plan: PassPlan | None = None, example: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """See :meth:`Networks.logits`."""
        plan = plan or PassPlan(len(self.networks), False)
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(self.device, non_blocking=True)[:, None]
        # To [0, 1] once for all networks: they take floats as they are.
        batch = to_unit(batch)
        n_examples = len(images) if example is None else int(example[-1]) + 1
        # Where each example has one image there is nothing to join.
        numbers = None if n_examples == len(images) else torch.from_numpy(example).to(self.device)
        views = [batch, batch.flip(3)] if plan.flip else [batch]
        views = [view.contiguous(memory_format=torch.channels_last) for view in views]
        tries: list[Precision] = ["fp16", "32"] if self.precision == "fp16" else [self.precision]
        for precision in tries:
            half = torch.bfloat16 if precision == "bf16" else torch.float16
            with torch.inference_mode(), torch.autocast(self.device.type, dtype=half, enabled=precision != "32"):
                predicted = [network(v, numbers).float() for v in views for network in self.networks[: plan.networks]]
                logits = torch.stack(predicted)[:, :n_examples]
            if precision != "fp16" or torch.isfinite(logits).all():
                break
            # fp16 ends at 65,504, and networks that were trained in bf16 or 32 bits may go beyond.
            log.warning("fp16 overflows in this batch, which is predicted in 32 bits instead")
        return logits.cpu().numpy()


def check_networks(trained: TrainedModel, backend: Backend) -> None:
    """Refuses what is known to be wrong without loading any weights.

    Raises:
        RunError: The weights were not exported, for onnxruntime.
        ConfigError: The model cannot be used on files that are new, or onnxruntime is not installed.
    """
    if trained.preprocess.crop == "boxes":
        raise ConfigError("preprocess.crop: boxes are known for the training images alone; train with crop=breast")
    if backend == "onnxruntime":
        if find_spec("onnxruntime") is None:
            raise ConfigError("backend: onnxruntime is not installed; pip install 'rsna-mammography[export]'")
        from rsna.inference.onnx_networks import read_exports

        read_exports(trained)


def load_networks(trained: TrainedModel, backend: Backend = "torch", compiled: bool = False) -> Sequence[Networks]:
    """The networks of every fold: with torch once a device, with onnxruntime on the CPU.

    Raises:
        RunError: Weights that cannot be loaded, or what :func:`check_networks` refuses.
        ConfigError: See there.
    """
    check_networks(trained, backend)
    if backend == "onnxruntime":
        from rsna.inference.onnx_networks import OnnxNetworks

        return [OnnxNetworks(trained)]
    # Without a compiler, or with an operation that it does not know, a network runs as it is.
    torch._dynamo.config.suppress_errors = compiled
    networks, devices = trained.networks(), choose_devices()
    copies = [networks, *(copy.deepcopy(networks) for _ in devices[1:])]
    return [TorchNetworks(own, d, trained.precision, compiled) for own, d in zip(copies, devices, strict=True)]


def stack_examples(examples: Sequence[Sequence[npt.NDArray[Any]]]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Examples, each of one or more (H, W) images → (N, H, W) images and (N,) the number of each one's example."""
    images = np.stack([image for example in examples for image in example])
    return images, np.repeat(np.arange(len(examples)), [len(example) for example in examples])


def count_that_fits(sizes: Sequence[int], most: int) -> int:
    """How many examples, of ``sizes`` images each, from the front have ``most`` images in all; at least one."""
    return max(1, int(np.searchsorted(np.cumsum(sizes), most, side="right")))
