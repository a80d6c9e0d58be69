"""A socket of the in-process network becomes one of the operating system's: it is to talk to a real address."""

import _socket
import asyncio
import os
from contextlib import suppress
from typing import Any

from .._introspect.internals import has_selector, selector_of
from .addresses import is_internet, presented


def become_real(each: Any, descriptor: int) -> None:
    """Replace the file of `descriptor` by a real socket with the options, and if possible the address, of `each`.

    The running loop, if it watches the descriptor, watches it on: the operating system watches files.
    """
    loop = asyncio._get_running_loop()
    selector: Any = selector_of(loop) if has_selector(loop) else None
    key = None if selector is None else selector.get_map().get(descriptor)
    real = _socket.socket(each.family, each.type, each.proto)
    try:
        for (level, option), value in each.options.items():
            real.setsockopt(level, option, value)
        if is_internet(each.family) and each.address is not None:
            _bind(real, presented(each.address))
        os.set_blocking(real.fileno(), os.get_blocking(descriptor))
        if key is not None:
            selector.unregister(descriptor)
        os.dup2(real.fileno(), descriptor, inheritable=False)
        if key is not None:
            selector.register(key.fileobj, key.events, key.data)
    finally:
        real.close()


def _bind(real: Any, address: Any) -> None:
    try:
        real.bind(address)
    except OSError:  # a real socket has this port
        with suppress(OSError):
            real.bind((address[0], 0, *address[2:]))
