"""Memory of networks on the CPU."""

import contextlib
import ctypes
import functools

# malloc.h of glibc.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


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
