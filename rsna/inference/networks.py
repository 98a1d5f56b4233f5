"""A trained's networks, ready to predict: with torch on every device, or with onnxruntime on the CPU."""

from collections.abc import Sequence

from rsna.config.settings import ConfigError
from rsna.config.verbs import Backend
from rsna.inference.torch_networks import Networks, on_every_device
from rsna.runs.trained_model import TrainedModel


def load_networks(trained: TrainedModel, backend: Backend = "torch", compiled: bool = False) -> Sequence[Networks]:
    """Networks, once a device.

    Raises:
        RunError: Weights that cannot be loaded, or were not exported.
        ConfigError: The trained cannot be used on files that are new.
    """
    if trained.preprocess.crop == "boxes":
        raise ConfigError("preprocess.crop: boxes are known for the training images alone; train with crop=breast")
    if backend == "onnxruntime":
        from rsna.inference.onnx_networks import OnnxNetworks

        return [OnnxNetworks(trained)]
    return on_every_device(trained.networks(), trained.precision, compiled)
