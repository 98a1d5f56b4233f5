"""Where networks predict, in which arithmetic, and with which memory."""

import contextlib
import ctypes
import functools
import logging
from typing import TYPE_CHECKING

from rsna.collector import collector_off
from rsna.config.settings import ConfigError
from rsna.config.training import Precision, WantedPrecision
from rsna.files import first_line

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

# malloc.h of glibc.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def choose_devices() -> "list[torch.device]":
    """Every GPU that works, else the CPU."""
    # Not above: whoever is refused does not wait for it.
    with collector_off():
        import torch

    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    working = [device for index in gpus if _works(device := torch.device("cuda", index))]
    if working:
        return working
    return [torch.device("mps" if torch.backends.mps.is_available() else "cpu")]


def _works(device: "torch.device") -> bool:
    """A convolution on it: torch finds GPUs, too, that are older than what it was built for, or broken."""
    import torch

    try:
        torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8, device=device), torch.ones(1, 1, 3, 3, device=device)).cpu()
    except RuntimeError as error:
        log.warning("%s is left out: %s", device, first_line(error))
        return False
    return True


def choose_precision(
    device: "torch.device", trained: WantedPrecision = "auto", wanted: WantedPrecision = "auto"
) -> Precision:
    """32 bits where a run was trained so by choice, and off GPUs; else bf16, or fp16 on GPUs without it.

    Args:
        device: Where the networks run.
        trained: ``trainer.precision`` of the run.
        wanted: What is asked for now; it comes before what was trained with.

    Raises:
        ConfigError: fp16 is asked for off GPUs.
    """
    if device.type != "cuda":
        if wanted == "fp16":
            raise ConfigError(f"precision: fp16 is for GPUs, and networks run on the {device.type} here; take 32")
        return "bf16" if wanted == "bf16" and device.type == "cpu" else "32"
    precision = trained if wanted == "auto" else wanted
    if precision == "32":
        return "32"
    import torch

    if precision == "fp16" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return "fp16"
    return "bf16"


@functools.cache
def keep_freed_memory() -> None:
    """Lets this process keep the memory of freed tensors, up to 2 GiB, for the next ones.

    Otherwise glibc gets large tensors from the system one by one and gives them back at once, and at 1024×512 half
    of the time of a network on the CPU goes into empty pages. Other C libraries are left as they are.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_TOP_PAD, 64 << 20)
