"""The methods of `socket.socket`, and functions of `socket` and `os`, that know the in-process network.

The methods of the class itself are replaced, not the name ``socket.socket``: so the class is the same for code that has
imported it before, for subclasses such as `ssl.SSLSocket`, and for ``isinstance``. A socket that does not belong to the
current network behaves as usual.
"""

import _socket
import errno
import functools
import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

from .._asyncio.patching import patched
from .addresses import ForeignHost, error
from .name_resolution import resolving
from .network import SOCKETS, InProcessNetwork, LeavesNetwork
from .refusals import outside

_METHODS = (
    *("bind", "listen", "_accept", "connect", "connect_ex", "shutdown"),
    *("getsockname", "getpeername", "getsockopt", "setsockopt"),
    *("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into"),
    *("send", "sendall", "sendto", "sendmsg"),
)

IS_SUPPORTED: bool = hasattr(select, "poll") and hasattr(socket, "AF_UNIX")
NOT_SUPPORTED = "sockets in memory need Linux or macOS: on Windows, readiness of a socket cannot be imitated"

_current: list["NetworkOnDemand"] = []


@contextmanager
def socket_methods_replaced() -> Iterator[None]:
    """Replace them inside the block. They have no effect while no network is current."""
    with ExitStack() as stack:
        for name in _METHODS:
            stack.enter_context(patched(socket.socket, name, functools.partial(_dispatching, name)))
        for owner, name, wrapper in (
            (socket.socket, "__init__", _creating),
            (socket.socket, "_real_close", _closing),
            (socket.socket, "fileno", _showing),
            (socket.socket, "detach", _showing),
            (socket.socket, "__del__", _collecting),
            (socket, "close", _closing_descriptor),
            (os, "close", _closing_descriptor),
            (os, "sendfile", _sending_file),
            (socket, "getaddrinfo", lambda original: resolving(original, network)),
        ):
            stack.enter_context(patched(owner, name, wrapper))
        yield


class NetworkOnDemand:
    """A context manager: inside the block, new sockets belong to a network that is made when it is first needed.

    Most runs of an exploration have no socket.

    Args:
        make: makes the network.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], InProcessNetwork]) -> None:
        self._make = make
        self._made: InProcessNetwork | None = None

    @property
    def network(self) -> InProcessNetwork:
        """The network."""
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def is_current(self) -> bool:
        """True in the innermost block."""
        return self in _current[-1:]

    @property
    def refused(self) -> list[str]:
        """The addresses at which a connection was refused because nothing listens there."""
        return [] if self._made is None else self._made.refused

    def __enter__(self) -> "NetworkOnDemand":
        _current.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self in _current:  # not in a process that was forked inside the block
            _current.remove(self)
            self.close()

    def close(self) -> None:
        """Forget all sockets."""
        if self._made is not None:
            self._made.close()


def network() -> InProcessNetwork | None:
    """Return the current network; None if there is none."""
    return _current[-1].network if _current else None


def _leave_in_child() -> None:
    """Leave the network in a forked process: its memory is not that of the other side.

    Inherited sockets are as if the peer had closed them. Readiness behind them belongs to the parent.
    """
    if SOCKETS:
        dead, other = _socket.socketpair()
        other.close()
        for descriptor in SOCKETS:
            os.dup2(dead.fileno(), descriptor, inheritable=False)
        dead.close()
    while _current:
        _current.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_in_child)


def _leads_to_other_process(caller: FrameType) -> bool:
    """Return True for a socket of multiprocessing, which reads it by its descriptor."""
    return str(caller.f_globals.get("__name__", "")).startswith("multiprocessing.")


def _dispatching(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    descriptor_of, get = _socket.socket.fileno, SOCKETS.get

    @functools.wraps(original)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        each = get(descriptor_of(self))
        if each is None:
            if name == "listen" and (current := network()) is not None:
                is_ours = not _leads_to_other_process(sys._getframe(1))
                if is_ours and (each := current.adopt(self)) is not None:
                    return each.listen(self, *args, **kwargs)
            return original(self, *args, **kwargs)
        try:
            try:
                with each.network.lock:
                    return getattr(each, name)(self, *args, **kwargs)
            except ForeignHost as foreign:
                raise each.network.refuse(outside(str(foreign))) from None
        except LeavesNetwork:
            each.network.let_go(self)
        except (TypeError, ValueError, OverflowError) as problem:
            raise _as_python_says(problem, original, self, *args, **kwargs) from None
        return original(self, *args, **kwargs)

    return method


def _as_python_says(
    problem: Exception, original: Callable[..., Any], sock: Any, *args: Any, **kwargs: Any
) -> Exception:
    """Return the exception that Python's own method raises for invalid arguments, before it uses the socket."""
    closed = _socket.socket(sock.family, sock.type)
    closed.close()
    try:
        original(closed, *args, **kwargs)
    except OSError:
        return problem  # only for Python, they are valid
    except (TypeError, ValueError, OverflowError) as same:
        return same
    return problem


