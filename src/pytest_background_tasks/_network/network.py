"""The in-process network of one run: its sockets, by descriptor, and the addresses that they are bound to."""

import _socket
import errno
import os
import socket
from _thread import RLock
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol

from ..errors import BackgroundTasksError, UncontrolledOperation
from .addressed_socket import AddressedSocket
from .addresses import (
    Endpoint,
    ForeignHost,
    accepts,
    error,
    is_internet,
    is_of_this_machine,
    is_port_taken,
    overlaps,
    shown,
    source,
)
from .datagram_socket import DatagramSocket
from .in_process_socket import InProcessSocket
from .real_socket import become_real
from .refusals import TLS_OF_BLOCKING_SOCKETS, outside, real_server
from .stream_socket import StreamSocket
from .unix_paths import UnixPaths

SOCKETS: dict[int, InProcessSocket] = {}
"""The sockets of the current network, by descriptor. Empty while there is none."""

_TYPES = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
_FLAGS_OF_TYPE = getattr(socket, "SOCK_NONBLOCK", 0) | getattr(socket, "SOCK_CLOEXEC", 0)
_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", socket.AF_INET)})
_FIRST_EPHEMERAL, _LAST_EPHEMERAL = 49_152, 65_535
_REUSE_PORT = getattr(socket, "SO_REUSEPORT", -1)


class Host(Protocol):
    """The surroundings of a network: the loop that uses it."""

    def name(self, kind: str) -> str:
        """Return a name for what the running task has created."""

    def refuses(self, name: str) -> bool:
        """Return True if a connection is to be refused although a socket listens; `name` is that of its client."""

    def owns_thread(self) -> bool:
        """Return True if the current thread belongs to the program, so that its sockets are of this network."""

    def may_leave(self) -> bool:
        """Return True if the program may talk to addresses outside this network."""

    def refuse(self, problem: UncontrolledOperation) -> UncontrolledOperation:
        """Take note that the program wants to leave this network."""

    def refuse_to_block(self, call: str) -> None:
        """Raise an error if the current thread must not wait for the network."""

    def watches_sockets(self) -> bool:
        """Return True if the running loop asks sockets, and not their descriptors, whether they are ready."""


class LeavesNetwork(Exception):
    """A socket is to talk to an address outside the network, and its host permits that."""


