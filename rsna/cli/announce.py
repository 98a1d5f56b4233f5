"""The first line of every verb, ahead of imports that take seconds: what it is going to do, from what, into what."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from rsna.parallel.progress import say

_PRINTING = ("-c", "--cfg", "-i", "--info", "--hydra-help", "--version", "-sc", "--shell-completion")
"""Flags of Hydra."""


def tell(verb: str, text: str) -> None:
    """A line of a verb on standard error, from the first of several ranks alone; nobody has to be there to read it."""
    if text and os.environ.get("RANK", "0") == "0":
        with suppress(OSError, ValueError, AttributeError):  # it is a full pipe, closed, or none
            say(f"rsna {verb}: {text}", sys.stderr)


def asks_for_print(overrides: Sequence[str]) -> bool:
    """Whether the configuration is to be printed, and nothing done (``--cfg job``)."""
    return any(override.partition("=")[0] in _PRINTING for override in overrides)
