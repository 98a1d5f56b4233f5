"""Whatever predicts: networks of a trained model on one device, with torch or with onnxruntime."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rsna.config.settings import ConfigError
from rsna.config.verbs import Backend
from rsna.inference.pass_plan import PassPlan
from rsna.inference.torch_networks import on_every_device
from rsna.runs.trained_model import TrainedModel


class Networks(Protocol):
    """Anything that turns a batch into logits."""

    def logits(
        self, images: npt.NDArray[Any], plan: PassPlan | None = None, example: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """See :meth:`rsna.inference.torch_networks.TorchNetworks.logits`."""


def load_networks(trained: TrainedModel, backend: Backend = "torch", compiled: bool = False) -> Sequence[Networks]:
    """The networks of every fold: with torch once a device, with onnxruntime on the CPU.

    Raises:
        RunError: Weights that cannot be loaded, or were not exported.
        ConfigError: The model cannot be used on files that are new.
    """
    if trained.preprocess.crop == "boxes":
        raise ConfigError("preprocess.crop: boxes are known for the training images alone; train with crop=breast")
    if backend == "onnxruntime":
        from rsna.inference.onnx_networks import OnnxNetworks

        return [OnnxNetworks(trained)]
    return on_every_device(trained.networks(), trained.precision, compiled)


def stack_examples(examples: Sequence[Sequence[npt.NDArray[Any]]]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Examples, each of one or more (H, W) images → (N, H, W) images and (N,) the number of each one's example."""
    images = np.stack([image for example in examples for image in example])
    return images, np.repeat(np.arange(len(examples)), [len(example) for example in examples])


def count_that_fits(sizes: Sequence[int], most: int) -> int:
    """How many examples from the front have ``most`` images in all; at least one, since none is split.

    Args:
        sizes: Images of each example.
        most: Images of a batch.
    """
    return max(1, int(np.searchsorted(np.cumsum(sizes), most, side="right")))