def _creating(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def __init__(  # noqa: N807
        self: Any,
        family: int = -1,
        type: int = -1,  # noqa: A002  # like socket.socket
        proto: int = -1,
        fileno: int | None = None,
    ) -> None:
        current = network()
        if current is None:
            original(self, family, type, proto, fileno)
            return
        if fileno is not None:
            each = current.socket_behind(fileno)
            if each is not None:
                if each.is_connected:
                    current.check_reads_by_methods(self)
                current.attach(each, fileno)
                own = each.family, each.type, each.real_proto
                given = (one if one != -1 else other for one, other in zip((family, type, proto), own, strict=True))
                original(self, *given, fileno)
                return
            _drop(fileno)  # it was closed behind our back
            original(self, family, type, proto, fileno)
            return
        kind = (
            socket.AF_INET if family == -1 else family,
            socket.SOCK_STREAM if type == -1 else type,
            0 if proto == -1 else proto,
        )
        if not current.has_kind(*kind[:2]) or _leads_to_other_process(sys._getframe(1)):
            original(self, *kind, None)
            _drop(_socket.socket.fileno(self))
            return
        original(self, *kind, current.give(current.create(*kind)))

    return __init__


def _showing(original: Callable[[Any], int]) -> Callable[[Any], int]:
    """Let the descriptor be ready whenever the socket is, from now on, unless it is asked for by the loop itself."""

    @functools.wraps(original)
    def method(self: Any) -> int:
        descriptor = _socket.socket.fileno(self)
        if (each := SOCKETS.get(descriptor)) is not None and not _is_for_loop(each.network, sys._getframe(1)):
            each.show()
        return original(self)

    return method


def _is_for_loop(network: InProcessNetwork, caller: FrameType) -> bool:
    name = caller.f_globals.get("__name__", "")
    return name.startswith("asyncio.") and name != "asyncio.trsock" and network.watches_sockets()


def _closing(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def _real_close(self: Any, *args: Any, **kwargs: Any) -> None:
        each = SOCKETS.get(_socket.socket.fileno(self))
        if each is None:
            original(self, *args, **kwargs)
        else:
            with each.network.lock:
                each.close(self)

    return _real_close


def _collecting(original: Callable[..., None]) -> Callable[..., None]:
    """Let the network know of a socket that the program has dropped without closing it."""

    @functools.wraps(original)
    def __del__(self: Any) -> None:  # noqa: N807
        if SOCKETS:
            _drop(_socket.socket.fileno(self))
        original(self)

    return __del__


def _closing_descriptor(original: Callable[[int], None]) -> Callable[[int], None]:
    @functools.wraps(original)
    def close(fd: int) -> None:
        if SOCKETS:
            _drop(fd)
        original(fd)

    return close


def _drop(descriptor: int) -> None:
    each = SOCKETS.get(descriptor)
    if each is not None:
        with each.network.lock:
            each.drop(descriptor)


def _sending_file(original: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(original)
    def sendfile(out_fd: int, *args: Any, **kwargs: Any) -> int:
        if out_fd in SOCKETS:
            raise error(errno.EINVAL)  # callers then send the file themselves
        return original(out_fd, *args, **kwargs)

    return sendfile
