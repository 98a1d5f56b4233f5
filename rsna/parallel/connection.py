"""The way to a Ray cluster: whether anybody listens, and what its server says where it refuses."""

import logging
import os
import socket
from typing import Any

log = logging.getLogger(__name__)

_ANSWERS_S = 20.0
"""Seconds until the machine of an address has answered, or counts as gone."""


def connect(ray: Any, address: str, **given: Any) -> Any:
    """``ray.init``, which is done once more where a cluster answers a client, but has no server for it in time: Ray
    gives that 30 s, which a busy head may need for its start alone.

    Args:
        ray: the module.
        address: auto, local, ``ray://HOST:PORT``, ``HOST:PORT``.
        given: further arguments of ``ray.init``.

    Raises:
        ConnectionAbortedError: It has none the second time either.
        OSError: Nobody listens there.
        Exception: Whatever Ray raises.
    """
    _knock(address)
    try:
        return ray.init(address=address, **given)
    except ConnectionAbortedError as error:
        log.warning("address: Ray at %s has no server for this client yet (%s); once more", address, reason(error))
        return ray.init(address=address, **given)


def reason(error: ConnectionAbortedError) -> str:
    """What a server says, in one line: the end of its traceback."""
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "no message")


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at ``HOST:PORT``: Ray itself tries for minutes."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS_S).close()
