"""Resolving names: those of this machine as usual, and no others."""

import functools
import ipaddress
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .addresses import is_name_of_this_machine
from .network import InProcessNetwork, LeavesNetwork
from .refusals import outside


def resolving(original: Callable[..., Any], network: Callable[[], InProcessNetwork | None]) -> Callable[..., Any]:
    """Return `socket.getaddrinfo`, restricted to this machine while there is a current network."""

    @functools.wraps(original)
    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        current = network()
        name = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else host
        if current is not None and current.owns_thread() and not _needs_no_server(name):
            with suppress(LeavesNetwork):
                raise current.refuse(outside(name))
        return original(host, *args, **kwargs)

    return getaddrinfo


def _needs_no_server(host: Any) -> bool:
    """Return True if no name server has to be asked, or if the host is invalid."""
    if not isinstance(host, str) or not host or is_name_of_this_machine(host):
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
