"""Which runtime predicts, in which arithmetic: the fastest that is installed and predicts what torch predicts."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rsna.collector import collector_off
from rsna.config.keys import Backend, Runtime
from rsna.config.settings import ConfigError
from rsna.config.training import Precision, WantedPrecision
from rsna.files import first_line
from rsna.inference.backends.conversion import Conversion, convert, find_conversion
from rsna.inference.backends.parity import check_images, largest_anywhere
from rsna.inference.devices import choose_devices, choose_precision
from rsna.runs.errors import RunError
from rsna.runs.trained_model import TrainedModel

if TYPE_CHECKING:
    import torch

    from rsna.inference.networks import Networks
    from rsna.model.network import MammogramNet

log = logging.getLogger(__name__)

WORTH = 256
"""Images from which on converting and checking networks takes less than what is saved by it."""

_CHECKED = 4
"""Images that networks are checked on."""

_EXTRAS = {"onnxruntime": "export", "openvino": "cpu"}
"""What to install for a runtime."""


@dataclass(frozen=True)
class Choice:
    """What predicts."""

    backend: Runtime
    precision: Precision
    difference: float | None = None
    """Largest difference of a probability from torch in 32 bits, see `largest_anywhere`; None for torch's own."""
    given_up: tuple[str, ...] = ()
    """Why it is not what was asked for, or would be faster."""
    models: tuple[Path, ...] = ()
    """Files of networks that were converted."""
    conversion: Conversion | None = None
    """Where these lie."""

    def __str__(self) -> str:
        text = f"{self.backend} in {'32 bits' if self.precision == '32' else self.precision}"
        if self.difference is None:
            return text
        return f"{text}, within {self.difference:.1g} in probability of torch in 32 bits"


def check_networks(members: Sequence[TrainedModel], backend: Backend, precision: WantedPrecision) -> None:
    """Refuses what is known to be wrong without loading any weights.

    Raises:
        ConfigError: The model cannot be used on files that are new, or a runtime is not installed, or does not compute
            so.
    """
    if any(member.preprocess.crop == "boxes" for member in members):
        raise ConfigError("preprocess.crop: boxes are known for the training images alone; train with crop=breast")
    if (extra := _EXTRAS.get(backend)) is None:
        if precision == "fp16":
            choose_precision(choose_devices()[0], wanted=precision)
        return
    if not _installed(backend):
        raise ConfigError(f"backend: {backend} is not installed; pip install 'rsna-mammography[{extra}]'")
    if precision == "fp16" or (precision == "bf16" and backend == "onnxruntime"):
        raise ConfigError(f"precision: {backend} does not compute in {precision} on CPUs; take 32")


def choose(
    trained: TrainedModel,
    backend: Backend,
    precision: WantedPrecision,
    devices: "Sequence[torch.device]",
    tolerance: float,
    images: int = WORTH,
    may_convert: bool = True,
) -> Choice:
    """Chooses what predicts; converts and checks networks where no earlier start did.

    On a GPU auto is torch, in the arithmetic of training; on the CPU it is OpenVINO where that is installed and the
    networks were converted before, or there is enough to predict. What is too far from torch in 32 bits, or does not
    work, is given up: for 32 bits, then for torch.

    Args:
        tolerance: Largest difference of a probability that is let through.
        images: How many will be predicted.
        may_convert: Whether there is time to; else what was converted before is taken, or torch.

    Raises:
        ConfigError: See :func:`check_networks`.
        RunError: Weights that cannot be loaded.
    """
    check_networks([trained], backend, precision)
    runtime: Runtime = "torch" if backend == "auto" else backend
    if backend == "auto" and devices[0].type == "cpu" and precision != "fp16" and _installed("openvino"):
        worth = may_convert and images >= WORTH
        runtime = "openvino" if worth or find_conversion(trained, "openvino") else "torch"
    wanted = choose_precision(devices[0], trained.precision, precision) if runtime == "torch" else precision
    if runtime == "torch" and (wanted == "32" or devices[0].type != "cpu"):
        return Choice("torch", wanted if wanted != "auto" else "32")
    if runtime != "torch" and not (may_convert or _converted(trained, runtime)):
        reason = f"no networks were converted for {runtime} before, and under a time budget none are"
        return Choice("torch", "32", given_up=(reason,))
    given_up: list[str] = []
    tries: list[Precision] = ["bf16"] if wanted == "bf16" else []
    tries += ["32"] if runtime != "torch" else []
    for one in tries:
        try:
            choice = _checked(trained, runtime, one)
        except (ConfigError, RunError):
            raise
        except Exception as error:  # an operation that it does not know, a library that does not load
            given_up.append(f"{runtime} cannot run these networks ({type(error).__name__}: {first_line(error)})")
            continue
        if choice.difference is not None and choice.difference <= tolerance:
            return replace(choice, given_up=tuple(given_up))
        given_up.append(f"{choice}: more than tolerance={tolerance:g}")
    return Choice("torch", "32", given_up=tuple(given_up))


