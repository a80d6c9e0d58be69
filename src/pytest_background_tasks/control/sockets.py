"""Sockets: those that a loop has registered, and whether a thread waits for one of them.

Private names of CPython used here: ``_selector`` and ``_ssock`` of the loop, ``_sock`` of a socket's stream.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from selectors import SelectorKey
from types import FrameType
from typing import Any

from .threads import frames_from

_DEPTH = 4  # frames between a read of a client and its socket


def registered(loop: Any) -> Iterator[SelectorKey]:
    """Return what `loop` has registered with its selector, but for its own end of the pair that wakes it."""
    own_end = loop._ssock.fileno()
    return (key for fd, key in loop._selector.get_map().items() if fd != own_end)


def socket_of(fd: int) -> socket.socket | None:
    """Another handle, to be closed, on the socket behind `fd`; None if it is something else."""
    try:
        return socket.socket(fileno=os.dup(fd))  # the transport's own object is not to be had
    except OSError:
        return None


def name_or(default: str, ask: Callable[[], object]) -> object:
    """Return the name of a socket's end, `default` if it has none."""
    try:
        return ask() or default
    except OSError:
        return default


def is_listening(sock: socket.socket) -> bool:
    """Return whether it is a server's, to which only a client outside the test could connect."""
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def is_connected_to_loop(frame: FrameType, loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether a thread that reads in `frame` does so from a socket whose other end is a connection of `loop`."""
    peers = {name_or("", partial(socket.socket.getpeername, sock)) for sock in _sockets_in(frame)} - {""}
    if not peers or not hasattr(loop, "_selector"):
        return False
    with ExitStack() as stack:
        ends = (socket_of(key.fd) for key in registered(loop))
        return any(name_or("", stack.enter_context(end).getsockname) in peers for end in ends if end is not None)


def _sockets_in(frame: FrameType) -> Iterator[socket.socket]:
    for each in islice(frames_from(frame), _DEPTH):
        for value in tuple(each.f_locals.values()):
            sock: Any = getattr(value, "_sock", None) if type(value) is socket.SocketIO else value
            if issubclass(type(sock), socket.socket):
                yield sock
