"""A recipe's networks, ready to predict: with torch on every device, or with onnxruntime on the CPU."""

from collections.abc import Sequence

from rsna.config.settings import ConfigError
from rsna.config.verbs import Backend
from rsna.inference.ensemble import Predicts, on_every_device
from rsna.runs.recipe import Recipe


def load_networks(recipe: Recipe, backend: Backend = "torch", compiled: bool = False) -> Sequence[Predicts]:
    """Networks, once a device.

    Raises:
        RecipeError: Weights that cannot be loaded, or were not exported.
        ConfigError: The recipe cannot be used on files that are new.
    """
    if recipe.preprocess.crop == "boxes":
        raise ConfigError("preprocess.crop: boxes are known for the training images alone; train with crop=breast")
    if backend == "onnxruntime":
        from rsna.inference.onnx import OnnxEnsemble

        return [OnnxEnsemble(recipe)]
    return on_every_device(recipe.networks(), recipe.precision, compiled)
