"""The sockets that a loop has registered, and the threads that wait for one of them.

Private name of CPython used here: ``_sock`` of a socket's stream.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from selectors import SelectorKey
from stat import S_ISSOCK
from types import FrameType
from typing import Any

from .._introspect.internals import has_selector, selector_of, wakeup_socket_of
from .threads import frames_from

_DEPTH = 4  # frames between a read of a client and its socket


def registered(loop: Any) -> Iterator[SelectorKey]:
    """Return the files that `loop` has registered with its selector, except for the socket that wakes the loop."""
    own_end = wakeup_socket_of(loop).fileno()
    return (key for fd, key in selector_of(loop).get_map().items() if fd != own_end)


def socket_of(fd: int) -> socket.socket | None:
    """Return a new handle, to be closed, on the socket behind `fd`; None if it is not a socket."""
    try:
        if not S_ISSOCK(os.fstat(fd).st_mode):
            return None
        return socket.socket(fileno=os.dup(fd))  # the transport's own object is not accessible
    except OSError:
        return None


def name_or(default: str, ask: Callable[[], object]) -> object:
    """Return the name of one end of a socket; `default` if it has none."""
    try:
        return ask() or default
    except OSError:
        return default


def is_listening(sock: socket.socket) -> bool:
    """Return True if `sock` belongs to a server, to which only a client outside the test could connect."""
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def is_connected_to_loop(frame: FrameType, loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if a thread reads in `frame` from a socket whose other end is a connection of `loop`."""
    peers = {name_or("", partial(socket.socket.getpeername, sock)) for sock in _sockets_in(frame)} - {""}
    if not peers or not has_selector(loop):
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