class InProcessNetwork:
    """The network of one run.

    Args:
        host: see `Host`.
        are_descriptors_watched: True if loops watch the descriptors of sockets, like asyncio's own.

    Attributes:
        lock: held by a thread that uses a socket of the network.
        refused: the addresses, as text, at which a connection was refused because no socket listens there.
        stream_type, datagram_type: the classes of its sockets.
    """

    stream_type: type[Any] = StreamSocket
    datagram_type: type[Any] = DatagramSocket

    def __init__(self, host: Host, *, are_descriptors_watched: bool = True) -> None:
        self._host = host
        self.are_descriptors_watched: bool = are_descriptors_watched
        self.lock: Any = RLock()
        self._inodes: dict[int, InProcessSocket] = {}
        self._bound: dict[tuple[int, int], list[Any]] = {}  # by type and port; empty where one was bound before
        self._paths = UnixPaths()
        self._adopted: dict[int, int] = {}
        # By type and port; a real socket may still be bound there.
        self._adopted_places: set[tuple[int, int]] = set()
        self._next_port = _FIRST_EPHEMERAL
        self.refused: list[str] = []

    @property
    def listening(self) -> tuple[Any, ...]:
        """The addresses at which sockets listen, as `getsockname` returns them."""
        each_once = {
            id(each): each for each in (*chain(*self._bound.values()), *self._paths.values()) if each is not None
        }
        return tuple(each.getsockname(None) for each in each_once.values() if each.is_listening)

    # Sockets and descriptors.

    def has_kind(self, family: int, type: int) -> bool:  # noqa: A002  # like socket.socket
        """Return True if a new socket of this kind belongs to this network."""
        return family in _FAMILIES and type & ~_FLAGS_OF_TYPE in _TYPES and self._host.owns_thread()

    def create(self, family: int, type: int, proto: int) -> AddressedSocket:  # noqa: A002  # like socket.socket
        """Return a new socket."""
        _check_kind(family, type, proto)
        plain = type & ~_FLAGS_OF_TYPE
        kind = self.stream_type if plain == socket.SOCK_STREAM else self.datagram_type
        each: AddressedSocket = kind(self, family, plain, proto)
        if plain != socket.SOCK_STREAM:
            each.name = self._host.name("datagrams")
        return each

    def give(self, each: InProcessSocket) -> int:
        """Return a descriptor for a socket that has none."""
        self._inodes[each.kernel.inode] = each
        descriptor = each.kernel.give_away()
        self.attach(each, descriptor)
        return descriptor

    def attach(self, each: InProcessSocket, descriptor: int) -> None:
        """Take note that `descriptor` stands for this socket."""
        if (before := SOCKETS.get(descriptor)) is not None and before is not each:
            before.drop(descriptor)  # it was closed behind our back
        SOCKETS[descriptor] = each
        each.add_descriptor(descriptor)

    def socket_behind(self, descriptor: int) -> InProcessSocket | None:
        """Return the socket of this network for which a descriptor stands, such as one of ``dup()``; else None."""
        if not self._inodes:
            return None
        try:
            inode = os.fstat(descriptor).st_ino
        except OSError:
            return None
        return self._inodes.get(inode)

    def duplicate(self, descriptor: int) -> int:
        """Return a new descriptor for the same file or socket."""
        copy = os.dup(descriptor)
        if (each := self.socket_behind(copy)) is not None:
            self.attach(each, copy)
        return copy

    def forget(self, each: Any, descriptor: int) -> None:
        """Take note that `descriptor` does not belong to this socket any more."""
        if SOCKETS.get(descriptor) is each:
            del SOCKETS[descriptor]
        if not each.descriptors:
            self._inodes.pop(each.kernel.inode, None)
        if (before := self._adopted.pop(descriptor, None)) is not None:
            os.close(before)

    def adopt(self, sock: Any) -> InProcessSocket | None:
        """Take a socket that was bound before this network into it, for as long as the network lasts.

        Return None if it is of another kind, or has a connection.
        """
        if not self.has_kind(sock.family, sock.type) or sock.family == getattr(socket, "AF_UNIX", -1):
            return None
        try:
            _socket.socket.getpeername(sock)
        except OSError:
            pass
        else:
            return None
        host, port, *_ = _socket.socket.getsockname(sock)
        descriptor = sock.fileno()
        each = self.create(sock.family, sock.type, sock.proto)
        if port:
            each.address = Endpoint(sock.family, host, port)
            self._bound.setdefault((each.type, port), []).append(each)
            self._adopted_places.add((each.type, port))
        if sock.type == socket.SOCK_STREAM and _socket.socket.getsockopt(sock, socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            each.listen(sock)
        self._adopted[descriptor] = os.dup(descriptor)
        ours = each.kernel.give_away()
        os.dup2(ours, descriptor, inheritable=False)
        os.close(ours)
        self._inodes[each.kernel.inode] = each
        self.attach(each, descriptor)
        return each

    def let_go(self, sock: Any) -> None:
        """Make a socket of this network one of the operating system's, which keeps its descriptor."""
        descriptor = _socket.socket.fileno(sock)
        each = SOCKETS[descriptor]
        become_real(each, descriptor)
        each.drop(descriptor)

    def close(self) -> None:
        """Forget all sockets. The program has to close its own descriptors; those that were adopted are as before."""
        for descriptor, each in list(SOCKETS.items()):
            if each.network is self and SOCKETS.get(descriptor) is each:  # it may have been on its way to another one
                if (before := self._adopted.pop(descriptor, None)) is not None:
                    os.dup2(before, descriptor, inheritable=False)
                    os.close(before)
                del SOCKETS[descriptor]
                each.discard()

    # Addresses.

    def bind(self, each: Any, where: Any) -> None:
        """Bind a socket to an address.

        Raises:
            OSError: the address is in use, or is not of this machine.
        """
        if not is_internet(each.family):
            self._paths.bind(each, where)
            return
        if not is_of_this_machine(where.host):
            raise error(errno.EADDRNOTAVAIL)
        if where.port == 0:
            where = where._replace(port=self._free_port(each.type))
        bound = self._bound.setdefault((each.type, where.port), [])
        if any(self._conflicts(each, where, other) for other in bound):
            raise error(errno.EADDRINUSE)
        each.address = where
        bound.append(each)

    def _conflicts(self, each: Any, where: Endpoint, other: Any) -> bool:
        v6_only = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        if not overlaps(where, each.has_option(*v6_only), other.address, other.has_option(*v6_only)):
            return False
        for option in (_REUSE_PORT, socket.SO_REUSEADDR):
            if each.has_option(socket.SOL_SOCKET, option) and other.has_option(socket.SOL_SOCKET, option):
                return option != _REUSE_PORT and other.is_listening
        return True

    def _free_port(self, type: int) -> int:  # noqa: A002  # like socket.socket
        for _ in range(_FIRST_EPHEMERAL, _LAST_EPHEMERAL + 1):
            port = self._next_port
            self._next_port = port + 1 if port < _LAST_EPHEMERAL else _FIRST_EPHEMERAL
            if not self._bound.get((type, port)):
                return port
        raise error(errno.EADDRINUSE)

    def address_of_client(self, each: Any, where: Endpoint) -> Endpoint:
        """Return the address of a socket that talks to `where`: its own, as far as it is bound to one."""
        bound = each.address or Endpoint(each.family, "0.0.0.0", self._free_port(each.type))
        return bound._replace(host=source(where.host)) if bound.is_wildcard else bound

    def unbind(self, each: Any) -> None:
        """Free the address of a socket."""
        if is_internet(each.family):
            if each.address is not None:
                bound = self._bound.get((each.type, each.address.port), [])
                if each in bound:
                    bound.remove(each)
            return
        self._paths.unbind(each)

    def listen(self, each: Any) -> None:
        """Let a bound socket listen.

        Raises:
            OSError: another socket listens there.
        """
        if not is_internet(each.family):
            return
        for other in self._bound.get((each.type, each.address.port), ()):
            if other is not each and other.is_listening and self._conflicts(each, each.address, other):
                raise error(errno.EADDRINUSE)

    def listener_at(self, each: Any, where: Any) -> Any:
        """Return the socket that listens at an address; None if a connection is refused.

        Raises:
            UncontrolledOperation: the address is outside this network.
            OSError: there is no socket at a path.
        """
        if not is_internet(each.family):
            found = self._at_path(each, where)
            return found if found is not None and found.is_listening else None
        found = self._best([o for o in self._bound.get((each.type, where.port), ()) if o.is_listening], where)
        if found is None:
            self.check(each, where)
        return found

    def receiver_at(self, each: Any, where: Any) -> Any:
        """Return the datagram socket that receives at an address; None if there is none.

        Raises:
            OSError: there is no socket at a path.
        """
        if not is_internet(each.family):
            found = self._at_path(each, where)
            if found is None:
                raise error(errno.ECONNREFUSED)
            return found
        return self._best(self._bound.get((each.type, where.port), ()), where)

    def _best(self, bound: Any, where: Endpoint) -> Any:
        """Return the socket that is bound most precisely to an address."""
        v6_only = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        able = [o for o in bound if accepts(o.address, where.host, is_v6_only=o.has_option(*v6_only))]
        return min(
            able, key=lambda o: (o.address.is_wildcard, (":" in o.address.host) != (":" in where.host)), default=None
        )

    def check(self, each: Any, where: Endpoint) -> None:
        """Refuse to talk to an address outside this network.

        Raises:
            UncontrolledOperation: the address is of another machine, or of a real server of this one.
        """
        if self._bound.get((each.type, where.port)) and self._best(self._bound[each.type, where.port], where):
            return
        place = shown(where)
        if not is_of_this_machine(where.host):
            raise self.refuse(outside(place))
        if not self._is_of_test((each.type, where.port)) and is_port_taken(where, each.type):
            raise self.refuse(real_server(place))
        if each.type == socket.SOCK_STREAM:
            self.refused.append(place)

    def _is_of_test(self, port: tuple[int, int]) -> bool:
        """Return True if a socket of this network is bound to `port`, or was, if the program may not leave it."""
        if port in self._adopted_places or self._bound.get(port):
            return True
        return port in self._bound and not self._host.may_leave()

    def _at_path(self, each: Any, path: Any) -> Any:
        try:
            return self._paths.find(each, path)
        except ForeignHost as foreign:
            raise self.refuse(real_server(str(foreign))) from None

    # The surroundings.

    def name_ends(self, client: Any) -> None:
        """Name both ends of a connection that is about to be made, after the task that connects."""
        client.name, client.name_of_peer = self._host.name("received"), self._host.name("sent")
        client.arrivals = 0

    def refuses(self, client: Any) -> bool:
        """Return True if a connection is to be refused although a socket listens."""
        return self._host.refuses(client.name)

    def owns_thread(self) -> bool:
        """Return True if the current thread belongs to the program."""
        return self._host.owns_thread()

    def refuse(self, problem: UncontrolledOperation) -> UncontrolledOperation:
        """Take note that the program wants to leave this network; return the error."""
        return self._host.refuse(problem)

    def refuse_to_block(self, call: str) -> None:
        """Raise an error if the current thread must not wait for the network."""
        self._host.refuse_to_block(call)

    def check_reads_by_methods(self, sock: Any) -> None:
        """Refuse the sockets of `ssl`, which read from the descriptor: they would wait there forever."""
        if hasattr(sock, "do_handshake"):
            with suppress(LeavesNetwork):
                raise self.refuse(UncontrolledOperation(TLS_OF_BLOCKING_SOCKETS, "network"))
            raise BackgroundTasksError(TLS_OF_BLOCKING_SOCKETS)

    def watches_sockets(self) -> bool:
        """Return True if the running loop asks sockets, and not their descriptors, whether they are ready."""
        return self._host.watches_sockets()

    def refuse_foreign(self, descriptor: int) -> UncontrolledOperation:
        """Return the error for a descriptor of a real connection."""
        return self.refuse(
            UncontrolledOperation(
                f"the loop is to watch descriptor {descriptor}, a real connection that Python's socket module did not "
                f"make while the test was explored\nUse instead: a library that connects with Python's own sockets, or "
                f"a fake of the other side",
                "network",
            )
        )


@lru_cache(64)
def _check_kind(family: int, type: int, proto: int) -> None:  # noqa: A002  # like socket.socket
    """Raise the error of the operating system if it has no such sockets."""
    _socket.socket(family, type, proto).close()