def load_networks(
    trained: TrainedModel, choice: Choice, compiled: bool = False, devices: "Sequence[torch.device]" = ()
) -> "Sequence[Networks]":
    """The networks of every fold: with torch once a device (every one that works, unless they are named), with another
    runtime on the CPU.

    Raises:
        RunError: Weights that cannot be loaded.
    """
    if choice.backend != "torch":
        if compiled:
            log.warning("compile: nothing is compiled, as %s predicts; add backend=torch", choice.backend)
        return [_open(choice)]
    with collector_off():
        import torch

        from rsna.inference.networks import TorchNetworks

    # Without a compiler, or with an operation that it does not know, a network runs as it is.
    torch._dynamo.config.suppress_errors = compiled
    networks, devices = trained.networks(), devices or choose_devices()
    copies = [networks, *(copy.deepcopy(networks) for _ in devices[1:])]
    return [TorchNetworks(own, d, choice.precision, compiled) for own, d in zip(copies, devices, strict=True)]


def load_members(
    members: Sequence[TrainedModel],
    choices: Sequence[Choice],
    compiled: bool = False,
    devices: "Sequence[torch.device]" = (),
) -> "Sequence[Sequence[Networks]]":
    """Once a device the networks of every member: see :func:`load_networks`.

    What runs on the CPU alone, beside members with more devices, keeps those to the first.
    """
    loaded = [load_networks(member, choice, compiled, devices) for member, choice in zip(members, choices, strict=True)]
    return list(zip(*loaded, strict=False))


def _installed(runtime: str) -> bool:
    """Whether it is, as a package whose version is known: a folder of this name may lie anywhere."""
    try:
        return bool(version(runtime)) and find_spec(runtime) is not None
    except PackageNotFoundError:
        return False


def _converted(trained: TrainedModel, runtime: Runtime) -> bool:
    """Whether an earlier start converted these networks, or `rsna export` wrote them."""
    if runtime == "onnxruntime":
        from rsna.inference.backends.onnx_networks import find_exports

        if find_exports(trained):
            return True
    return find_conversion(trained, runtime) is not None


def _checked(trained: TrainedModel, runtime: Runtime, precision: Precision) -> Choice:
    """A runtime with its models and how far it is from torch, which is looked up where it is known."""
    networks: list[MammogramNet] = []
    choice = Choice(runtime, precision)
    if runtime == "onnxruntime":
        from rsna.inference.backends.onnx_networks import find_exports

        choice = replace(choice, models=tuple(find_exports(trained)))
    if runtime != "torch":
        import_module(runtime)  # it may be there and not work
    if runtime != "torch" and not choice.models:
        conversion = find_conversion(trained, runtime)
        if conversion is None:
            networks = trained.networks()
            conversion = convert(trained, runtime, lambda folder: _write(networks, trained, runtime, folder))
        models = sorted([*conversion.folder.glob("*.xml"), *conversion.folder.glob("*.onnx")])
        choice = replace(choice, models=tuple(models), conversion=conversion)
        if (known := conversion.difference(precision)) is not None:
            return replace(choice, difference=known)
    import torch

    from rsna.inference.networks import TorchNetworks

    networks = networks or trained.networks()
    device = torch.device("cpu")
    ours = TorchNetworks(networks, device, precision) if runtime == "torch" else _open(choice)
    images = check_images(trained.preprocess, most=_CHECKED)
    theirs = TorchNetworks(networks, device, "32")
    difference = largest_anywhere(ours, theirs, images, trained.cancer_column, trained.spec)
    if choice.conversion is not None:
        choice.conversion.keep_difference(precision, difference)
    return replace(choice, difference=difference)


def _write(networks: "Sequence[MammogramNet]", trained: TrainedModel, runtime: Runtime, folder: Path) -> None:
    size = trained.preprocess.size
    if runtime == "openvino":
        from rsna.inference.backends.openvino_networks import write_openvino

        write_openvino(networks, size, folder / "folds.xml")
        return
    from rsna.inference.backends.onnx_networks import to_onnx

    for number, network in enumerate(networks):
        (folder / f"fold{number:02d}.onnx").write_bytes(to_onnx(network, size))


def _open(choice: Choice) -> "Networks":
    if choice.backend == "onnxruntime":
        from rsna.inference.backends.onnx_networks import OnnxNetworks

        return OnnxNetworks(choice.models)
    from rsna.inference.backends.openvino_networks import OpenVinoNetworks

    return OpenVinoNetworks(choice.models[0], choice.precision)
